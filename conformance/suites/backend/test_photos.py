"""PHO-01 to PHO-12: what a person's photos are, whole, filtered and in pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import expect
from conformance.backend import Backend, Gallery, Listing, read_listing
from conformance.errors import PremiseBroken, Violation
from conformance.media import Entity, Media
from conformance.polling import polls
from conformance.strategies import Sizes, sizes
from conformance.suites.backend.orders import can_import, deleted_with_its_link, imported_anew
from conformance.suites.backend.upkeep import BACKGROUND_S

LARGE = Sizes(seeded=36, unseeded=9)
"""More than a short default page holds, the seeds alone too."""


@contextmanager
def imported_gallery(media: Media, count: int) -> Iterator[Entity]:
    """A fresh person for whom so many images were imported."""
    site = media.site()
    images = [site.image() for _ in range(count)]
    with media.person() as person:
        imported_anew(media, person, site.page(images), [image.url for image in images])
        yield person


@contextmanager
def gallery(backend: Backend, size: Sizes) -> Iterator[Gallery]:
    """A fresh gallery of that size."""
    with backend.gallery(seeded=size.seeded, unseeded=size.unseeded, unhosted=size.unhosted) as person:
        yield person


def urls(person: Gallery, *, flagged_only: bool = False) -> list[str]:
    """The addresses of a gallery's photos, or of its seeds."""
    return [link.served_url for link in (person.flagged if flagged_only else person.links)]


# --- PHO-01, PHO-10: the rows ----------------------------------------------------------------------------------------


def has_pinned_shape(backend: Backend, listing: Listing) -> None:
    """Every row has the pinned members with the pinned types."""
    for error in backend.contracts.validator("photo-list").iter_errors(list(listing.rows)):
        raise Violation(
            f"the photos have not the pinned shape: {error.json_path}: {error.message}",
            expected="photo-list.schema.json",
            actual=error.instance,
            exchange=listing.exchange,
        )


@pytest.mark.clause("PHO-01")
@given(size=sizes(unhosted=True))
def test_photos_have_the_pinned_shape(backend: Backend, size: Sizes) -> None:
    """200 is a JSON array of objects, each with a string `served_url`, the other known fields typed or null."""
    with gallery(backend, size) as person:
        for query in ((), (("seed_only", "true"),), (("seed_only", "false"),)):
            exchange = backend.photos(person.person_id, query)
            if exchange.status != 200 and not person.flagged and query == (("seed_only", "true"),):
                continue  # PHO-03 judges what an empty answer is
            has_pinned_shape(backend, read_listing(exchange))


@pytest.mark.clause("PHO-01")
@pytest.mark.parametrize("query", ["", "true", "false"], ids=["plain", "seed_only=true", "seed_only=false"])
def test_some_persons_photos_have_the_pinned_shape(backend: Backend, query: str) -> None:
    """The same for a person whom every environment has."""
    with backend.some_person() as person_id:
        has_pinned_shape(backend, read_listing(backend.photos(person_id, [("seed_only", query)] if query else [])))


@pytest.mark.clause("PHO-10")
@given(size=sizes(unhosted=True))
def test_served_url_is_the_hosted_copy_or_the_source(backend: Backend, size: Sizes) -> None:
    """`served_url` is the hosted copy's address, or the source address where there is no hosted copy."""
    with gallery(backend, size) as person:
        listing = backend.listing(person.person_id, seed_only=False)
        strange = [url for url in listing.urls if url not in urls(person)]
        if strange:
            raise Violation(
                "served_url is neither the hosted copy's address nor the source address of a photo without one",
                expected=urls(person),
                actual=strange,
                exchange=listing.exchange,
            )


@pytest.mark.clause("PHO-10")
@pytest.mark.parametrize("count", [1, 2, 5])
def test_photos_without_a_hosted_copy_are_there(backend: Backend, count: int) -> None:
    """A gallery without any hosted copy is there under its source addresses."""
    with backend.gallery(unhosted=count) as person:
        listing = backend.listing(person.person_id, seed_only=False)
        expect.same_photos(listing.urls, urls(person), what="photos without a hosted copy", exchange=listing.exchange)


@pytest.mark.clause("PHO-10")
def test_seed_without_a_hosted_copy_has_its_source_address(backend: Backend) -> None:
    """The same among the seeds."""
    with backend.gallery(unhosted=2) as person:
        link = person.links[0]
        backend.set_flag(person.person_id, link, True)
        listing = backend.listing(person.person_id, seed_only=True)
        strange = [url for url in listing.urls if url not in urls(person)]
        if strange:
            raise Violation(
                "a seed without a hosted copy is not there under its source address",
                expected=link.served_url,
                actual=strange,
                exchange=listing.exchange,
            )


# --- PHO-02 to PHO-06: the filter ------------------------------------------------------------------------------------


@pytest.mark.clause("PHO-02")
@given(size=sizes(unhosted=True))
def test_seeds_are_a_subset(backend: Backend, size: Sizes) -> None:
    """`seed_only=true` ⊆ `seed_only=false`, as multisets of `served_url`."""
    with gallery(backend, size) as person:
        is_subset(backend, person.person_id)


@pytest.mark.clause("PHO-02")
def test_some_persons_seeds_are_a_subset(backend: Backend) -> None:
    """The same for a person whom every environment has."""
    with backend.some_person() as person_id:
        is_subset(backend, person_id)


def is_subset(backend: Backend, person_id: str) -> None:
    """No photo is a seed and not, or less often, among all photos."""
    snapshot = backend.snapshot(person_id)
    beyond = snapshot.seeds - snapshot.every
    if beyond:
        raise Violation(
            "seed_only=true has photos that seed_only=false has not, or not as often",
            expected=sorted(snapshot.every.elements()),
            actual=sorted(beyond.elements()),
            exchange=snapshot.exchange,
        )


@pytest.mark.clause("PHO-03")
@given(size=sizes())
def test_seeds_are_exactly_the_flagged_photos(backend: Backend, size: Sizes) -> None:
    """`seed_only=true` is exactly the flagged photos."""
    with gallery(backend, size) as person:
        exactly_the_seeds(backend, person, urls(person, flagged_only=True))


@pytest.mark.clause("PHO-03")
@given(size=sizes(min_seeded=1), kept=st.integers(0, 10_000))
def test_seeds_are_exactly_what_is_still_flagged(backend: Backend, size: Sizes, kept: int) -> None:
    """The same after some flags were taken back, down to none."""
    with gallery(backend, size) as person:
        keep = kept % len(person.flagged)
        for link in person.flagged[keep:]:
            backend.set_flag(person.person_id, link, False)
        exactly_the_seeds(backend, person, [link.served_url for link in person.flagged[:keep]])


@pytest.mark.clause("PHO-03")
def test_seeds_without_a_hosted_copy_are_there(backend: Backend) -> None:
    """The same where flagged photos have no hosted copy."""
    with backend.gallery(seeded=1, unhosted=2) as person:
        for link in person.unflagged:
            backend.set_flag(person.person_id, link, True)
        exactly_the_seeds(backend, person, urls(person))


@pytest.mark.clause("PHO-03")
@pytest.mark.parametrize("unseeded", [0, 1, 7])
def test_no_seeds_are_an_empty_array(backend: Backend, unseeded: int) -> None:
    """None flagged → `[]` with 200."""
    with backend.gallery(unseeded=unseeded) as person:
        exchange = backend.photos(person.person_id, [("seed_only", "true")])
        listing = read_listing(exchange)
        expect.same_photos(listing.urls, [], what="the seeds of a gallery without seeds", exchange=exchange)


@pytest.mark.clause("PHO-03")
def test_seeds_of_a_large_gallery_are_there(backend: Backend) -> None:
    """The same for more seeds than a short default page holds, without asking for pages."""
    with gallery(backend, LARGE) as person:
        exactly_the_seeds(backend, person, urls(person, flagged_only=True))


def exactly_the_seeds(backend: Backend, person: Gallery, expected: list[str]) -> None:
    """The seeds are these, each once."""
    exchange = backend.photos(person.person_id, [("seed_only", "true")])
    try:
        listing = read_listing(exchange)
    except Violation as broken:
        if not expected:
            raise
        raise PremiseBroken(
            "PHO-01", broken.message, expected=broken.expected, actual=broken.actual, exchange=exchange
        ) from None
    expect.known_addresses(listing.urls, urls(person), exchange=exchange)
    expect.same_photos(listing.urls, expected, what="the seeds", exchange=exchange)


@pytest.mark.clause("PHO-04")
@given(size=sizes())
def test_all_photos_are_there(backend: Backend, size: Sizes) -> None:
    """`seed_only=false` holds flagged and unflagged photos alike, whole."""
    with gallery(backend, size) as person:
        listing = backend.listing(person.person_id, seed_only=False)
        expect.known_addresses(listing.urls, urls(person), exchange=listing.exchange)
        expect.same_photos(listing.urls, urls(person), what="all photos", exchange=listing.exchange)


@pytest.mark.clause("PHO-04")
def test_all_photos_of_a_large_gallery_are_there(backend: Backend) -> None:
    """The same for more photos than a short default page holds, without asking for pages."""
    with gallery(backend, LARGE) as person:
        listing = backend.listing(person.person_id, seed_only=False)
        expect.known_addresses(listing.urls, urls(person), exchange=listing.exchange)
        expect.same_photos(listing.urls, urls(person), what=f"all {LARGE.total} photos", exchange=listing.exchange)


@pytest.mark.clause("PHO-04")
def test_all_imported_photos_are_there(media: Media) -> None:
    """The same for photos that were imported, to which nobody gave a place."""
    if not can_import(media) or not media.tables.present:
        return  # the galleries above show what can be seen here
    with imported_gallery(media, 3) as person:
        links = media.tables.links_to([person.entity_id])
        in_gallery = [row for row in links if row["kind"] == "gallery"]
        listing = media.backend.listing(person.entity_id, seed_only=False)
        if not len(in_gallery) <= len(listing.urls) <= len(links):
            raise Violation(
                "photos that were imported into a person's gallery are not all listed",
                expected=f"{len(in_gallery)} photos",
                actual=list(listing.urls),
                exchange=listing.exchange,
            )


@pytest.mark.clause("PHO-04")
def test_imported_photo_is_there_until_it_is_deleted(media: Media) -> None:
    """The same where the photos had been read before the import, and before the delete."""
    if not can_import(media) or not media.tables.present:
        return  # the galleries above show what can be seen here
    site = media.site()
    image = site.image()
    with media.person() as person:
        media.backend.listing(person.entity_id, seed_only=False)
        asset = media.stored(person, site.page([image]), image.url)
        in_gallery = [row for row in media.tables.links_to([person.entity_id]) if row["kind"] == "gallery"]
        there = media.backend.listing(person.entity_id, seed_only=False)
        deleted_with_its_link(media, person, asset)
        left = media.backend.listing(person.entity_id, seed_only=False)
    if len(there.urls) < len(in_gallery):
        raise Violation("an imported photo is not listed", expected=1, actual=0, exchange=there.exchange)
    if still := [url for url in there.urls if url in left.urls]:
        raise Violation("a deleted photo is still listed", expected=[], actual=still, exchange=left.exchange)


@pytest.mark.clause("PHO-04")
def test_all_photos_are_there_after_toggles(backend: Backend) -> None:
    """The same after flags were changed in both directions."""
    with backend.gallery(seeded=2, unseeded=3) as person:
        for link in (person.flagged[0], person.unflagged[0]):
            backend.set_flag(person.person_id, link, not link.flagged)
        listing = backend.listing(person.person_id, seed_only=False)
        expect.known_addresses(listing.urls, urls(person), exchange=listing.exchange)
        expect.same_photos(listing.urls, urls(person), what="all photos", exchange=listing.exchange)


@pytest.mark.clause("PHO-05")
@given(size=sizes(unhosted=True))
def test_both_lists_have_one_order(backend: Backend, size: Sizes) -> None:
    """Both lists come in the same relative order."""
    with gallery(backend, size) as person:
        every = backend.listing(person.person_id, seed_only=False).urls
        seeds = backend.listing(person.person_id, seed_only=True)
        expected = [url for url in every if url in seeds.urls]
        if len(expected) == len(seeds.urls) and list(seeds.urls) != expected:
            raise Violation(
                "the seeds come in another order than all photos",
                expected=expected,
                actual=list(seeds.urls),
                exchange=seeds.exchange,
            )


@pytest.mark.clause("PHO-05")
@given(size=sizes(unhosted=True))
def test_primary_comes_first(backend: Backend, size: Sizes) -> None:
    """A primary photo comes before those that are none, in both lists."""
    with gallery(backend, size) as person:
        for seed_only in (False, True):
            listing = backend.listing(person.person_id, seed_only=seed_only)
            primary = [row.get("is_primary") is True for row in listing.rows]
            if primary != sorted(primary, reverse=True):
                raise Violation(
                    f"the primary photo does not come first in seed_only={str(seed_only).lower()}",
                    expected=sorted(primary, reverse=True),
                    actual=primary,
                    exchange=listing.exchange,
                )


@pytest.mark.clause("PHO-06")
def test_left_out_filter_means_false(backend: Backend) -> None:
    """Leaving `seed_only` out means false."""
    with backend.some_person() as person_id:
        plain = backend.listing(person_id, seed_only=None)
        false = backend.listing(person_id, seed_only=False)
        expect.same_photos(plain.urls, false.urls, what="the photos without seed_only", exchange=plain.exchange)


@pytest.mark.clause("PHO-07")
@pytest.mark.parametrize(
    "value",
    ["maybe", "2", "", "-1", "null", "truee", "seed_only", "[]", "{}", "tru\u00e9", "undefined", "None"],
    ids=ascii,
)
def test_filter_without_a_boolean_reading_is_refused(backend: Backend, value: str) -> None:
    """A `seed_only` that has no boolean reading → 4xx, never a silent default."""
    with backend.some_person() as person_id:
        backend.listing(person_id, seed_only=True)
        exchange = backend.photos(person_id, [("seed_only", value)])
    expect.client_error(exchange, what=f"seed_only={value}")


# --- PHO-08: other people --------------------------------------------------------------------------------------------


@pytest.mark.clause("PHO-08")
@given(size=sizes(unhosted=True), other=sizes(min_seeded=1, min_unseeded=1, unhosted=True))
def test_photos_are_this_persons_alone(backend: Backend, size: Sizes, other: Sizes) -> None:
    """No photo that belongs to another person alone; nobody else's toggles or photos change the answer."""
    with gallery(backend, size) as person:
        before = backend.snapshot(person.person_id)
        with gallery(backend, other) as someone_else:
            for link in (someone_else.flagged[0], someone_else.unflagged[0]):
                exchange = backend.set_flag(someone_else.person_id, link, not link.flagged)
            after = backend.snapshot(person.person_id)
            strange = [url for url in after.every + after.seeds if url in urls(someone_else)]
            if strange:
                raise Violation(
                    "a person's photos hold another person's",
                    expected=urls(person),
                    actual=strange,
                    exchange=after.exchange,
                )
            expect.unchanged(before, after, what="another person's photos and toggles", exchange=exchange)


@pytest.mark.clause("PHO-08")
@pytest.mark.parametrize("toggled", ["person_id", "other_person_id"])
def test_flag_of_a_shared_photo_is_one_persons(backend: Backend, toggled: str) -> None:
    """Two people have the same photo; a toggle for one changes what is answered for that one alone."""
    with backend.states.given("shared photo") as values:
        pairs = {
            "person_id": (str(values["person_id"]), str(values["link_id"])),
            "other_person_id": (str(values["other_person_id"]), str(values["other_link_id"])),
        }
        person_id, link_id = pairs.pop(toggled)
        ((other_id, _),) = pairs.values()
        shared = str(values["served_url"])
        listings = [backend.listing(each, seed_only=False) for each in (person_id, other_id)]
        if not any(shared in listing.urls for listing in listings):
            # of neither: it is the address that is wrong
            expect.known_addresses(listings[0].urls, [shared], exchange=listings[0].exchange)
        for listing in listings:
            if listing.urls.count(shared) != 1:
                raise Violation(
                    "a photo that two people share is not listed once for each of them",
                    expected=[shared],
                    actual=list(listing.urls),
                    exchange=listing.exchange,
                )
        for value in (True, False, True):
            before = backend.snapshot(other_id)
            exchange = backend.toggle(person_id, link_id, value)
            expect.unchanged(
                before,
                backend.snapshot(other_id),
                what="a toggle of the same photo for another person",
                exchange=exchange,
            )


# --- PHO-09: pages ---------------------------------------------------------------------------------------------------


@pytest.mark.clause("PHO-09")
@pytest.mark.parametrize("seed_only", [True, False], ids=["seed_only=true", "seed_only=false"])
@given(size=sizes(min_seeded=1, unhosted=True), limit=st.integers(1, 6))
def test_pages_put_together_are_the_whole(backend: Backend, seed_only: bool, size: Sizes, limit: int) -> None:
    """Pages put together are the whole list, no row twice or missing."""
    with gallery(backend, size) as person:
        whole = backend.listing(person.person_id, seed_only=seed_only)
        paged: list[str] = []
        # one more page than there are rows: a page that is never empty is cut off, and shows as rows too many
        for _ in range(len(whole.urls) + 2):
            page = backend.listing(person.person_id, seed_only=seed_only, limit=limit, offset=len(paged))
            if len(page.urls) > limit:
                raise Violation(
                    f"a page of limit={limit} has {len(page.urls)} rows",
                    expected=f"at most {limit} rows",
                    actual=len(page.urls),
                    exchange=page.exchange,
                )
            paged += page.urls
            if not page.urls:
                break
        what = f"pages of {limit} put together"
        expect.same_photos(paged, whole.urls, what=what, exchange=whole.exchange)


@pytest.mark.clause("PHO-09")
def test_pages_of_imported_photos_are_the_whole(media: Media) -> None:
    """The same for photos that were imported, of which none has a place before another."""
    if not can_import(media):
        return  # the galleries above show what can be seen here
    with imported_gallery(media, 12) as person:
        for limit in (1, 2, 5):
            whole, paged = pages_at_rest(media.backend, person.entity_id, limit)
            what = f"pages of {limit} of imported photos put together"
            expect.same_photos(paged, whole.urls, what=what, exchange=whole.exchange)


def pages_at_rest(backend: Backend, person_id: str, limit: int) -> tuple[Listing, list[str]]:
    """The whole, and pages put together; again while the whole changes, as where copies are made in the background."""
    for _ in polls(BACKGROUND_S):
        whole = backend.listing(person_id, seed_only=False)
        paged: list[str] = []
        for _ in range(len(whole.urls) + 1):
            page = backend.listing(person_id, seed_only=False, limit=limit, offset=len(paged))
            paged += page.urls
            if not page.urls:
                break
        after = backend.listing(person_id, seed_only=False)
        if sorted(after.urls) == sorted(whole.urls):
            break
    return whole, paged


@pytest.mark.clause("PHO-09")
@given(size=sizes(min_seeded=2, min_unseeded=2), data=st.data())
def test_any_page_is_a_part_of_the_whole(backend: Backend, size: Sizes, data: st.DataObject) -> None:
    """The filter comes before `limit` and `offset`: a page holds as many rows as the whole list has there."""
    with gallery(backend, size) as person:
        for seed_only in (True, False):
            whole = backend.listing(person.person_id, seed_only=seed_only)
            offset = data.draw(st.none() | st.integers(0, len(whole.urls) + 1), label="offset")
            limit = data.draw(st.none() | st.integers(1, len(whole.urls) + 1), label="limit")
            page = backend.listing(person.person_id, seed_only=seed_only, limit=limit, offset=offset)
            there = whole.urls[offset or 0 :][:limit]
            if len(page.urls) != len(there) or not set(page.urls) <= set(whole.urls):
                raise Violation(
                    f"seed_only={str(seed_only).lower()}, limit {limit}, offset {offset}: no part of the whole list",
                    expected=list(there),
                    actual=list(page.urls),
                    exchange=page.exchange,
                )


# --- PHO-11, PHO-12 --------------------------------------------------------------------------------------------------


@pytest.mark.clause("PHO-11")
@pytest.mark.parametrize(
    "query", [[], [("seed_only", "true")], [("seed_only", "false")]], ids=["plain", "true", "false"]
)
def test_unknown_person_has_no_photos(backend: Backend, query: list[tuple[str, str]]) -> None:
    """An unknown person → 200 `[]`."""
    exchange = backend.photos(str(uuid.uuid4()), query)
    listing = read_listing(exchange)
    expect.same_photos(listing.urls, [], what="the photos of an unknown person", exchange=exchange)


@pytest.mark.clause("PHO-11")
@pytest.mark.parametrize("malformed", ["not-a-uuid", "1", "00000000-0000-0000-0000-00000000000g", "\x00"], ids=ascii)
def test_malformed_person_is_422(backend: Backend, malformed: str) -> None:
    """A malformed id → 422."""
    expect.status(backend.photos(malformed), {422}, what="the photos of a malformed id")


@pytest.mark.clause("PHO-12")
@given(size=sizes(min_seeded=1, unhosted=True), limit=st.integers(1, 5))
def test_reading_changes_nothing(backend: Backend, size: Sizes, limit: int) -> None:
    """Photos read in every way, several times, are what they were."""
    with gallery(backend, size) as person:
        stored = backend.stored(person)
        first = backend.snapshot(person.person_id)
        expect.known_addresses(first.every, urls(person), exchange=first.exchange)
        for seed_only in (None, True, False):
            backend.listing(person.person_id, seed_only=seed_only)
            backend.listing(person.person_id, seed_only=seed_only, limit=limit, offset=1)
        expect.unchanged(first, backend.snapshot(person.person_id), what="reading")
        if backend.stored(person) != stored:
            raise Violation(
                "reading changed core.media_links",
                expected=stored,
                actual=backend.stored(person),
                exchange=first.exchange,
            )


@pytest.mark.clause("PHO-12")
def test_reading_what_was_imported_changes_nothing(media: Media) -> None:
    """The same of photos that were imported, of which none is primary."""
    if not can_import(media):
        return  # other tests show what can be seen here
    with imported_gallery(media, 3) as person:
        first = media.backend.snapshot(person.entity_id)
        expect.unchanged(first, media.backend.snapshot(person.entity_id), what="reading")
