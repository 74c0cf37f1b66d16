"""EXC-01 to EXC-06: what a delete with `exclude=true` keeps out, for whom, and what one without it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import pytest

from conformance import expect
from conformance.core_tables import CoreTables
from conformance.errors import NotVerified, PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.lab import answers
from conformance.media import NOT_IMPORTED, Entity, Final, Media, Show, image_order, read_import, same_address
from conformance.pages import PageImage, Site
from conformance.pictures import picture
from conformance.suites.backend.orders import seed_of
from conformance.suites.backend.upkeep import as_entity, candidate, entities_of, excluding, no_server_error


@dataclass(frozen=True)
class Scene:
    """A page of images, and for whom they may be imported."""

    site: Site
    images: tuple[PageImage, ...]
    page: str
    show: Show
    person: Entity

    @property
    def entities(self) -> dict[str, Entity]:
        """A season, its show and a person, by their type."""
        return {entity.entity_type: entity for entity in (self.show.season, self.show.show, self.person)}


@contextmanager
def scene(media: Media, images: int = 2) -> Iterator[Scene]:
    """A fresh scene."""
    site = media.site()
    with media.show() as show, media.person() as person:
        shown = tuple(site.image() for _ in range(images))
        yield Scene(site, shown, site.page(shown), show, person)


# --- steps and checks ------------------------------------------------------------------------------------------------


def deleted(media: Media, entity: Entity, page: str, url: str, kind: str = "promo", *, exclude: bool) -> Exchange:
    """Imports an image for an entity and deletes it again."""
    return media.deleted(media.stored(entity, page, url, kind), exclude=exclude)


def not_offered(media: Media, entity: Entity, page: str, url: str, *, clause: str) -> None:
    """A preview for the entity leaves the image out."""
    preview = media.previewed(page, entity)
    if preview.shows(url):
        raise Violation(
            f"a preview for a {entity.entity_type} shows an image that was excluded for it",
            clause=clause,
            expected=f"{url} is left out",
            actual=[shown.url for shown in preview.candidates],
            exchange=preview.exchange,
        )


def not_imported(media: Media, entity: Entity, page: str, url: str, kind: str = "promo", *, clause: str) -> None:
    """The stream of an import for the entity says `excluded`."""
    final, exchange = ended(media, entity, page, url, kind)
    if final.status != "excluded":
        raise Violation(
            f"an import for a {entity.entity_type} of an image that was excluded for it: {final.status}",
            clause=clause,
            expected="excluded",
            actual=final.status,
            exchange=exchange,
        )


def ended(media: Media, entity: Entity, page: str, url: str, kind: str = "promo") -> tuple[Final, Exchange]:
    """How the import of one image ended; what tells of it by an equivalent address, as URL types do, is understood."""
    told = media.told(entity, page, [image_order(url, kind)])
    respelled = [final.url for final in told.finals if final.url != url and same_address(final.url, url)]
    told = replace(told, sent=tuple(respelled)) if len(respelled) == 1 else told
    return told.judge().finals[0], told.exchange


def require_excluded(media: Media, entity: Entity, page: str, url: str) -> None:
    """Premise: an image is left out and excluded at all."""
    try:
        not_offered(media, entity, page, url, clause="EXC-02")
        not_imported(media, entity, page, url, clause="EXC-02")
    except Violation as broken:
        raise PremiseBroken(
            "EXC-02", broken.message, expected=broken.expected, actual=broken.actual, exchange=broken.exchange
        ) from None


def offered_and_imported(media: Media, entity: Entity, page: str, url: str, *, clause: str, what: str) -> None:
    """A preview for the entity shows the image, and an import takes it."""
    preview = media.previewed(page, entity)
    if not preview.shows(url):
        raise Violation(
            f"a preview for a {entity.entity_type} leaves out an image {what}",
            clause=clause,
            expected=url,
            actual=[shown.url for shown in preview.candidates],
            exchange=preview.exchange,
        )
    told = media.streamed(entity, page, [image_order(url)])
    status = told.final(url).status
    if status == "excluded":
        raise Violation(
            f"an import for a {entity.entity_type} excludes an image {what}",
            clause=clause,
            expected="success",
            actual=status,
            exchange=told.exchange,
        )
    if status != "success":
        raise PremiseBroken(
            "DEL-01" if status == "duplicate" else NOT_IMPORTED[status],
            f"an image that was deleted is not new: {status}",
            expected="success",
            actual=status,
            exchange=told.exchange,
        )


every_type = pytest.mark.parametrize("entity_type", ["season", "show", "person"])

# --- EXC-01: the rows ------------------------------------------------------------------------------------------------


@pytest.mark.clause("EXC-01")
@pytest.mark.parametrize(("entity_type", "kind"), [("season", "cast"), ("show", "poster"), ("person", "promo")])
def test_exclude_writes_a_row(media: Media, tables: CoreTables, entity_type: str, kind: str) -> None:
    """The entity that the asset was linked to has an exclusion that names the image, and nobody else has one."""
    with scene(media) as given, scene(media) as other:
        entity = given.entities[entity_type]
        gone, stays = (image.url for image in given.images)
        media.stored(entity, given.page, stays)
        exchange = deleted(media, entity, given.page, gone, kind, exclude=True)
        found = tables.exclusions([entity.entity_id])
        if as_entity(entity) not in entities_of(excluding(tables, [entity], gone)):
            raise Violation(
                "a delete with exclude=true wrote no exclusion",
                expected=f"a row in core.media_scrape_exclusions for {entity.members} that names {gone}",
                actual=[dict(row) for row in found],
                exchange=exchange,
            )
        strangers = [*excluding(tables, [*other.entities.values()], gone), *excluding(tables, [entity], stays)]
        if strangers:
            raise Violation(
                "a delete with exclude=true excluded more than the image for its entities",
                expected=f"{gone} alone, for {entity.members}",
                actual=[dict(row) for row in strangers],
                exchange=exchange,
            )


@pytest.mark.clause("EXC-01")
def test_every_linked_entity_gets_its_row(media: Media, tables: CoreTables) -> None:
    """An asset with links to several entities, also of one type, is excluded for each of them."""
    with scene(media) as given, scene(media, images=0) as other:
        url = given.images[0].url
        entities = [*given.entities.values(), *other.entities.values()]
        asset_id = media.stored(entities[0], given.page, url)
        for entity in entities[1:]:
            media.streamed(entity, given.page, [image_order(url)])
        linked = entities_of(tables.links_of([asset_id]))
        exchange = media.deleted(asset_id, exclude=True)
        # a target may have linked others along
        everybody = [Entity(entity_type, str(entity_id), {}) for entity_type, entity_id in linked]
        excluded = entities_of(excluding(tables, everybody, url))
        if not linked <= excluded:
            raise Violation(
                "a delete with exclude=true left out entities that the asset was linked to",
                clause="EXC-01",
                expected=sorted(map(str, linked)),
                actual=sorted(map(str, excluded)),
                exchange=exchange,
            )
        for entity in entities:
            if as_entity(entity) in linked:
                not_offered(media, entity, given.page, url, clause="EXC-02")


# --- EXC-02: what it keeps out ---------------------------------------------------------------------------------------


@pytest.mark.clause("EXC-02")
@every_type
def test_excluded_image_is_neither_offered_nor_imported(media: Media, entity_type: str) -> None:
    """The preview for the entity shows all but the image; an import takes all but it, whatever its kind."""
    with scene(media, images=3) as given:
        entity = given.entities[entity_type]
        gone, stays, other = (image.url for image in given.images)
        deleted(media, entity, given.page, gone, exclude=True)
        not_offered(media, entity, given.page, gone, clause="EXC-02")
        preview = media.previewed(given.page, entity)
        for url in (stays, other):
            candidate(preview, url)
        not_imported(media, entity, given.page, gone, clause="EXC-02")
        not_imported(media, entity, given.page, gone, "poster", clause="EXC-02")
        told = media.streamed(entity, given.page, [image_order(stays), image_order(gone), image_order(other)])
        expected = {stays: "success", gone: "excluded", other: "success"}
        if told.statuses != expected:
            raise Violation(
                "an import of excluded and other images",
                expected=expected,
                actual=told.statuses,
                exchange=told.exchange,
            )


@pytest.mark.clause("EXC-02")
@every_type
def test_exclusion_is_seen_where_a_list_was_read_before(media: Media, tables: CoreTables, entity_type: str) -> None:
    """Of an asset with links to several entities, it is left out for each of them that had seen it in a preview."""
    with scene(media) as given:
        url = given.images[0].url
        entities = sorted(given.entities.values(), key=lambda entity: entity.entity_type != entity_type)
        for entity in entities:
            candidate(media.previewed(given.page, entity), url)
        asset_id = media.stored(entities[0], given.page, url)
        for entity in entities[1:]:
            media.streamed(entity, given.page, [image_order(url)])
        # who imports a duplicate need not be linked
        linked = entities_of(tables.links_of([asset_id])) if tables.present else {as_entity(entities[0])}
        media.deleted(asset_id, exclude=True)
        for entity in entities:
            if as_entity(entity) in linked:
                not_offered(media, entity, given.page, url, clause="EXC-02")


@pytest.mark.clause("EXC-02")
@every_type
def test_plain_import_leaves_it_out(media: Media, entity_type: str) -> None:
    """`/import` takes the other image, and that one alone."""
    with scene(media) as given:
        entity = given.entities[entity_type]
        gone, other = (image.url for image in given.images)
        deleted(media, entity, given.page, gone, exclude=True)
        exchange = media.import_images(entity, given.page, [image_order(gone), image_order(other)])
        imported = read_import(exchange)
        if imported.imported != 1:
            raise Violation(
                "an import of an excluded and another image",
                expected="1 imported",
                actual=f"{imported.imported} imported",
                exchange=exchange,
            )
        not_imported(media, entity, given.page, gone, clause="EXC-02")


@pytest.mark.clause("EXC-02")
def test_exclusion_holds_on_every_page_and_however_the_season_is_named(media: Media) -> None:
    """The image is kept out where it stands on another page, for a season that is named by show and number, too."""
    with scene(media) as given:
        url = given.images[0].url
        elsewhere = given.site.page(given.images, name="another.html")
        deleted(media, given.show.season, given.page, url, exclude=True)
        not_offered(media, given.show.season, elsewhere, url, clause="EXC-02")
        not_imported(media, given.show.season, elsewhere, url, clause="EXC-02")
        not_imported(media, given.show.season_by_number, given.page, url, clause="EXC-02")


@pytest.mark.clause("EXC-02")
def test_exclusion_holds_for_an_image_behind_a_redirect(media: Media) -> None:
    """The image is kept out under the address that the page has, wherever that leads."""
    with scene(media, images=1) as given:
        season, moved = given.show.season, given.site.image(None, answers.redirect(given.images[0].url))
        page = given.site.page([moved], name="moved.html")
        final, _ = ended(media, season, page, moved.url)
        if final.status != "success":
            return  # it follows no redirect
        media.deleted(str(final.media_asset_id), exclude=True)
        not_offered(media, season, page, moved.url, clause="EXC-02")
        not_imported(media, season, page, moved.url, clause="EXC-02")


@pytest.mark.clause("EXC-02")
def test_seed_is_excluded_like_any_other(media: Media) -> None:
    """A photo that seeds a person's face bank is kept out once it is deleted with `exclude=true`."""
    with scene(media, images=1) as given:
        url = given.images[0].url
        asset_id = media.stored(given.person, given.page, url)
        if seed_of(media, given.person) is None:
            return  # other tests show what can be seen here
        media.deleted(asset_id, exclude=True)
        not_offered(media, given.person, given.page, url, clause="EXC-02")
        not_imported(media, given.person, given.page, url, clause="EXC-02")


@pytest.mark.clause("EXC-02")
def test_exclusion_stays(media: Media) -> None:
    """Imports and deletes of other images, and of this one for somebody else, take no exclusion back."""
    with scene(media) as given, scene(media) as other:
        gone, another = (image.url for image in given.images)
        season = given.show.season
        deleted(media, season, given.page, gone, exclude=True)
        deleted(media, season, given.page, another, exclude=False)
        deleted(media, other.show.season, given.page, gone, exclude=False)
        not_offered(media, season, given.page, gone, clause="EXC-02")
        not_imported(media, season, given.page, gone, clause="EXC-02")
        media.stored(season, given.page, another)
        media.stored(other.show.season, given.page, gone)
        not_imported(media, season, given.page, gone, clause="EXC-02")


# --- EXC-03: no exclusion --------------------------------------------------------------------------------------------


@pytest.mark.clause("EXC-03")
@every_type
def test_delete_without_exclude_excludes_nothing(media: Media, entity_type: str) -> None:
    """After `exclude=false` the image is offered and imported again, as often as one likes."""
    with scene(media) as given:
        entity = given.entities[entity_type]
        url = given.images[0].url
        deleted(media, entity, given.page, url, exclude=False)
        offered_and_imported(media, entity, given.page, url, clause="EXC-03", what="that was deleted, not excluded")


@pytest.mark.clause("EXC-03")
def test_what_was_a_duplicate_can_be_imported_again(media: Media) -> None:
    """The same where the image had been imported for several entities before it was deleted."""
    with scene(media) as given:
        url = given.images[0].url
        first, *others = given.entities.values()
        asset_id = media.stored(first, given.page, url)
        for entity in others:
            media.streamed(entity, given.page, [image_order(url)])
        media.deleted(asset_id, exclude=False)
        final, exchange = ended(media, first, given.page, url)
        if (
            final.status == "duplicate"
            and final.media_asset_id is not None
            and media.delete(final.media_asset_id, exclude=False).status in expect.SUCCESS
        ):
            raise PremiseBroken(
                "DEL-01",
                "an image that was deleted is not new",
                expected="success",
                actual=dict(final.event.members),
                exchange=exchange,
            )
        if final.status != "success":
            raise Violation(
                f"an image that was deleted, not excluded, can't be imported again: {final.status}",
                expected="success",
                actual=dict(final.event.members),
                exchange=exchange,
            )


@pytest.mark.clause("EXC-03")
def test_delete_without_exclude_excludes_for_nobody(media: Media, tables: CoreTables) -> None:
    """After `exclude=false` no entity that the asset was linked to has a row or misses the image."""
    with scene(media) as given:
        url = given.images[0].url
        entities = list(given.entities.values())
        asset_id = media.stored(entities[0], given.page, url)
        for entity in entities[1:]:
            media.streamed(entity, given.page, [image_order(url)])
        exchange = media.deleted(asset_id, exclude=False)
        rows = tables.exclusions([entity.entity_id for entity in entities]) if tables.present else ()
        if rows:
            raise Violation(
                "a delete with exclude=false wrote exclusions",
                expected="no row in core.media_scrape_exclusions",
                actual=[dict(row) for row in rows],
                exchange=exchange,
            )
        for entity in entities:
            if not media.previewed(given.page, entity).shows(url):
                raise Violation(
                    f"a preview for a {entity.entity_type} leaves out an image that was deleted, not excluded",
                    expected=url,
                    actual="left out",
                    exchange=exchange,
                )


# --- EXC-04: for whom ------------------------------------------------------------------------------------------------


@pytest.mark.clause("EXC-04")
@every_type
def test_exclusion_is_the_entitys_alone(media: Media, entity_type: str) -> None:
    """What is excluded for one entity is offered to another show, its season and another person, and they import it."""
    with scene(media, images=3) as given, scene(media, images=0) as other:
        entity = given.entities[entity_type]
        what = f"that was excluded for another {entity_type}"
        for image in given.images:
            deleted(media, entity, given.page, image.url, exclude=True)
        for image, stranger in zip(given.images, other.entities.values(), strict=True):
            offered_and_imported(media, stranger, given.page, image.url, clause="EXC-04", what=what)
        for image in given.images:
            not_imported(media, entity, given.page, image.url, clause="EXC-02")


# --- EXC-05: twice ---------------------------------------------------------------------------------------------------


def one_row(tables: CoreTables, entity: Entity, url: str, exchange: Exchange) -> None:
    """The entity has one exclusion of the image."""
    rows = excluding(tables, [entity], url)
    if not rows:
        raise PremiseBroken(
            "EXC-01",
            "a delete with exclude=true wrote no exclusion",
            expected=f"a row in core.media_scrape_exclusions for {entity.members} that names {url}",
            actual=[],
            exchange=exchange,
        )
    if len(rows) > 1:
        raise Violation(
            "an image that was excluded twice has several exclusions",
            clause="EXC-05",
            expected="one row",
            actual=[dict(row) for row in rows],
            exchange=exchange,
        )


@pytest.mark.clause("EXC-05")
@every_type
def test_image_that_was_excluded_twice_has_one_exclusion(media: Media, tables: CoreTables, entity_type: str) -> None:
    """An address whose picture was replaced is two assets, of two pages; both are deleted with `exclude=true`."""
    with scene(media, images=0) as given:
        tables.exclusions([])  # not verified at once where we cannot look
        entity = given.entities[entity_type]
        image = given.site.image("replaced.png")
        pages = [given.site.page([image], name=f"page-{number}.html") for number in range(2)]
        first = media.stored(entity, pages[0], image.url)
        given.site.image("replaced.png", answers.image(picture(f"{given.site.key}/another")))
        final = media.final(entity, pages[1], image.url)
        if final.status != "success":
            return  # one address is one asset, whatever its bytes: then it is excluded once
        media.deleted(first, exclude=True)
        exchange = media.delete(str(final.media_asset_id), exclude=True)
        no_server_error(exchange, clause="EXC-05", what="the second delete with exclude=true")
        one_row(tables, entity, image.url, exchange)


@pytest.mark.clause("EXC-05")
def test_image_that_was_imported_twice_has_one_exclusion(media: Media, tables: CoreTables) -> None:
    """An asset that was imported as several kinds may have several links to a season: one exclusion comes of them."""
    with scene(media, images=1) as given:
        tables.exclusions([])
        season, url = given.show.season, given.images[0].url
        asset_id = media.stored(season, given.page, url, "promo")
        for kind in ("poster", "cast", "promo"):
            media.streamed(season, given.page, [image_order(url, kind)])
        exchange = media.delete(asset_id, exclude=True)
        no_server_error(exchange, clause="EXC-05", what="a delete with exclude=true of an asset with several links")
        one_row(tables, season, url, exchange)


# --- EXC-06: the same image under an equivalent address --------------------------------------------------------------


def _with_fragment(url: str) -> str:
    return f"{url}#large"


def _in_capitals(url: str) -> str:
    authority = urlsplit(url).netloc
    return url.replace(authority, authority.upper(), 1)


SPELLINGS: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "with a fragment": (str, _with_fragment),
    "without the fragment": (_with_fragment, str),
    "with another fragment": (_with_fragment, lambda url: f"{url}#small"),
    "host in capitals": (str, _in_capitals),
    "host in lower case": (_in_capitals, str),
}
"""How an image is spelled that is excluded, and how it is offered then."""


@pytest.mark.clause("EXC-06")
@pytest.mark.parametrize("spelled", [pytest.param(pair, id=name) for name, pair in SPELLINGS.items()])
def test_exclusion_holds_for_an_equivalent_address(
    media: Media, spelled: tuple[Callable[[str], str], Callable[[str], str]]
) -> None:
    """The image is left out and excluded under an address that differs in a fragment or the host's case."""
    with scene(media, images=1) as given:
        season, plain = given.show.season, given.images[0].url
        deleted(media, season, given.page, plain, exclude=True)
        require_excluded(media, season, given.page, plain)

        image = given.site.image()
        base = media.origin.origin_by_name if _in_capitals in spelled else media.origin.origin_url
        if base is None:
            raise NotVerified("page_origin has no host name, whose case could differ")
        address = image.url.replace(media.origin.origin_url, base, 1)
        first, second = (replace(image, url=spell(address)) for spell in spelled)
        assert same_address(first.url, second.url)
        page = given.site.page([first])
        final, _ = ended(media, season, page, first.url)
        if final.status != "success":
            raise NotVerified(f"the target does not import {first.url}: {final.status}, {final.message}")
        media.deleted(str(final.media_asset_id), exclude=True)
        given.site.page([second])  # at the same address
        not_offered(media, season, page, second.url, clause="EXC-06")
        not_imported(media, season, page, second.url, clause="EXC-06")
