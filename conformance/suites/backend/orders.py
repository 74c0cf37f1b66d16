"""What the suites of preview, import and stream share: entities, and images whose import ends in a known way."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from conformance.errors import NotVerified, PremiseBroken
from conformance.exchange import Exchange
from conformance.lab import answers
from conformance.media import Entity, Media, image_order, not_imported
from conformance.pages import PageImage, Site
from conformance.pictures import picture
from conformance.sse import normal_id
from conformance.suites.backend.upkeep import excluding

ENTITY_TYPES = ("season", "show", "person")

UNDER_WAY = (409, 423, 503)
"""What a target may answer while another request is at work on the same, also one that nobody waits for any more."""


@contextmanager
def entity_of(media: Media, entity_type: str) -> Iterator[Entity]:
    """A fresh entity of that type."""
    if entity_type == "person":
        with media.person() as person:
            yield person
        return
    with media.show() as show:
        yield show.season if entity_type == "season" else show.show


# --- images whose import ends in a known way -------------------------------------------------------------------------


class Fate(enum.Enum):
    """How the import of an image should end; the value is its final status."""

    NEW = "success"
    KNOWN = "duplicate"
    EXCLUDED = "excluded"
    BROKEN = "error"


MIXED = (Fate.NEW, Fate.BROKEN, Fate.KNOWN, Fate.NEW, Fate.EXCLUDED, Fate.NEW)
"""One request in which everything happens, and goes on after it."""


@dataclass(frozen=True)
class Order:
    """Images of one page, in the order in which they are sent, each with its fate for one entity."""

    entity: Entity
    page: str
    key: str
    """What stands in every address of the page's images."""
    images: tuple[PageImage, ...]
    fates: tuple[Fate, ...]

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses, in order."""
        return tuple(image.url for image in self.images)

    @property
    def elements(self) -> list[dict[str, Any]]:
        """The images as an import sends them."""
        return [image_order(url) for url in self.urls]

    @property
    def expected(self) -> dict[str, str]:
        """Address → how its import should end."""
        return {url: fate.value for url, fate in zip(self.urls, self.fates, strict=True)}

    def of(self, *fates: Fate) -> list[str]:
        """The addresses of the images with one of these fates, in order."""
        return [url for url, fate in zip(self.urls, self.fates, strict=True) if fate in fates]


@contextmanager
def order_of(media: Media, fates: Sequence[Fate], *, entity_type: str = "season") -> Iterator[Order]:
    """Images with these fates for a fresh entity: what should be known or excluded has been imported before."""
    site = media.site()
    images = tuple(site.image(None, answers.status(404)) if fate is Fate.BROKEN else site.image() for fate in fates)
    page = site.page(images)
    with entity_of(media, entity_type) as entity:
        order = Order(entity, page, site.key, images, tuple(fates))
        known = order.of(Fate.KNOWN)
        if known:
            with media.person() as somebody:
                imported_anew(media, somebody, page, known)
        excluded(media, entity, page, order.of(Fate.EXCLUDED))
        yield order


def imported_anew(media: Media, entity: Entity, page: str, urls: Sequence[str]) -> dict[str, str]:
    """Imports sound new images, and the ids of their assets by address; anything but a success is a broken premise."""
    told = media.streamed(entity, page, [image_order(url) for url in urls])
    for final in told.finals:
        if final.status != "success":
            raise not_imported(told, final)
    return {final.url: final.media_asset_id or "" for final in told.finals}


def excluded(media: Media, entity: Entity, page: str, urls: Sequence[str]) -> None:
    """Puts images on the entity's exclusion list: imports them, and deletes them for good."""
    if urls:
        for asset_id in imported_anew(media, entity, page, urls).values():
            media.deleted(asset_id, exclude=True)


def with_held(site: Site, count: int, held: int) -> list[PageImage]:
    """Images of which one is not answered before it is released; a HEAD for it is, as it fetches nothing."""
    images = []
    for number in range(count):
        whole = answers.image(picture(f"{site.key} {number}"))
        images.append(site.image(None, answers.held(whole), head=whole) if number == held else site.image())
    return images


def require_on_the_list(media: Media, entity: Entity, page: str, url: str) -> None:
    """Makes sure that an exclusion was written at all, so that what does not heed it is at fault.

    Raises PremiseBroken for EXC-01 where the database has none, or for EXC-02 where nothing that shows heeds it.
    """
    if media.tables.present:
        if not excluding(media.tables, [entity], url):
            raise PremiseBroken("EXC-01", "exclude=true wrote no exclusion", expected=url, actual=[])
        return
    preview = media.previewed(page, entity)
    if preview.shows(url) and media.status(entity, page, url) != "excluded":
        raise PremiseBroken(
            "EXC-02",
            "after exclude=true an image is previewed and imported as before",
            expected="left out of previews, and excluded from imports",
            actual="neither",
            exchange=preview.exchange,
        )


def still_new(media: Media, page: str, urls: Sequence[str]) -> dict[str, str]:
    """Those of the images that some asset has, by how their import for somebody else ends instead of in success."""
    with media.person() as somebody:
        told = media.streamed(somebody, page, [image_order(url) for url in urls])
    return {final.url: final.status for final in told.finals if final.status != "success"}


def can_import(media: Media) -> bool:
    """Whether photos can be imported here, for what other clauses promise of photos however they came to be."""
    try:
        media.require_writes()
        media.reach()
    except NotVerified:
        return False
    return True


def seed_of(media: Media, person: Entity) -> Exchange | None:
    """Makes the one photo that was imported for a person a seed.

    None where that cannot be done: the database alone has the link's id, and an import need not make one of a gallery.
    """
    if not media.tables.present:
        return None
    links = [row for row in media.tables.links_to([person.entity_id]) if row.get("kind") == "gallery"]
    if len(links) != 1 or len(media.backend.listing(person.entity_id, seed_only=False).rows) != 1:
        return None
    exchange = media.backend.toggle(person.entity_id, str(links[0]["id"]), True)
    return exchange if exchange.status == 200 else None


def deleted_with_its_link(media: Media, person: Entity, asset_id: str) -> None:
    """Deletes the one asset that a person has; a link that it leaves is DEL-01's. It takes the database to see that."""
    exchange = media.deleted(asset_id, exclude=False)
    if left := media.tables.links_to([person.entity_id]):
        raise PremiseBroken(
            "DEL-01", "a delete left a link", expected=[], actual=list(map(dict, left)), exchange=exchange
        )


def links_to(media: Media, person: Entity) -> list[str]:
    """The person's links: assets' ids by the database, else addresses by the photos; each as often as it is linked."""
    if media.tables.present:
        return [normal_id(str(row["media_asset_id"])) for row in media.tables.links_to([person.entity_id])]
    try:
        return list(media.backend.listing(person.entity_id, seed_only=False).urls)
    except NotVerified as missing:
        raise NotVerified(f"database_url is not set, and the photos cannot be read: {missing.message}") from None
