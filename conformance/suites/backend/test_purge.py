"""PUR-01 and PUR-02: what the purge script says it would delete, and what it deletes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any
from uuid import UUID

import pytest

from conformance.core_tables import CoreTables, Look, Row
from conformance.errors import PremiseBroken, Violation
from conformance.media import KINDS, Entity, Media, image_order
from conformance.plugin import Run
from conformance.purge import Purge, PurgeRun
from conformance.sse import normal_id
from conformance.suites.backend.orders import excluded
from conformance.suites.backend.upkeep import changes_of, path_of

COUNT = 9
"""Images that are to be deleted: a number that a script says for no other reason."""


@dataclass(frozen=True)
class Imports:
    """The imports of one season from one page, and others that are none of them."""

    season: dict[str, Any]
    """What the script is told."""
    page: str
    doomed: dict[str, str]
    """Asset id, as the database writes it → the image's address."""
    kept: dict[str, str]
    """Asset id → what it is."""
    entity: Entity
    entities: tuple[Entity, ...]
    """Whoever has any of them."""
    shared: str | None = None
    """Asset id, among those that are kept, of an image that the season has and others have, too."""

    def look(self, tables: CoreTables) -> Look:
        """All of it, but what becomes of the season's part in an image that it shares: the others keep theirs."""
        look = tables.look(assets=[*self.doomed, *self.kept], entities=[e.entity_id for e in self.entities])
        own = {normal_id(self.entity.entity_id), normal_id(self.season["show_id"])}
        return replace(
            look,
            assets=tuple({"id": row["id"]} if row["id"] == self.shared else row for row in look.assets),
            links=tuple(
                row
                for row in look.links
                if row["media_asset_id"] != self.shared or normal_id(str(row["entity_id"])) not in own
            ),
        )


@contextmanager
def imports(media: Media, *, sharing: bool = False) -> Iterator[Imports]:
    """Imports of a season from a page; from other pages, and from the page for another show's season and a person.

    Where `sharing`, all three have one image of the page: the season was the last to import it.
    """
    site = media.site()
    with media.show() as show, media.show() as other, media.person() as person, media.asset(hosted=True) as asset:
        images = [site.image() for _ in range(COUNT)]
        pages = {
            # whatever matches addresses by patterns or by their beginning takes the others for the one
            "another page": "cast-photos.html",
            "a page below": "cast_photos.html/2",
            "a page with a longer name": "cast_photos.html5",
            "a page in another case": "Cast_Photos.html",
            "a page of that name elsewhere": "elsewhere/cast_photos.html",
            "a page with a query": "cast_photos.html?page=2",
        }
        page = site.page(images, name="cast_photos.html")
        # what was captioned by hand is an import like any other
        orders = [
            image_order(image.url, kind, caption=caption)
            for image, kind, caption in zip(images, cycle(KINDS), cycle([None, "By hand"]), strict=False)
        ]
        told = media.streamed(show.season, page, orders)
        if set(told.statuses.values()) != {"success"}:
            raise PremiseBroken(
                "IMP-04",
                "images of a page were not imported",
                expected="success",
                actual=told.statuses,
                exchange=told.exchange,
            )
        media.streamed(show.season, page, [image_order(images[0].url, KINDS[1])])  # has another link, or has not
        excluded(media, show.season, page, [site.image().url])
        kept = {normal_id(asset.media_asset_id): "an asset that no import made"}
        for what, name in pages.items():
            image = site.image()
            kept[normal_id(media.stored(show.season, site.page([image], name=name), image.url))] = what
        origin = site.origin.origin_by_name
        if origin not in (None, site.origin.origin_url):
            elsewhere = f"{origin}{site.path('cast_photos.html')}"
            kept[normal_id(media.stored(show.season, elsewhere, site.image().url))] = "a page of that path elsewhere"
        for what, entity in (("another show's season", other.season), ("a person", person)):
            kept[normal_id(media.stored(entity, page, site.image().url))] = f"an import for {what}"
        shared = shared_image(media, page, site.image().url, (other.season, person, show.season)) if sharing else None
        if shared is not None:
            kept[shared] = "what another show's season and a person have of an image that they share with the season"
        yield Imports(
            {"show_id": show.show_id, "season_number": show.season_number, "page_url": page},
            page,
            {normal_id(str(final.media_asset_id)): final.url for final in told.finals},
            kept,
            show.season,
            (show.season, show.show, other.season, other.show, person),
            shared,
        )


def shared_image(media: Media, page: str, url: str, entities: Sequence[Entity]) -> str:
    """Imports an image for one entity after the other: the id of its asset. A target may link the first alone."""
    first, *others = entities
    asset_id = normal_id(media.stored(first, page, url))
    for entity in others:
        final = media.final(entity, page, url)
        if final.status != "duplicate" or normal_id(str(final.media_asset_id)) != asset_id:
            raise PremiseBroken(
                "IMP-03",
                "the same image for somebody else is no duplicate of its asset",
                expected=f"a duplicate of {asset_id}",
                actual=dict(final.event.members),
            )
    return asset_id


def says_all(run: PurgeRun, rows: Sequence[Row]) -> bool:
    """Whether a script names each of the assets, by whatever names it, or says how many there are."""
    output = run.output.lower()
    names = [
        {
            str(UUID(str(row["id"]))),
            UUID(str(row["id"])).hex,
            *(
                str(row[column]).lower()
                for column in ("hosted_url", "hosted_key", "hosted_sha256")
                if row.get(column) is not None
            ),
            # the name of its file, which is fresh
            path_of(str(row.get("source_url") or row["id"])).rpartition("/")[2].lower(),
        }
        for row in rows
    ]
    # no part of a time, an address or a name
    counted = re.search(rf"(?<![\w./-])(?<!\d:){len(rows)}(?![\w:/-])", run.output) is not None
    return counted or all(any(name in output for name in each) for each in names)


def changed_nothing(media: Media, before: Look, after: Look, *, clause: str, what: str, run: PurgeRun) -> None:
    """Two looks show the same, but for what changes by itself."""
    changes = changes_of(media, before, after)
    if changes:
        raise Violation(f"{what} changed the database", clause=clause, expected="no change", actual=f"{changes}\n{run}")


@pytest.fixture(scope="session")
def purge(run: Run) -> Purge:
    """The purge script of the environment."""
    return Purge(run.environment, run.redactor, run.source.variables if run.source is not None else None)


@pytest.mark.clause("PUR-01")
def test_dry_run_changes_nothing_and_says_what(media: Media, tables: CoreTables, purge: Purge) -> None:
    """Without `--execute`: every row stays as it is, and the output names the assets or their number."""
    tables.look()
    with imports(media) as given:
        before = given.look(tables)
        run = purge.run(**given.season)
        changed_nothing(media, before, given.look(tables), clause="PUR-01", what="a dry run", run=run)
        if not says_all(run, tables.assets(given.doomed)):
            raise Violation(
                "a dry run does not say what it would delete",
                expected=f"the ids or addresses of these assets, or that there are {COUNT}: {sorted(given.doomed)}",
                actual=str(run),
            )


@pytest.mark.clause("PUR-02")
def test_execute_deletes_exactly_the_imports(media: Media, tables: CoreTables, purge: Purge) -> None:
    """With `--execute`: the season's imports from the page, no other asset or link; no exclusion; nothing twice."""
    tables.look()
    with imports(media, sharing=True) as given:
        before = given.look(tables)
        elsewhere = given.season | {"season_number": given.season["season_number"] + 1}
        run = purge.run(**elsewhere, execute=True)
        changed_nothing(
            media, before, given.look(tables), clause="PUR-02", what="a purge of a season without imports", run=run
        )

        run = purge.run(**given.season, execute=True)
        after = given.look(tables)
        expected = Look(
            tuple(row for row in before.assets if row["id"] not in given.doomed),
            tuple(row for row in before.links if row["media_asset_id"] not in given.doomed),
            before.exclusions,
        )
        if changes_of(media, expected, after):
            for table, wrong in (("left", _more(after, expected)), ("took", _more(expected, after))):
                if wrong:
                    raise Violation(
                        f"a purge {table} what it should not have",
                        expected=f"the assets {sorted(given.doomed)} and their links are gone, and nothing else",
                        actual=f"{sorted({_named(given, row) for row in wrong})}\n{run}",
                    )
        again = purge.run(**given.season, execute=True)
        changed_nothing(media, after, given.look(tables), clause="PUR-02", what="a second purge", run=again)
        found = [asset_id for asset_id in given.doomed if asset_id.lower() in again.output.lower()]
        if found:
            raise Violation("a second purge finds what is gone", expected="nothing found", actual=str(again))

        for url in given.doomed.values():
            final = media.final(given.entity, given.page, url)
            if final.status != "success":
                raise Violation(
                    f"an image that was purged can't be imported again: {final.status}",
                    expected="success",
                    actual=dict(final.event.members),
                )


def _more(one: Look, other: Look) -> list[Row]:
    """The rows of one look that the other has not, or has otherwise."""
    return [
        row
        for table in ("assets", "links", "exclusions")
        for row in getattr(one, table)
        if row not in getattr(other, table)
    ]


def _named(given: Imports, row: Row) -> str:
    asset_id = str(row.get("media_asset_id", row["id"]))
    whose = f"the link of {row['entity_type']} {row['entity_id']} to " if "media_asset_id" in row else ""
    what = given.kept.get(asset_id) or given.doomed.get(asset_id)
    return str(dict(row)) if what is None else f"{whose}asset {asset_id} ({what})"
