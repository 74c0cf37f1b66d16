"""Provider states of the backend: `POST /_states` puts data into the deployed `core.*` tables, by SQL alone.

`python -m reference.states --database-url URL` serves them for any database with those tables; the reference mounts
the same code. On a database that we do not know, only columns that exist are given, required ones that we do not know
are filled by their type, and only rows that were made here are ever deleted: at teardown, or when the server stops.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import re
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
from fastapi import APIRouter, FastAPI, Request, Response
from psycopg import sql
from psycopg.types.json import Jsonb

from reference.database import one_line
from reference.serving import HEALTH, Service, listen, serve, stop_with_parent

PATH = "/_states"
MAX_COUNT = 1000
"""The most links of one sort that a gallery is set up with."""

REQUIRED: Mapping[str, frozenset[str]] = {
    "core.people": frozenset({"id"}),
    "core.media_assets": frozenset({"id", "source_url"}),
    "core.media_links": frozenset({"id", "entity_type", "entity_id", "media_asset_id", "kind", "facebank_seed"}),
}
"""The tables and columns without which nothing can be set up."""

OPTIONAL = (
    "core.shows",
    "core.seasons",
    "core.episodes",
    "core.credits",
    "core.credit_occurrences",
    "core.season_images",
    "reference.unwritable_people",
    "reference.undetectable_assets",
)
"""Tables that only some states need."""

Row = dict[str, Any]

Shape = tuple[str, tuple[str, ...]]
"""A table and the columns of it that are given."""


class StateError(Exception):
    """A state that can't be set up or torn down: the HTTP status and one line that says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True)
class Change:
    """One request of the provider-state protocol."""

    state: str
    setup: bool
    """Set up, or tear down."""
    params: Mapping[str, Any]

    @classmethod
    def parse(cls, body: Any) -> Change:
        """Read a request's JSON; raises StateError for what is none."""
        if not isinstance(body, dict):
            raise StateError(422, "the body must be an object with state, action and params")
        state, action, params = body.get("state"), body.get("action", "setup"), body.get("params") or {}
        if not isinstance(params, dict):
            raise StateError(422, "params must be an object")
        if not isinstance(state, str):
            raise StateError(404, f"unknown state: {state!r}")
        if action not in ("setup", "teardown"):
            raise StateError(422, f"action must be setup or teardown, not {action!r}")
        return cls(state, action == "setup", params)

    def allow(self, *names: str) -> None:
        """Raise StateError for a parameter that is not among these."""
        if unknown := self.params.keys() - set(names):
            raise StateError(422, f"{self.state}: unknown params: {', '.join(sorted(unknown))}")


class SchemaError(Exception):
    """The database lacks a table or column that the states need: one line that names it."""


class Column(NamedTuple):
    """A column that may be given: its SQL type, and how to fill it where it is required and unknown to us."""

    type: str
    filler: sql.Composable | None


class Made(NamedTuple):
    """What one setup put into the database: each row's table, the column that names it, and its id."""

    state: str
    rows: tuple[tuple[str, str, str], ...]


@dataclass
class Plan:
    """The rows of a state under construction, in the order of their references."""

    rows: list[tuple[str, Row]] = field(default_factory=list)

    def add(self, table: str, **columns: Any) -> str:
        """Plan a row with a new id and return the id."""
        row_id = str(uuid.uuid4())
        self.rows.append((table, {"id": row_id, **columns}))
        return row_id

    def person(self, full_name: str | None = None) -> str:
        """Plan a person."""
        name = f"Person {uuid.uuid4().hex[:8]}" if full_name is None else full_name
        return self.add("core.people", full_name=name)

    def asset(self, hosted: bool = True, width: int | None = 1200, height: int | None = 800, **columns: Any) -> Asset:
        """Plan a media asset with addresses of its own."""
        name = uuid.uuid4().hex
        key = f"images/{name[:2]}/{name}.jpg" if hosted else None
        source = f"https://photos.trr.invalid/{name}/original%20photo.jpg?w=1200&v=2"
        asset = Asset("", source, key and f"https://cdn.trr.invalid/{key}")
        columns = {
            "source": "trr-conformance",
            "source_url": asset.source_url,
            "hosted_url": asset.hosted_url,
            "hosted_key": key,
            "width": width,
            "height": height,
            **columns,
        }
        return asset._replace(id=self.add("core.media_assets", **columns))

    def link(self, person_id: str, asset: Asset, position: int, kind: str = "gallery", **columns: Any) -> str:
        """Plan a link between a person and an asset."""
        return self.add(
            "core.media_links",
            entity_type="person",
            entity_id=person_id,
            media_asset_id=asset.id,
            kind=kind,
            position=position,
            **columns,
        )


class Asset(NamedTuple):
    """A planned media asset."""

    id: str
    source_url: str
    hosted_url: str | None

    @property
    def served_url(self) -> str:
        """The address that the photos show."""
        return self.hosted_url or self.source_url


class States:
    """The states of one database: what is set up, and what has been made and not yet torn down."""

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        columns: Mapping[str, Mapping[str, Column]],
        definitions: Mapping[str, State],
    ) -> None:
        self._connection = connection
        self._definitions = definitions
        self._turn = asyncio.Lock()
        self._columns = columns
        self._made: dict[tuple[str, str], Made] = {}
        self._positions = itertools.count(1)
        self._insertions: dict[tuple[Shape, ...], sql.Composed] = {}

    @classmethod
    async def connect(cls, database_url: str, definitions: Mapping[str, State] | None = None) -> States:
        """Connect and look at the tables; raises SchemaError where one that every state needs is missing.

        The states are the backend's unless others are given.
        """
        connection = await psycopg.AsyncConnection.connect(database_url, autocommit=True, prepare_threshold=1)
        try:
            return cls(connection, await _inspect(connection), STATES if definitions is None else definitions)
        except BaseException:
            await connection.close()
            raise

    async def aclose(self) -> None:
        """Delete whatever is left of what was made here, and disconnect."""
        try:
            await self._delete(self._made.values())
        except StateError as error:
            print(f"reference: rows of provider states are left behind: {error.detail}", file=sys.stderr)
        finally:
            await self._connection.close()

    async def handle(self, body: Any) -> Mapping[str, Any]:
        """Carry out one request of the provider-state protocol and return its values."""
        change = Change.parse(body)
        definition = self._definitions.get(change.state)
        if definition is None or not definition.tables <= self._columns.keys():
            raise StateError(404, f"unknown state: {change.state!r}")
        if change.setup:
            change.allow(*definition.params)
            return await self._setup(change.state, definition, change.params)
        return await self._teardown(change.state, change.params)

    async def _setup(self, state: str, definition: State, params: Mapping[str, Any]) -> Mapping[str, Any]:
        plan = Plan()
        values = definition.plan(plan, params, self._positions)
        if missing := {table for table, _ in plan.rows} - self._columns.keys():
            raise StateError(404, f"{state}: the database has no table {', '.join(sorted(missing))}")
        try:
            await self._execute(*self._insertion(plan.rows))
        except StateError as error:
            if definition.may_be_ruled_out and isinstance(error.__cause__, psycopg.IntegrityError):
                raise StateError(404, f"{state}: {one_line(error.__cause__)}") from error
            raise
        # The first column of a planned row is the one that names it.
        made = Made(state, tuple(dict.fromkeys((table, *next(iter(row.items()))) for table, row in plan.rows)))
        self._made |= {(state, row_id): made for _, _, row_id in made.rows}
        return values

    async def _teardown(self, state: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        named = {self._made[state, text] for text in _strings(params) if (state, text) in self._made}
        await self._delete(named)
        for made in named:
            for _, _, row_id in made.rows:
                self._made.pop((state, row_id), None)
        return {}

    async def _execute(self, statement: sql.Composed, arguments: Mapping[str, Any]) -> None:
        try:
            async with self._turn:
                await self._connection.execute(statement, arguments)
        except psycopg.Error as error:
            raise StateError(409, one_line(error)) from error

    async def _delete(self, ending: Iterable[Made]) -> None:
        """Delete the rows of these setups, in one statement."""
        ids: dict[tuple[str, str], list[str]] = {}
        for made in dict.fromkeys(ending):
            for table, key, row_id in made.rows:
                ids.setdefault((table, key), []).append(row_id)
        if not ids:
            return
        parts, arguments = [], {}
        for number, ((table, key), values) in enumerate(ids.items()):
            name = f"rows_{number}"
            arguments[name] = values
            parts.append(
                sql.SQL("{} as (delete from {} where {} = any({}::uuid[]))").format(
                    sql.Identifier(name), _table(table), sql.Identifier(key), sql.Placeholder(name)
                )
            )
        await self._execute(sql.SQL("with {} select 1").format(sql.SQL(", ").join(parts)), arguments)

    def _insertion(self, rows: Sequence[tuple[str, Row]]) -> tuple[sql.Composed, dict[str, Any]]:
        """One statement that inserts all rows, those of one table and the same columns together."""
        groups: dict[Shape, list[Row]] = {}
        for table, row in rows:
            known = {key: value for key, value in row.items() if key in self._columns[table]}
            groups.setdefault((table, tuple(known)), []).append(known)
        shapes = tuple(groups)
        if shapes not in self._insertions:
            inserts = [
                sql.SQL("{} as ({})").format(sql.Identifier(f"insert_{number}"), self._insert(f"rows_{number}", *shape))
                for number, shape in enumerate(shapes)
            ]
            self._insertions[shapes] = sql.SQL("with {} select 1").format(sql.SQL(", ").join(inserts))
        return self._insertions[shapes], {
            f"rows_{number}": Jsonb(group) for number, group in enumerate(groups.values())
        }

    def _insert(self, argument: str, table: str, names: tuple[str, ...]) -> sql.Composable:
        columns = self._columns[table]
        filled = {name: column.filler for name, column in columns.items() if column.filler and name not in names}
        return sql.SQL("insert into {} ({}) select {} from jsonb_to_recordset({}) as r ({})").format(
            _table(table),
            sql.SQL(", ").join(map(sql.Identifier, (*names, *filled))),
            sql.SQL(", ").join((*map(sql.Identifier, names), *filled.values())),
            sql.Placeholder(argument),
            sql.SQL(", ").join(sql.SQL(f"{{}} {columns[name].type}").format(sql.Identifier(name)) for name in names),
        )


# The states


class State(NamedTuple):
    """How a state is made: its parameters, the tables it needs, and its rows and values."""

    plan: Callable[[Plan, Mapping[str, Any], Iterable[int]], Mapping[str, Any]]
    params: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    may_be_ruled_out: bool = False
    """A database may have a constraint that forbids it, and then the state is not known there."""


def _person_with_gallery(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    counts = {name: _count(params, name) for name in ("seeded", "unseeded", "unhosted")}
    # A mix that depends on the counts alone: the same question always finds the same gallery.
    mix = random.Random(repr(counts))
    links, primary = _mixed([name for name, count in counts.items() for _ in range(count)], mix)
    person_id = plan.person()
    gallery = []
    for number, (sort, position) in enumerate(zip(links, positions, strict=False)):
        size = (None, None) if mix.random() < 0.1 else (mix.randrange(200, 4000), mix.randrange(200, 4000))
        asset = plan.asset(sort != "unhosted", *size)
        # Unflagged links leave the flag to the database: that they are no seeds is its promise.
        flag: dict[str, Any] = {"facebank_seed": True} if sort == "seeded" else {}
        link_id = plan.link(person_id, asset, position, is_primary=number == primary, **flag)
        gallery.append(
            {
                "link_id": link_id,
                "media_asset_id": asset.id,
                "facebank_seed": sort == "seeded",
                "served_url": asset.served_url,
            }
        )
    if primary is not None:
        gallery.insert(0, gallery.pop(primary))
    return {"person_id": person_id, "links": gallery}


def _mixed(links: list[str], mix: random.Random) -> tuple[list[str], int | None]:
    """An order that has the seeds neither first nor last, where there is one, and the index of the primary."""
    if not links:
        return links, None
    while True:
        links = mix.sample(links, len(links))
        primary = mix.randrange(len(links))
        flags = [links[primary] == "seeded", *(link == "seeded" for link in links[:primary] + links[primary + 1 :])]
        if len(set(flags)) == 1 or len(flags) < 3 or flags not in (sorted(flags), sorted(flags, reverse=True)):
            return links, primary


def _media_link_outside(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    person_id = plan.person()
    position = next(iter(positions))
    return {"person_id": person_id, "link_id": plan.link(person_id, plan.asset(), position, kind="profile")}


def _photo_linked_twice(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    """A photo of a gallery that the person has as their profile's too."""
    person_id, asset = plan.person(), plan.asset()
    position, other_position = itertools.islice(positions, 2)
    return {
        "person_id": person_id,
        "link_id": plan.link(person_id, asset, position),
        "other_link_id": plan.link(person_id, asset, other_position, kind="profile"),
        "served_url": asset.served_url,
    }


def _person(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    return {"person_id": plan.person(_text(params, "full_name"))}


def _media_asset(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    hosted = params.get("hosted", True)
    if not isinstance(hosted, bool):
        raise StateError(422, "hosted must be a boolean")
    asset = plan.asset(hosted)
    return {"media_asset_id": asset.id, "source_url": asset.source_url, "hosted_url": asset.hosted_url}


def _shared_photo(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    asset = plan.asset()
    person_id, other_person_id = plan.person(), plan.person()
    position, other_position = itertools.islice(positions, 2)
    return {
        "person_id": person_id,
        "link_id": plan.link(person_id, asset, position),
        "other_person_id": other_person_id,
        "other_link_id": plan.link(other_person_id, asset, other_position),
        "media_asset_id": asset.id,
        "served_url": asset.served_url,
    }


def _show_with_season(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    names = params.get("cast", [])
    if not isinstance(names, list) or not all(map(_is_text, names)):
        raise StateError(422, "cast must be a list of names")
    title = f"Show {uuid.uuid4().hex[:8]}"
    show_id = plan.add("core.shows", name=title, title=title)
    season_id = plan.add("core.seasons", show_id=show_id, season_number=1, name="Season 1", title="Season 1")
    cast = [{"person_id": plan.person(name), "full_name": name} for name in names]
    if cast:
        where = {"show_id": show_id, "season_id": season_id, "season_number": 1}
        episode_id = plan.add("core.episodes", **where, episode_number=1, title="Episode 1")
        for order, member in enumerate(cast, 1):
            credit_id = plan.add(
                "core.credits",
                show_id=show_id,
                person_id=member["person_id"],
                credit_category="Self",
                billing_order=order,
                source_type="manual",
            )
            plan.rows.append(("core.credit_occurrences", {"credit_id": credit_id, "episode_id": episode_id}))
    return {"show_id": show_id, "season_id": season_id, "season_number": 1, "cast": cast}


def _storage_failure(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    if params.get("operation", "toggle") != "toggle":
        raise StateError(422, "operation must be toggle")
    person_id = id_of(params, "person_id")
    plan.rows.append(("reference.unwritable_people", {"person_id": person_id}))
    return {"person_id": person_id}


def _text_overlay_failure(plan: Plan, params: Mapping[str, Any], positions: Iterable[int]) -> Mapping[str, Any]:
    asset_id = id_of(params, "media_asset_id")
    plan.rows.append(("reference.undetectable_assets", {"media_asset_id": asset_id}))
    return {"media_asset_id": asset_id}


STATES: Mapping[str, State] = {
    "person with gallery": State(_person_with_gallery, frozenset({"seeded", "unseeded", "unhosted"})),
    "media link outside a person gallery": State(_media_link_outside),
    "photo linked twice": State(_photo_linked_twice, may_be_ruled_out=True),
    "person": State(_person, frozenset({"full_name"})),
    "media asset": State(_media_asset, frozenset({"hosted"})),
    "shared photo": State(_shared_photo),
    "show with season": State(_show_with_season, frozenset({"cast"}), frozenset({"core.shows", "core.seasons"})),
    "storage failure": State(
        _storage_failure, frozenset({"operation", "person_id"}), frozenset({"reference.unwritable_people"})
    ),
    "text overlay failure": State(
        _text_overlay_failure, frozenset({"media_asset_id"}), frozenset({"reference.undetectable_assets"})
    ),
}


def _count(params: Mapping[str, Any], name: str) -> int:
    count = params.get(name, 0)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_COUNT:
        raise StateError(422, f"{name} must be a number from 0 to {MAX_COUNT}")
    return count


def id_of(params: Mapping[str, Any], name: str) -> str:
    """A parameter that is a UUID; raises StateError for any other."""
    try:
        return str(uuid.UUID(_text(params, name) or ""))
    except ValueError:
        raise StateError(422, f"{name} must be a UUID") from None


def _text(params: Mapping[str, Any], name: str) -> str | None:
    text = params.get(name)
    if text is not None and not _is_text(text):
        raise StateError(422, f"{name} must be text")
    return text


def _is_text(value: Any) -> bool:
    """Whether Postgres can store it: a string without NUL and without a lone surrogate."""
    return isinstance(value, str) and not re.search("[\0\ud800-\udfff]", value)


def _strings(value: Any) -> Iterable[str]:
    """Every string in a JSON value, in lower case."""
    if isinstance(value, str):
        yield value.lower()
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


# The tables

_INSPECT = """
select
    format('%%s.%%s', n.nspname, c.relname),
    a.attname,
    format_type(a.atttypid, a.atttypmod),
    a.attnotnull and not a.atthasdef and a.attidentity = '' and t.typdefault is null,
    t.typcategory::text,
    (select quote_literal(e.enumlabel) from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder limit 1)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
join pg_type t on t.oid = a.atttypid
where format('%%s.%%s', n.nspname, c.relname) = any(%s) and c.relkind in ('r', 'p')
order by 1, a.attnum
"""

_FILLERS: Mapping[str, str] = {
    "uuid": "gen_random_uuid()",
    "json": "'{}'",
    "jsonb": "'{}'",
    "bytea": "''",
    "time without time zone": "localtime",
}
_CATEGORY_FILLERS: Mapping[str, str] = {
    "A": "'{}'",
    "B": "false",
    "D": "now()",
    "I": "'127.0.0.1'",
    "N": "1",
    "R": "'empty'",
    "S": "'trr-' || gen_random_uuid()",
    "T": "'0'",
    "V": "''",
}
"""By `pg_type.typcategory`: array, boolean, date, network, number, range, string, interval, bits."""


async def _inspect(connection: psycopg.AsyncConnection[Any]) -> Mapping[str, Mapping[str, Column]]:
    tables: dict[str, dict[str, Column]] = {}
    cursor = await connection.execute(_INSPECT, ([*REQUIRED, *OPTIONAL],))
    for table, name, sql_type, required, category, label in await cursor.fetchall():
        filler: sql.Composable | None = None
        if required:
            value = label or _FILLERS.get(sql_type) or _CATEGORY_FILLERS.get(category)
            # A column of a type that we can't fill is left to the database to refuse by name.
            filler = sql.SQL(f"({value})::{sql_type}") if value else None
        tables.setdefault(table, {})[name] = Column(sql_type, filler)
    for table, columns in REQUIRED.items():
        if table not in tables:
            raise SchemaError(f"the database has no table {table}")
        if missing := columns - tables[table].keys():
            raise SchemaError(f"table {table} has no column {', '.join(sorted(missing))}")
    return tables


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


# Over HTTP


def endpoint(handle: Callable[[Any], Awaitable[Mapping[str, Any]]]) -> APIRouter:
    """The endpoint `POST /_states` over a handler of the request's JSON, which may raise StateError."""
    routes = APIRouter()

    @routes.post(PATH, include_in_schema=False)
    async def change_state(request: Request) -> Response:
        try:
            body = json.loads((await request.body()).decode())
        except (ValueError, RecursionError):
            return answer({"detail": "the body is not JSON"}, 400)
        try:
            return answer(await handle(body))
        except StateError as error:
            return answer({"detail": error.detail}, error.status)

    return routes


def router(database_url: str, definitions: Mapping[str, State] | None = None) -> APIRouter:
    """The states of one database, as for `States.connect`; what they made is deleted when the application stops."""
    current: list[States] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.aclosing(await States.connect(database_url, definitions)) as states:
            current.append(states)
            yield

    async def handle(body: Any) -> Mapping[str, Any]:
        return await current[0].handle(body)

    routes = APIRouter(lifespan=lifespan)
    routes.include_router(endpoint(handle))
    return routes


def create_app(database_url: str) -> FastAPI:
    """A server of nothing but the states of one database."""
    app = FastAPI(openapi_url=None)
    app.include_router(router(database_url))

    @app.get(HEALTH)
    async def health() -> Response:
        return answer({"status": "ok"})

    return app


def answer(value: Any, status: int = 200) -> Response:
    """A JSON response."""
    return Response(json.dumps(value), status, media_type="application/json")


async def _check(database_url: str) -> None:
    async with contextlib.aclosing(await States.connect(database_url)):
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the states of a database until told to stop; 4 where that database can't be used."""
    parser = argparse.ArgumentParser(prog="python -m reference.states", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument(
        "--database-url", required=True, metavar="URL", help="a database with the deployed core.* tables"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=0, type=int, help="0: one that the system chooses (default)")
    parser.add_argument("--json", action="store_true", help="print the address as one line of JSON")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has said why
        return 4 if stop.code else 0
    stop_with_parent()
    option = "--database-url"
    try:
        asyncio.run(_check(options.database_url))
        option = "--host, --port"
        listener, base_url = listen(options.host, options.port)
    except (psycopg.Error, SchemaError, OSError, OverflowError, ValueError) as error:
        print(f"python -m reference.states: {option}: {one_line(error)}", file=sys.stderr)
        return 4
    address = base_url + PATH

    def announce() -> None:
        print(json.dumps({"states_url": address}) if options.json else address, flush=True)

    serve([Service(create_app(options.database_url), listener, base_url)], announce)
    return 0


if __name__ == "__main__":
    sys.exit(main())
