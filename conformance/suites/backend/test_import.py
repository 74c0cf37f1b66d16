"""KIND-01, KIND-02 and IMP-01 to IMP-06: what an import accepts and answers, and what is there afterwards."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import expect
from conformance.core_tables import Row
from conformance.errors import PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.lab import Answer, answers
from conformance.media import KINDS, Entity, Media, Show, image_order, premise, read_import
from conformance.pages import Site
from conformance.pictures import picture
from conformance.polling import polls
from conformance.sse import normal_id
from conformance.suites.backend.orders import (
    ENTITY_TYPES,
    MIXED,
    Fate,
    Order,
    can_import,
    entity_of,
    links_to,
    order_of,
    seed_of,
    still_new,
    with_held,
)
from conformance.suites.backend.together import connections
from conformance.suites.backend.upkeep import BACKGROUND_S, few, members, path_of

PLAIN, STREAM = "import", "import/stream"
BOTH = pytest.mark.parametrize("endpoint", [PLAIN, STREAM])


def sent(media: Media, endpoint: str, body: bytes) -> Exchange:
    """Sends an import as it is to either endpoint, and reads the answer to its end."""
    if endpoint == PLAIN:
        return media.import_images(_NOBODY, "", [], body=body)
    with media.import_stream(_NOBODY, "", [], body=body) as stream:
        if stream.exchange.response is not None:
            stream.told()
        return stream.exchange


# what a body of its own makes of no account
_NOBODY = Entity("season", "", {})


def nothing_was_imported(media: Media, site: Site, page: str, urls: Sequence[str], exchange: Exchange) -> None:
    """None of the images is an asset now."""
    __tracebackhide__ = True
    rows = media.tables.assets_about(site.key) if media.tables.present else ()
    known = still_new(media, page, urls)
    if rows or known:
        raise Violation(
            "something of a refused import was imported",
            expected="no asset",
            actual=[row.get("source_url") for row in rows] or known,
            exchange=exchange,
        )


# --- KIND-01, KIND-02 ------------------------------------------------------------------------------------------------


@pytest.mark.clause("KIND-01")
@pytest.mark.parametrize(
    ("endpoint", "entity_type"), [(endpoint, entity) for endpoint in (PLAIN, STREAM) for entity in ENTITY_TYPES]
)
def test_each_kind_is_accepted(media: Media, endpoint: str, entity_type: str) -> None:
    """An image of each kind is imported."""
    with order_of(media, [Fate.NEW] * len(KINDS), entity_type=entity_type) as order:
        images = [image_order(url, kind) for url, kind in zip(order.urls, KINDS, strict=True)]
        exchange = sent(media, endpoint, media.import_body(order.entity, order.page, images))
        if 400 <= exchange.status < 500:
            raise Violation(
                "an import of each kind of image is refused",
                expected="200",
                actual=f"{exchange.outcome()} {exchange.answer.text[:300]}",
                exchange=exchange,
            )
        with media.person() as somebody:
            later = media.streamed(somebody, order.page, order.elements).statuses
        kept = [kind for url, kind in zip(order.urls, KINDS, strict=True) if later[url] == "duplicate"]
        if kept != list(KINDS):
            raise Violation(
                "images of some kinds were not imported", expected=list(KINDS), actual=kept, exchange=exchange
            )


NONSENSE: Mapping[str, Any] = {
    "nonsense": "no-such-kind",
    "two kinds": "poster,backdrop",
    "kind and more": "posters",
    "part of a kind": "drop",
    "long": "x" * 300,
    "number": 7,
    "zero": 0,
    "false": False,
    "empty list": [],
    "empty object": {},
    "list": ["poster"],
    "object": {"kind": "poster"},
    "true": True,
}


@pytest.mark.clause("KIND-02")
@pytest.mark.parametrize("entity_type", ["season", "person"])
@BOTH
def test_nonsense_kind_is_refused(media: Media, endpoint: str, entity_type: str) -> None:
    """A nonsense kind → 4xx, and nothing of that request is imported, whichever image has it."""
    site = media.site()
    urls = [site.image().url for _ in range(3)]
    page = site.page()
    with entity_of(media, entity_type) as entity:
        for name, nonsense in NONSENSE.items():
            kinds = ["promo", nonsense, "poster"]
            images = [image_order(url, kind) for url, kind in zip(urls, kinds, strict=True)]
            exchange = sent(media, endpoint, media.import_body(entity, page, images))
            expect.client_error(exchange, what=f"an import with a nonsense kind ({name})")
    nothing_was_imported(media, site, page, urls, exchange)


# --- IMP-01, IMP-02: the answer --------------------------------------------------------------------------------------


@pytest.mark.clause("IMP-01")
@pytest.mark.parametrize(
    "fates",
    [MIXED, *((fate,) for fate in Fate)],
    ids=lambda fates: "everything" if fates == MIXED else fates[0].name.lower(),
)
def test_answer_has_the_pinned_shape(media: Media, fates: Sequence[Fate]) -> None:
    """200 has the pinned shape, whatever becomes of the images."""
    with order_of(media, fates) as order:
        exchange = media.import_images(order.entity, order.page, order.elements)
    if refuses_the_broken(order, exchange):
        return
    done = read_import(exchange)
    for error in media.backend.contracts.validator("import-response").iter_errors(dict(done.raw)):
        raise Violation(
            f"the answer has not the pinned shape: {error.json_path}: {error.message}",
            expected="import-response.schema.json",
            actual=error.instance,
            exchange=done.exchange,
        )


def refuses_the_broken(order: Order, exchange: Exchange) -> bool:
    """Whether an import of nothing but broken images is refused for it.

    No clause asks for a 200 there: not IMP-01, which says what one looks like, nor IMP-02, which counts in one.
    """
    nothing_to_have = bool(order.of(Fate.BROKEN)) and not order.of(Fate.NEW, Fate.KNOWN)
    return nothing_to_have and (400 <= exchange.status < 500 or exchange.status in (502, 504))


@pytest.mark.clause("IMP-01")
@pytest.mark.parametrize("named", ["by id", "by show and number"])
@pytest.mark.parametrize("others", ["absent", "null"])
def test_season_can_be_named_in_two_ways(media: Media, named: str, others: str) -> None:
    """An import for a season that is named by its id, or by its show and number, is a 200 that imports."""
    site = media.site()
    image = site.image()
    # whatever the page is called
    page = site.page([image], name="100% of the cast.html")
    with media.show() as show:
        season = show.season if named == "by id" else show.season_by_number
        ids = ("season_id", "show_id", "season_number", "person_id")
        nulls = {name: None for name in ids if others == "null" and name not in season.by_import}
        done = read_import(media.import_images(season, page, [image_order(image.url)], **nulls))
    if done.imported != 1:
        raise Violation(
            f"an import for a season named {named} imported nothing",
            expected=1,
            actual=dict(done.raw),
            exchange=done.exchange,
        )


@pytest.mark.clause("IMP-02")
@given(fates=st.lists(st.sampled_from(Fate), min_size=1, max_size=5))
@few()
def test_counts_add_up(media: Media, fates: list[Fate]) -> None:
    """imported + skipped_duplicates + errors = images sent, with or without the excluded."""
    with order_of(media, fates, entity_type="person") as order:
        adds_up(media, order)


@pytest.mark.clause("IMP-02")
@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_counts_of_everything_add_up(media: Media, entity_type: str) -> None:
    """The same where everything happens in one request."""
    with order_of(media, MIXED, entity_type=entity_type) as order:
        adds_up(media, order)


@pytest.mark.clause("IMP-02")
def test_counts_of_an_image_that_is_sent_twice_add_up(media: Media) -> None:
    """The same where an address stands in the request twice."""
    with order_of(media, [Fate.NEW] * 2, entity_type="person") as order:
        images = [*order.elements, order.elements[0]]
        exchange = media.import_images(order.entity, order.page, images)
    if 400 <= exchange.status < 500:
        return  # no clause asks for that to be accepted
    sums_to(exchange, [*order.fates, order.fates[0]])


def adds_up(media: Media, order: Order) -> None:
    """The counts of an import add up to the images sent."""
    exchange = media.import_images(order.entity, order.page, order.elements)
    if not refuses_the_broken(order, exchange):
        sums_to(exchange, order.fates)


def sums_to(exchange: Exchange, fates: Sequence[Fate]) -> None:
    """The counts of an import add up to the images sent, with or without the excluded ones."""
    done = premise(read_import, exchange)
    total, without_excluded = len(fates), len(fates) - fates.count(Fate.EXCLUDED)
    if done.imported + done.skipped_duplicates + len(done.errors) not in (total, without_excluded):
        raise Violation(
            "the counts of an import do not add up to the images sent",
            expected=total,
            actual={
                "imported": done.imported,
                "skipped_duplicates": done.skipped_duplicates,
                "errors": done.errors,
                "sent": [fate.name.lower() for fate in fates],
            },
            exchange=exchange,
        )


# --- IMP-03: the same image again ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Again:
    """An image that was imported once, and how it is sent again."""

    first: Entity
    second: Entity
    page: str
    key: str
    url: str
    same: str
    """Where the same image is, as sent the second time."""
    kind: str
    """As what it is sent the second time; the first time it is a promo."""


AGAIN = ("as it was", "for another entity", "from another address", "from another page", "as another kind")


@contextmanager
def again(media: Media, how: str) -> Iterator[Again]:
    """An image to import twice."""
    site = media.site()
    data = answers.image(picture(f"{site.key} the same"))
    url = site.image(None, data).url
    same = site.image(None, data).url if how in ("from another address", "from another page") else url
    with media.person() as first, media.person() as other:
        second = first if how in ("as it was", "from another address", "as another kind") else other
        kind = "cast" if how == "as another kind" else "promo"
        yield Again(first, second, site.page(), site.key, url, same, kind)


@pytest.mark.clause("IMP-03")
@pytest.mark.parametrize("how", AGAIN)
@BOTH
def test_same_image_again_is_a_duplicate(media: Media, endpoint: str, how: str) -> None:
    """The same bytes again, for the same entity or another, are a duplicate and add no asset."""
    with again(media, how) as case:
        asset = media.stored(case.first, case.page, case.url)
        if endpoint == PLAIN:
            done = media.imported(case.second, case.page, [image_order(case.same, case.kind)])
            exchange, says = done.exchange, dict(done.raw)
            is_duplicate = (done.imported, done.skipped_duplicates, len(done.errors)) == (0, 1, 0)
        else:
            told = media.streamed(case.second, case.page, [image_order(case.same, case.kind)])
            final = told.final(case.same)
            exchange, says = told.exchange, dict(final.event.members)
            is_duplicate = final.status == "duplicate" and normal_id(final.media_asset_id or "") == normal_id(asset)
        if not is_duplicate:
            raise Violation(
                f"the same image again ({how}) is no duplicate of its asset",
                expected=f"a duplicate of {asset}",
                actual=says,
                exchange=exchange,
            )
        if media.tables.present and len(rows := media.tables.assets_about(case.key)) != 1:
            raise Violation(
                f"the same image again ({how}) has another asset",
                expected="one row in core.media_assets",
                actual=[row.get("id") for row in rows],
                exchange=exchange,
            )


@pytest.mark.clause("IMP-03")
def test_same_image_twice_in_one_request_is_one_asset(media: Media) -> None:
    """Two addresses of the same bytes in one request: one is new, the other a duplicate of it."""
    with again(media, "from another address") as case:
        told = media.streamed(case.first, case.page, [image_order(case.url), image_order(case.same)])
    ids = {normal_id(final.media_asset_id or "") for final in told.finals}
    if sorted(final.status for final in told.finals) != ["duplicate", "success"] or len(ids) != 1:
        raise Violation(
            "the same image at two addresses of one request is not one asset",
            expected="a success, and a duplicate of it",
            actual=[dict(final.event.members) for final in told.finals],
            exchange=told.exchange,
        )


@pytest.mark.clause("IMP-03")
def test_images_of_one_name_are_two(media: Media) -> None:
    """Other bytes at another address are no duplicate, though the files have one name, and begin with the same note."""
    site = media.site()
    shown = {f"{folder}/photo.png": picture(f"{site.key} {folder}") for folder in ("one", "two")}
    urls = [site.image(name, answers.image(_behind_a_note(data))).url for name, data in shown.items()]
    with media.person() as person:
        told = media.streamed(person, site.page(), [image_order(url) for url in urls])
    if "duplicate" in told.statuses.values():
        raise Violation(
            "another image whose file has the same name is a duplicate",
            expected="two images",
            actual=told.statuses,
            exchange=told.exchange,
        )


def _behind_a_note(data: bytes) -> bytes:
    """A PNG with a long text before its pixels and colours, as cameras and programs put one there."""
    note = b"tEXtSoftware\0" + b"Camera of the season " * 800
    chunk = struct.pack(">I", len(note) - 4) + note + struct.pack(">I", zlib.crc32(note))
    return data[:33] + chunk + data[33:]


@pytest.mark.clause("IMP-03", level="SHOULD")
@BOTH
def test_duplicate_is_linked_to_its_entity(media: Media, endpoint: str) -> None:
    """A duplicate is linked to the entity that it was imported for."""
    with again(media, "for another entity") as case:
        asset = media.stored(case.first, case.page, case.url)
        images = [image_order(case.same)]
        if endpoint == PLAIN:
            exchange = media.imported(case.second, case.page, images).exchange
        else:
            exchange = media.streamed(case.second, case.page, images).exchange
        linked = links_to(media, case.second)
    if len(linked) != 1 or (media.tables.present and linked != [normal_id(asset)]):
        raise Violation(
            "a duplicate is not linked to the entity that it was imported for",
            expected=f"a link to {asset}",
            actual=linked,
            exchange=exchange,
        )


@pytest.mark.clause("TOG-05")
@pytest.mark.parametrize("kind", ["promo", "cast"])
@BOTH
def test_duplicate_takes_no_flag_back(media: Media, endpoint: str, kind: str) -> None:
    """A photo that was imported and made a seed is one still when it is imported again."""
    if not can_import(media):
        return  # other tests show what can be seen here
    site = media.site()
    image = site.image()
    page = site.page([image])
    with media.person() as person:
        media.stored(person, page, image.url)
        if (exchange := seed_of(media, person)) is None:
            return
        if not seeds_of(media, person):
            raise Violation("after ON an imported photo is no seed", expected=True, actual=False, exchange=exchange)
        exchange = sent(media, endpoint, media.import_body(person, page, [image_order(image.url, kind)]))
        if not seeds_of(media, person):
            raise Violation(
                "an import of a photo that is a seed already takes its flag back",
                expected=True,
                actual=False,
                exchange=exchange,
            )


@pytest.mark.clause("TOG-05")
def test_other_photos_that_come_and_go_take_no_flag_back(media: Media) -> None:
    """A seed is one still when another photo is imported for the person, and when that is deleted again."""
    if not can_import(media):
        return  # other tests show what can be seen here
    site = media.site()
    images = [site.image() for _ in range(2)]
    page = site.page(images)
    with media.person() as person:
        media.stored(person, page, images[0].url)
        if (exchange := seed_of(media, person)) is None:
            return
        seen = {"ON": seeds_of(media, person)}
        asset_id = media.stored(person, page, images[1].url)
        seen["the import of another photo"] = seeds_of(media, person)
        media.deleted(asset_id, exclude=False)
        seen["its delete"] = seeds_of(media, person)
        every = media.backend.listing(person.entity_id, seed_only=False)
    if not every.urls:
        raise PremiseBroken(
            "DEL-01",
            "a delete took another asset",
            expected="the photo that was not deleted",
            actual=[],
            exchange=every.exchange,
        )
    for what, seeds in seen.items():
        if not seeds:
            raise Violation(f"after {what} a seed is none", expected=True, actual=False, exchange=exchange)


@pytest.mark.clause("TOG-05")
def test_toggle_during_an_import_stays(media: Media) -> None:
    """A photo that is made a seed while another is imported for the person is one when that is there."""
    if not can_import(media):
        return  # other tests show what can be seen here
    site = media.site()
    image = site.image()
    page = site.page([image])
    (another,) = with_held(site, 1, held=0)
    with media.person() as person, connections(media, 2) as (importer, admin), ThreadPoolExecutor(2) as meanwhile:
        media.stored(person, page, image.url)
        importing = meanwhile.submit(importer.told, person, page, [image_order(another.url)])
        try:
            site.fetches(another.url, method="GET", at_least=1, within_s=BACKGROUND_S)
            toggling = meanwhile.submit(seed_of, admin, person)
            # an import may keep a toggle waiting
            wait([toggling], timeout=1)
        finally:
            site.origin.release(another.url)
        importing.result()
        if (exchange := toggling.result()) is not None and not seeds_of(media, person):
            raise Violation("a toggle during an import did not last", expected=True, actual=False, exchange=exchange)


def seeds_of(media: Media, person: Entity) -> Sequence[str]:
    """The addresses of a person's seeds."""
    return media.backend.listing(person.entity_id, seed_only=True).urls


# --- IMP-04: broken images -------------------------------------------------------------------------------------------


def _of_pixels(data: bytes, side: int) -> bytes:
    """A PNG that says it is a square of that size."""
    header = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


BROKEN: Mapping[str, Answer] = {
    "404": answers.status(404),
    "500": answers.status(500),
    "reset": answers.reset(),
    "closed without an answer": answers.close(),
    "cut short": answers.truncated(answers.image(picture("cut short"))),
    "a page": answers.page("<p>Please log in</p>"),
    "empty": answers.image(b""),
    "no image, though it says so": answers.image(b"\x89PNG\r\n\x1a\n and then nothing"),
    "a wrong checksum": answers.image(picture("a wrong checksum")[:-16] + bytes(4) + picture("a wrong checksum")[-12:]),
    "too many pixels": answers.image(_of_pixels(picture("too many pixels"), 13_400)),
    "half of it": answers.image(picture("half of it")[:6000]),
    "redirect to nowhere": answers.redirect("http://127.0.0.1:1/nowhere.png"),
    "redirect to another scheme": answers.redirect("ftp://nowhere.invalid/a.png"),
}


@pytest.mark.clause("IMP-04")
@BOTH
def test_broken_images_cost_no_other_image(media: Media, endpoint: str) -> None:
    """The images before, between and after broken ones of any sort are imported."""
    site = media.site()
    sound = [site.image().url for _ in range(4)]
    broken = [site.image(None, answer).url for answer in BROKEN.values()]
    page = site.page()
    parts = [sound[:1], broken[:3], sound[1:2], broken[3:6], sound[2:3], broken[6:], sound[3:]]
    images = [image_order(url) for part in parts for url in part]
    with entity_of(media, "season") as entity:
        exchange = sent(media, endpoint, media.import_body(entity, page, images))
    are_known(media, page, sound, exchange, what=f"broken images ({', '.join(BROKEN)})")


NO_ADDRESSES = ("ftp://nowhere.invalid/a.png", "data:image/png;base64,iVBORw0KGgo=", "http://[::1/a.png", "a.png")


@pytest.mark.clause("IMP-04")
@BOTH
def test_addresses_of_no_image_cost_no_other_image(media: Media, endpoint: str) -> None:
    """The same of addresses that nothing can be fetched from, where they are accepted."""
    site = media.site()
    page, sound = site.page(), []
    with media.person() as person:
        for address in NO_ADDRESSES:
            urls = [address, site.image().url]
            exchange = sent(media, endpoint, media.import_body(person, page, [image_order(url) for url in urls]))
            if not 400 <= exchange.status < 500:
                sound.append(urls[1])
    are_known(media, page, sound, exchange, what=f"addresses of no image ({', '.join(NO_ADDRESSES)})")


def are_known(media: Media, page: str, sound: Sequence[str], exchange: Exchange, *, what: str) -> None:
    """The sound images of an import were imported, whatever stood beside them: they are duplicates from now on."""
    if not sound:
        return
    with media.person() as somebody:
        later = media.streamed(somebody, page, [image_order(url) for url in sound]).statuses
    lost = [url for url in sound if later[url] != "duplicate"]
    if lost:
        raise Violation(
            f"{what} cost others their import",
            expected=f"imported: {list(sound)}",
            actual=f"not imported: {lost}",
            exchange=exchange,
        )


# --- IMP-05: two endpoints, one state --------------------------------------------------------------------------------


@pytest.mark.clause("IMP-05")
@pytest.mark.parametrize(("entity_type", "kind"), [("season", "cast"), ("show", "other"), ("person", "promo")])
def test_both_endpoints_reach_the_same_state(media: Media, entity_type: str, kind: str) -> None:
    """Equal requests for equal entities leave equal rows, or where no database is given, the same images imported."""
    with (
        order_of(media, MIXED, entity_type=entity_type) as one,
        order_of(media, MIXED, entity_type=entity_type) as two,
        media.person() as somebody,
    ):
        import_by(media, PLAIN, one, kind, somebody)
        exchange = import_by(media, STREAM, two, kind, somebody)
        rows = lasting_states(media, one, two)
        assets = [known_of(media, order) for order in (one, two)]
    plain, stream = ({"assets": known, "rows": left} for known, left in zip(assets, rows, strict=True))
    if plain != stream:
        what = [name for name in plain if plain[name] != stream[name]]
        raise Violation(
            f"the same import by either endpoint differs in its {', '.join(what)}",
            expected={name: plain[name] for name in what},
            actual={name: stream[name] for name in what},
            exchange=exchange,
        )


REQUESTS: Mapping[str, Callable[[Show], dict[str, Any]]] = {
    "a season by its id": lambda show: show.season.in_import,
    "a season by its show and number": lambda show: show.season_by_number.in_import,
    "a season, its type left out": lambda show: dict(show.season.by_import),
    "a season, its type null": lambda show: {**show.season.by_import, "entity_type": None},
    "a show": lambda show: show.show.in_import,
}
"""What an import may say of whom it is for."""


@pytest.mark.clause("IMP-05")
def test_both_endpoints_take_the_same_requests(media: Media) -> None:
    """However whom it is for is said, either endpoint imports the image, or neither does."""
    site = media.site()
    page = site.page()
    with media.show() as show, media.person() as somebody:
        for what, members_of in REQUESTS.items():
            urls, exchange = {endpoint: site.image().url for endpoint in (PLAIN, STREAM)}, None
            for endpoint, url in urls.items():
                body = {**members_of(show), "source_url": page, "images": [image_order(url)]}
                exchange = sent(media, endpoint, json.dumps(body).encode())
            later = media.streamed(somebody, page, [image_order(url) for url in urls.values()])
            found = {endpoint: later.final(url).status for endpoint, url in urls.items()}
            if len(set(found.values())) > 1:
                raise Violation(
                    f"an import for {what} is taken by one endpoint alone",
                    expected="the image of both, or of neither, is a duplicate from now on",
                    actual=found,
                    exchange=exchange,
                )


def import_by(media: Media, endpoint: str, order: Order, kind: str, somebody: Entity) -> Exchange:
    """An import in which everything happens, by turns with a caption of an image's own and with somebody in it.

    The first image is of the kind, and those after it of the kinds that follow.
    """
    says = [
        {"caption": f"Caption {number}"} if number % 2 else {"caption": None, "person_ids": [somebody.entity_id]}
        for number in range(len(order.urls))
    ]
    following = islice(cycle(KINDS), KINDS.index(kind), None)
    elements = [image_order(url, each, **said) for url, each, said in zip(order.urls, following, says, strict=False)]
    if endpoint == PLAIN:
        return media.imported(order.entity, order.page, elements).exchange
    return media.streamed(order.entity, order.page, elements).exchange


def lasting_states(media: Media, *orders: Order) -> list[list[Any]]:
    """The rows that came of equal imports: once they are equal, or have had time for what is done in the background."""
    for _ in polls(BACKGROUND_S):
        states = [state_of(media, order) if media.tables.present else [] for order in orders]
        if all(state == states[0] for state in states):
            break
    return states


def known_of(media: Media, order: Order) -> list[Any]:
    """How the import of each image ends for somebody else: what has been imported is a duplicate."""
    with media.person() as somebody:
        later = media.streamed(somebody, order.page, order.elements).statuses
    return [later[url] for url in order.urls]


def state_of(media: Media, order: Order) -> list[Any]:
    """The rows that came of an import, without what differs between equal imports: ids, addresses, times, hashes."""
    assets = {str(row["id"]): row for row in media.tables.assets_about(order.key)}
    links = media.tables.links_of(assets)
    of_assets = [
        (
            number_of(order, row),
            *(row.get(name) for name in ("source", "caption", "width", "height")),
            row.get("hosted_url") is None,
            [name for name in ("source_page_url", "source_created_at") if members(row.get("metadata")).get(name)],
        )
        for row in assets.values()
    ]
    of_links = [
        (
            number_of(order, assets[str(row["media_asset_id"])]),
            row.get("entity_type"),
            normal_id(str(row.get("entity_id"))) == normal_id(order.entity.entity_id),
            row.get("kind"),
            members(row.get("context")).get("people_ids") or [],
        )
        for row in links
    ]
    # a source may be named by its address
    return [sorted(repr(row).replace(order.key, "") for row in rows) for rows in (of_assets, of_links)]


def number_of(order: Order, row: Row) -> int:
    """Which image of the order an asset is of, by the address in its row; -1 where none shows."""
    text = repr(dict(row))
    return next((number for number, url in enumerate(order.urls) if path_of(url) in text), -1)


# --- IMP-06: requests that lack something ----------------------------------------------------------------------------


def incomplete(show: Show, person: Entity, images: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Imports that lack their images or their entity's ids, `source_url` apart."""
    season, number = {"season_id": show.season_id}, {"season_number": show.season_number}
    of_season, of_show = {"entity_type": "season"}, {"entity_type": "show"}
    of_person = {"entity_type": "person"}
    return {
        "no images": {**of_season, **season},
        "images empty": {**of_season, **season, "images": []},
        "images null": {**of_season, **season, "images": None},
        "images an object": {**of_season, **season, "images": {}},
        "no id of the season": {**of_season, "images": images},
        "season_id null": {**of_season, "season_id": None, "images": images},
        "season_id empty": {**of_season, "season_id": "", "images": images},
        "season by its number alone": {**of_season, **number, "images": images},
        "season by its show alone": {**of_season, "show_id": show.show_id, "images": images},
        "season by a person": {**of_season, **person.by_import, "images": images},
        "no id of the show": {**of_show, "images": images},
        "show by its season": {**of_show, **season, "images": images},
        "no id of the person": {**of_person, "images": images},
        "person_id null": {**of_person, "person_id": None, "images": images},
        "person_id empty": {**of_person, "person_id": "", "images": images},
        "person by a season": {**of_person, **season, "images": images},
        "nothing but images": {"images": images},
    }


@pytest.mark.clause("IMP-06")
@BOTH
def test_incomplete_import_is_refused(media: Media, endpoint: str) -> None:
    """A request without images, or without the ids its entity type needs → 4xx, and nothing is imported."""
    site = media.site()
    url, page = site.image().url, site.page()
    with media.show() as show, media.person() as person:
        for name, request in incomplete(show, person, [image_order(url)]).items():
            exchange = sent(media, endpoint, json.dumps({"source_url": page, **request}).encode())
            expect.client_error(exchange, what=f"an import that lacks something ({name})")
        nothing_was_imported(media, site, page, [url], exchange)
