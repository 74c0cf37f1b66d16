"""DEL-01 and DEL-02: what a delete takes away, and what deletes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from conformance import expect
from conformance.core_tables import CoreTables
from conformance.errors import PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.lab import answers
from conformance.media import Entity, Media, image_order
from conformance.pictures import picture
from conformance.sse import normal_id
from conformance.suites.backend.orders import seed_of
from conformance.suites.backend.upkeep import is_known, no_server_error, same_rows


@dataclass(frozen=True)
class Kept:
    """An image that was imported, for one entity or several."""

    asset_id: str
    url: str
    page: str
    entities: tuple[Entity, ...]

    def is_there(self, media: Media, tables: CoreTables) -> bool:
        """Whether there is an asset of it, by the database where we can look, else by another import."""
        if tables.present:
            return tables.asset(self.asset_id) is not None
        return is_known(media, self.page, self.url)


@contextmanager
def imported(media: Media, images: int = 1) -> Iterator[list[Kept]]:
    """Some images of one page, each imported for a season, its show and a person."""
    site = media.site()
    with media.show() as show, media.person() as person:
        entities = (show.season, show.show, person)
        shown = [site.image() for _ in range(images)]
        page = site.page(shown)
        kept = []
        for image in shown:
            asset_id = media.stored(entities[0], page, image.url)
            for entity in entities[1:]:
                media.streamed(entity, page, [image_order(image.url)])
            kept.append(Kept(asset_id, image.url, page, entities))
        yield kept


def is_removed(media: Media, tables: CoreTables, kept: Kept, exchange: Exchange) -> None:
    """Neither the asset nor a link to it is left."""
    links = tables.links_of([kept.asset_id]) if tables.present else ()
    if links or kept.is_there(media, tables):
        raise Violation(
            "a deleted asset is still there" if not links else "a deleted asset still has links",
            clause="DEL-01",
            expected="neither the asset nor a link to it",
            actual=[dict(link) for link in links] or f"asset {kept.asset_id}",
            exchange=exchange,
        )


def is_untouched(media: Media, tables: CoreTables, kept: Kept, exchange: Exchange, *, clause: str, what: str) -> None:
    """The asset is there."""
    if not kept.is_there(media, tables):
        raise Violation(
            f"{what} deleted an asset",
            clause=clause,
            expected=f"asset {kept.asset_id} stays",
            actual="it is gone",
            exchange=exchange,
        )


def ids(entities: Sequence[Entity]) -> list[str]:
    return [entity.entity_id for entity in entities]


def previews_of(media: Media, kept: Kept) -> dict[str, bool]:
    """Whose previews of its page show an image: entity → whether."""
    return {entity.entity_id: media.previewed(kept.page, entity).shows(kept.url) for entity in kept.entities}


# --- DEL-01 ----------------------------------------------------------------------------------------------------------


@pytest.mark.clause("DEL-01")
@pytest.mark.parametrize("exclude", [False, True], ids=["exclude=false", "exclude=true"])
def test_delete_removes_the_asset_and_every_link(media: Media, tables: CoreTables, exclude: bool) -> None:
    """A 2xx, then neither the asset nor a link of any entity is left; every other asset is as it was."""
    with imported(media, images=2) as (kept, other):
        before = tables.look(assets=[other.asset_id]) if tables.present else None
        exchange = media.delete(kept.asset_id, exclude=exclude)
        expect.status(exchange, expect.SUCCESS, what="the delete of an asset")
        is_removed(media, tables, kept, exchange)
        if before is not None:
            after = tables.look(assets=[other.asset_id])
            same_rows(media, before, after, clause="DEL-01", what="the delete of another asset", exchange=exchange)
        is_untouched(media, tables, other, exchange, clause="DEL-01", what="the delete of another asset")


@pytest.mark.clause("DEL-01")
@pytest.mark.parametrize("exclude", [False, True], ids=["exclude=false", "exclude=true"])
def test_delete_leaves_what_an_address_served_before(media: Media, tables: CoreTables, exclude: bool) -> None:
    """An address whose picture was replaced is two assets: the delete of one leaves the other."""
    site = media.site()
    image = site.image("replaced.png")
    page = site.page([image])
    with media.person() as person:
        first = Kept(media.stored(person, page, image.url), image.url, page, (person,))
        site.image("replaced.png", answers.image(picture(f"{site.key}/another")))
        final = media.final(person, page, image.url)
        second = normal_id(str(final.media_asset_id))
        if not tables.present or final.status != "success" or second == normal_id(first.asset_id):
            return  # one address is one asset, whatever its bytes, or nothing tells the two apart
        if not first.is_there(media, tables):
            return  # the new one has taken its place
        exchange = media.deleted(second, exclude=exclude)
        is_untouched(media, tables, first, exchange, clause="DEL-01", what="the delete of another asset")


@pytest.mark.clause("DEL-01")
@pytest.mark.parametrize("hosted", [True, False], ids=["hosted", "unhosted"])
@pytest.mark.parametrize("exclude", [False, True], ids=["exclude=false", "exclude=true"])
def test_delete_removes_what_nobody_has(media: Media, tables: CoreTables, exclude: bool, hosted: bool) -> None:
    """An asset without a link is deleted like any other, also without a hosted copy."""
    with media.asset(hosted=hosted) as asset:
        exchange = media.delete(asset.media_asset_id, exclude=exclude)
        if 400 <= exchange.status < 500 and 400 <= media.delete(asset.media_asset_id, exclude=False).status < 500:
            return  # a target may delete nothing but what was imported
        expect.status(exchange, expect.SUCCESS, what="the delete of an asset that nobody has")
        if tables.present and tables.asset(asset.media_asset_id) is not None:
            raise Violation(
                "a deleted asset is still there",
                expected="no such asset",
                actual=f"asset {asset.media_asset_id}",
                exchange=exchange,
            )


@pytest.mark.clause("DEL-01")
@pytest.mark.parametrize("exclude", [False, True], ids=["exclude=false", "exclude=true"])
def test_delete_removes_what_an_entity_has_twice(media: Media, tables: CoreTables, exclude: bool) -> None:
    """An image that one entity has as two kinds is deleted like any other."""
    site = media.site()
    image = site.image()
    page = site.page([image])
    with media.show() as show:
        kept = Kept(media.stored(show.season, page, image.url, "poster"), image.url, page, (show.season,))
        media.streamed(show.season, page, [image_order(image.url, "promo")])
        exchange = media.delete(kept.asset_id, exclude=exclude)
        expect.status(exchange, expect.SUCCESS, what="the delete of an image that an entity has as two kinds")
        is_removed(media, tables, kept, exchange)


@pytest.mark.clause("DEL-01")
@pytest.mark.parametrize("exclude", [False, True], ids=["exclude=false", "exclude=true"])
def test_delete_removes_a_seed(media: Media, tables: CoreTables, exclude: bool) -> None:
    """A photo that seeds a person's face bank is deleted like any other."""
    site = media.site()
    image = site.image()
    page = site.page([image])
    with media.person() as person:
        kept = Kept(media.stored(person, page, image.url), image.url, page, (person,))
        if seed_of(media, person) is None:
            return
        exchange = media.delete(kept.asset_id, exclude=exclude)
        expect.status(exchange, expect.SUCCESS, what="the delete of a seed")
        is_removed(media, tables, kept, exchange)


@pytest.mark.clause("DEL-01")
@pytest.mark.parametrize("first, second", [(False, True), (True, False)], ids=["false, true", "true, false"])
def test_second_delete_changes_nothing(media: Media, tables: CoreTables, first: bool, second: bool) -> None:
    """Deleting again is no 5xx, and leaves assets, links and exclusions as they are."""
    with imported(media, images=2) as (kept, other):
        media.deleted(kept.asset_id, exclude=first)
        look = {"assets": [kept.asset_id, other.asset_id], "entities": ids(kept.entities)}
        before = tables.look(**look) if tables.present else None
        shown = {} if before is not None else previews_of(media, kept)
        if before is None and (again := previews_of(media, kept)) != shown:
            raise PremiseBroken("PRE-07", "a preview changes what the next one shows", expected=shown, actual=again)
        exchange = media.delete(kept.asset_id, exclude=second)
        no_server_error(exchange, clause="DEL-01", what="a second delete")
        if before is not None:
            same_rows(media, before, tables.look(**look), clause="DEL-01", what="a second delete", exchange=exchange)
        elif (after := previews_of(media, kept)) != shown:
            message = "a second delete changed what previews show"
            raise Violation(message, expected=shown, actual=after, exchange=exchange)
        is_untouched(media, tables, other, exchange, clause="DEL-01", what="a second delete of another asset")


@pytest.mark.clause("DEL-01")
def test_second_delete_leaves_what_was_imported_since(media: Media, tables: CoreTables) -> None:
    """Deleting again leaves the asset alone that was made of the same image meanwhile."""
    with imported(media) as (kept,), media.person() as somebody:
        media.deleted(kept.asset_id, exclude=False)
        final = media.final(somebody, kept.page, kept.url)
        again = replace(kept, asset_id=str(final.media_asset_id))
        if final.status != "success" or normal_id(again.asset_id) == normal_id(kept.asset_id):
            return  # it is still there, or has the same id whenever it is imported
        exchange = media.delete(kept.asset_id, exclude=False)
        no_server_error(exchange, clause="DEL-01", what="a second delete")
        is_untouched(media, tables, again, exchange, clause="DEL-01", what="a second delete of another asset")


@pytest.mark.clause("DEL-01", level="SHOULD")
def test_second_delete_is_404(media: Media) -> None:
    """Deleting again → 404."""
    with imported(media) as (kept,):
        media.deleted(kept.asset_id, exclude=False)
        expect.status(media.delete(kept.asset_id, exclude=False), {404}, what="a second delete")


# --- DEL-02 ----------------------------------------------------------------------------------------------------------


@pytest.mark.clause("DEL-02")
@pytest.mark.parametrize("exclude", [False, True], ids=["exclude=false", "exclude=true"])
def test_unknown_asset_changes_nothing(media: Media, tables: CoreTables, exclude: bool) -> None:
    """An asset that is not there: no 5xx, and nothing changes. The id of an entity is no asset's either."""
    with imported(media) as (kept,):
        look = {"assets": [kept.asset_id], "entities": ids(kept.entities)}
        before = tables.look(**look) if tables.present else None
        for unknown in (str(uuid.uuid4()), str(uuid.UUID(int=0)), *ids(kept.entities)):
            exchange = media.delete(unknown, exclude=exclude)
            no_server_error(exchange, clause="DEL-02", what="the delete of an unknown asset")
        if before is not None:
            same_rows(media, before, tables.look(**look), clause="DEL-02", what="the delete of an unknown asset")
        is_untouched(media, tables, kept, exchange, clause="DEL-02", what="the delete of an unknown asset")


@pytest.mark.clause("DEL-02", level="SHOULD")
def test_unknown_asset_is_404(media: Media) -> None:
    """An asset that is not there → 404."""
    expect.status(media.delete(str(uuid.uuid4()), exclude=False), {404}, what="the delete of an unknown asset")


MALFORMED: dict[str, Callable[[str], str]] = {
    "a word": lambda asset_id: "asset",
    "a number": lambda asset_id: "1",
    "an id with a letter more": lambda asset_id: f"{asset_id}f",
    "an id with a letter less": lambda asset_id: asset_id[:-1],
    "an id with a letter that is none": lambda asset_id: f"{asset_id[:-1]}g",
    "an id and another": lambda asset_id: f"{asset_id},{asset_id}",
    "SQL": lambda asset_id: f"{asset_id}' or '1'='1",
    "a wildcard": lambda asset_id: "%",
    "a star": lambda asset_id: "*",
}


@pytest.mark.clause("DEL-02")
@pytest.mark.parametrize("exclude", [False, True], ids=["exclude=false", "exclude=true"])
def test_malformed_id_is_refused(media: Media, tables: CoreTables, exclude: bool) -> None:
    """An id that is no UUID is a 4xx, and nothing is deleted."""
    with imported(media) as (kept,):
        look = {"assets": [kept.asset_id], "entities": ids(kept.entities)}
        before = tables.look(**look) if tables.present else None
        for what, malformed in MALFORMED.items():
            exchange = media.delete(malformed(kept.asset_id), exclude=exclude)
            expect.client_error(exchange, clause="DEL-02", what=f"the delete of {what}")
        if before is not None:
            same_rows(media, before, tables.look(**look), clause="DEL-02", what="a delete of a malformed id")
        is_untouched(media, tables, kept, exchange, clause="DEL-02", what="a delete of a malformed id")


NO_BOOLEAN = ("maybe", "2", "-1", "null", "truefalse", "true,false", "xtrue", "")


@pytest.mark.clause("DEL-02")
def test_exclude_that_is_no_boolean_is_refused(media: Media, tables: CoreTables) -> None:
    """An `exclude` without a boolean reading is a 4xx, and nothing is deleted or excluded."""
    with imported(media) as (kept,):
        look = {"assets": [kept.asset_id], "entities": ids(kept.entities)}
        before = tables.look(**look) if tables.present else None
        for exclude in NO_BOOLEAN:
            exchange = media.delete(kept.asset_id, exclude=exclude)
            expect.client_error(exchange, clause="DEL-02", what=f"a delete with exclude={exclude}")
        if before is not None:
            same_rows(
                media, before, tables.look(**look), clause="DEL-02", what="a delete that was refused for its exclude"
            )
        is_untouched(media, tables, kept, exchange, clause="DEL-02", what="a delete that was refused for its exclude")
