"""Read-only looks at the backend's media tables under `core`, where the environment gives its database.

Rows are read whole, as JSON objects by column, so that a table with more columns than the deployed one is as good.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from conformance.database import Database
from conformance.environment import Environment

Row = Mapping[str, Any]

KEY = "database_url"
"""The environment's key of the database."""


TABLES = ("assets", "links", "exclusions")


class Column(NamedTuple):
    """A column of one of the tables, or a member of one that holds a JSON object: `metadata.caption`."""

    table: str
    name: str


@dataclass(frozen=True)
class Look:
    """Some rows of the media tables at one moment, each table in the order of its ids."""

    assets: tuple[Row, ...]
    links: tuple[Row, ...]
    exclusions: tuple[Row, ...]

    def difference(self, later: Look, ignored: Collection[Column] = ()) -> list[str]:
        """What a later look at the same rows has lost, gained, or has otherwise: a line for each row."""
        lines = []
        for table in TABLES:
            before, after = ({row.get("id"): row for row in getattr(look, table)} for look in (self, later))
            lines += [f"{table} lost {key}" for key in before.keys() - after.keys()]
            lines += [f"{table} gained {key}" for key in after.keys() - before.keys()]
            for key in before.keys() & after.keys():
                changed = [name for name in _changed(before[key], after[key]) if Column(table, name) not in ignored]
                lines += [f"{table} {key}: {', '.join(changed)} changed"] if changed else []
        return sorted(lines)

    def changed(self, later: Look) -> frozenset[Column]:
        """The columns that rows of both looks have otherwise."""
        found = set()
        for table in TABLES:
            after = {row.get("id"): row for row in getattr(later, table)}
            for row in getattr(self, table):
                found |= {Column(table, name) for name in _changed(row, after.get(row.get("id"), row))}
        return frozenset(found)


class CoreTables:
    """`core.media_assets`, `core.media_links` and `core.media_scrape_exclusions` of one backend.

    Every look raises NotVerified where the environment names no database, or that one cannot be read.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    @property
    def present(self) -> bool:
        """Whether the environment lets us look."""
        return self._environment.get(KEY) is not None

    def asset(self, asset_id: str) -> Row | None:
        """The row of a media asset."""
        return next(iter(self.assets([asset_id])), None)

    def assets(self, asset_ids: Iterable[str]) -> tuple[Row, ...]:
        """The rows of those of the media assets that are there; an id that is no UUID is nobody's."""
        return self._rows(
            "select to_jsonb(a) as row from core.media_assets a where a.id = any(%(ids)s::uuid[]) order by a.id",
            ids=_uuids(asset_ids),
        )

    def assets_about(self, text: str) -> tuple[Row, ...]:
        """The rows of the media assets that hold `text` in some column: a fresh id in an address finds its imports."""
        return self._rows(
            "select to_jsonb(a) as row from core.media_assets a where strpos(to_jsonb(a)::text, %(text)s) > 0"
            " order by a.id",
            text=text,
        )

    def links_of(self, asset_ids: Iterable[str]) -> tuple[Row, ...]:
        """The rows of every link to these media assets."""
        return self._rows(
            "select to_jsonb(l) as row from core.media_links l where l.media_asset_id = any(%(ids)s::uuid[])"
            " order by l.id",
            ids=_uuids(asset_ids),
        )

    def links_to(self, entity_ids: Iterable[str]) -> tuple[Row, ...]:
        """The rows of every link between these entities, of whatever type, and media assets."""
        return self._rows(
            "select to_jsonb(l) as row from core.media_links l where l.entity_id = any(%(ids)s::uuid[]) order by l.id",
            ids=_uuids(entity_ids),
        )

    def exclusions(self, entity_ids: Iterable[str]) -> tuple[Row, ...]:
        """The rows of these entities' exclusions, of whatever type; none where their table is the one that is missing.

        A backend with the media tables and no table of exclusions breaks EXC-01, and is not merely unreadable.
        """
        if not self._has_exclusions:
            return ()
        return self._rows(
            "select to_jsonb(x) as row from core.media_scrape_exclusions x"
            " where lower(x.entity_id::text) = any(%(ids)s) order by x.id",
            ids=_uuids(entity_ids),
        )

    def look(self, *, assets: Iterable[str] = (), entities: Iterable[str] = ()) -> Look:
        """These assets, every link of one of the assets or entities, every exclusion of one of the entities."""
        asset_ids, entity_ids = list(assets), list(entities)
        links = {row["id"]: row for row in (*self.links_of(asset_ids), *self.links_to(entity_ids))}
        return Look(
            self.assets(asset_ids),
            tuple(links[key] for key in sorted(links)),
            self.exclusions(entity_ids),
        )

    @cached_property
    def _has_exclusions(self) -> bool:
        (tables,) = self._database.rows(
            "select to_regclass('core.media_assets') is not null as media,"
            " to_regclass('core.media_scrape_exclusions') is not null as exclusions"
        )
        # without any media table this is another database, which the query itself then says
        return bool(tables["exclusions"]) or not tables["media"]

    def _rows(self, query: str, **parameters: Any) -> tuple[Row, ...]:
        return tuple(found["row"] for found in self._database.rows(query, **parameters))

    @cached_property
    def _database(self) -> Database:
        return Database(self._environment.need(KEY), KEY)

    def close(self) -> None:
        """Closes the connection, if one was opened."""
        if "_database" in self.__dict__:
            self._database.close()


def _changed(before: Row, after: Row) -> list[str]:
    """The columns, and members of JSON columns, that differ."""
    one, other = dict(_cells(before)), dict(_cells(after))
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _cells(row: Row) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{member}", item) for member, item in value.items())
        else:
            yield name, value


def texts(value: Any) -> Iterable[str]:
    """Every string in a JSON value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)


def names(row: Row, text: str) -> bool:
    """Whether some column of a row holds `text`, such as the path of an image: in whatever form its host is kept."""
    return any(text in found for found in texts(row))


def _uuids(ids: Iterable[str]) -> list[str]:
    """Those of the ids that are UUIDs, as Postgres writes them."""
    found = []
    for text in ids:
        try:
            found.append(str(uuid.UUID(text)))
        except (ValueError, AttributeError, TypeError):
            continue
    return found
