"""SSE-01 to SSE-09: what a streamed import tells, in which form, when, and what is there afterwards."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.core_tables import names
from conformance.errors import NotVerified, PremiseBroken, Violation
from conformance.lab import answers
from conformance.media import Entity, Media, Told, image_order
from conformance.pictures import picture
from conformance.polling import polls
from conformance.sse import Event, Role, normal_id
from conformance.suites.backend.orders import (
    ENTITY_TYPES,
    MIXED,
    UNDER_WAY,
    Fate,
    Order,
    links_to,
    order_of,
    require_on_the_list,
    still_new,
    with_held,
)
from conformance.suites.backend.upkeep import few, path_of

WITHIN_S = 5.0
"""How long something may take that should be there already."""


def told_of(media: Media, order: Order) -> Told:
    """The whole stream of an order's import."""
    return media.told(order.entity, order.page, order.elements)


@pytest.fixture(scope="module")
def mixed(media: Media) -> Iterator[tuple[Order, Told]]:
    """One import in which everything happens, for the checks that only read what it told."""
    with order_of(media, MIXED) as order:
        yield order, told_of(media, order)


# --- the grammar -----------------------------------------------------------------------------------------------------


@pytest.mark.clause("SSE-01")
def test_answer_is_an_event_stream(mixed: tuple[Order, Told]) -> None:
    """The answer is `text/event-stream`, and each event's JSON stands whole on one `data: ` line."""
    mixed[1].judge("SSE-01")


@pytest.mark.clause("SSE-01")
def test_text_of_any_kind_stands_on_one_line(media: Media) -> None:
    """The same where captions hold line ends of any kind and an import's texts come from there."""
    site = media.site()
    caption = 'first\nsecond\r\nthird\rfourth\u2028fifth\x85 data: {} \u00e9\U0001f3ac "quoted" \\'
    images = [image_order(site.image().url, caption=caption), image_order(site.url("nowhere\n.png"), caption=caption)]
    with media.person() as person:
        media.told(person, site.page(), images).judge("SSE-01")


@pytest.mark.clause("SSE-02")
def test_final_events_have_a_known_status(mixed: tuple[Order, Told]) -> None:
    """Each image's final event has a known status, or `error` and `current`."""
    mixed[1].judge("SSE-02")


@pytest.mark.clause("SSE-02", level="SHOULD")
def test_error_events_have_a_status(mixed: tuple[Order, Told]) -> None:
    """An event with `error` and `current` has the status `error` too."""
    told = mixed[1].judge("SSE-02")
    for final in told.finals:
        if final.status == "error" and final.event.members.get("status") != "error":
            raise Violation(
                "an image's error event has no status",
                expected="status: error",
                actual=dict(final.event.members),
                exchange=told.exchange,
            )


@pytest.mark.clause("SSE-03")
def test_each_image_gets_one_final_event(mixed: tuple[Order, Told]) -> None:
    """Each image gets exactly one final event, with its own `url`; `current` and `total` count the images sent."""
    mixed[1].judge("SSE-03")


@pytest.mark.clause("SSE-06")
def test_summary_is_last_and_counts(mixed: tuple[Order, Told]) -> None:
    """The last event is the one summary, and its counts are those of the events seen."""
    mixed[1].judge("SSE-06")


@pytest.mark.clause("SSE-06", "SSE-02", "SSE-03", "SSE-04", "SSE-07")
@given(fates=st.lists(st.sampled_from(Fate), min_size=1, max_size=5))
@few()
def test_any_import_is_told_whole(media: Media, fates: list[Fate]) -> None:
    """Any images for any reason: a final event for each, then the summary."""
    with order_of(media, fates, entity_type="person") as order:
        told_of(media, order).judge("SSE-06", "SSE-02", "SSE-03", "SSE-04", "SSE-07")


@pytest.mark.clause("SSE-03", "SSE-06")
@pytest.mark.parametrize("fate", Fate)
def test_one_image_is_told_whole(media: Media, fate: Fate) -> None:
    """The same for a single image."""
    with order_of(media, [fate], entity_type="show") as order:
        told_of(media, order).judge("SSE-03", "SSE-06")


@pytest.mark.clause("SSE-06")
def test_one_broken_image_twice_is_counted_as_told(media: Media) -> None:
    """The same where an address that is broken is sent twice, so that both errors may have the same words."""
    site = media.site()
    broken = site.image(None, answers.status(404)).url
    with media.person() as person:
        media.told(person, site.page(), [image_order(broken), image_order(broken)]).judge("SSE-06")


@pytest.mark.clause("SSE-03")
def test_images_that_differ_in_their_query_are_told_apart(media: Media) -> None:
    """An image's own `url` is the whole of it, as it was sent."""
    site = media.site()
    urls = [site.image(f"photo.png?id={number}&size=large").url for number in (1, 2)]
    with media.person() as person:
        media.told(person, site.page(), [image_order(url) for url in urls]).judge("SSE-03")


@pytest.mark.clause("SSE-03")
def test_images_are_told_by_the_address_that_was_sent(media: Media) -> None:
    """The same where the address is percent-encoded, has a fragment, or leads to what another one has."""
    site = media.site()
    twice = answers.image(picture(f"{site.key} twice"))
    urls = [
        site.image("photo one, [1].png?size=large").url,
        site.image(None, answers.redirect(site.image().url)).url,
        f"{site.image().url}#large",
        *(site.image(None, twice).url for _ in range(2)),
    ]
    with media.person() as person:
        media.told(person, site.page(), [image_order(url) for url in urls]).judge("SSE-03")


@pytest.mark.clause("SSE-01", "SSE-03", "SSE-06")
def test_many_images_are_told_whole(media: Media) -> None:
    """The same for the 50 images that a request may have: one final event for each, one line for each event."""
    with order_of(media, [Fate.NEW] * 30 + [Fate.BROKEN] * 20, entity_type="person") as order:
        told_of(media, order).judge("SSE-01", "SSE-03", "SSE-06")


# --- SSE-04: the asset -----------------------------------------------------------------------------------------------


@pytest.mark.clause("SSE-04")
@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_success_and_duplicate_name_their_asset(media: Media, entity_type: str) -> None:
    """A `success` names the asset that came of it; the `duplicate` of that image names the same one."""
    fates = (Fate.NEW, Fate.BROKEN, Fate.NEW, Fate.NEW)
    with order_of(media, fates, entity_type=entity_type) as order:
        first = told_of(media, order).judge("SSE-04")
        again = told_of(media, order).judge("SSE-04")
        new = order.of(Fate.NEW)
        ids = {url: first.final(url).media_asset_id or "" for url in new}
        for url in new:
            final = again.final(url)
            if final.status == "duplicate" and normal_id(final.media_asset_id or "") != normal_id(ids[url]):
                raise Violation(
                    "a duplicate names another asset than the image's own",
                    expected=ids[url],
                    actual=dict(final.event.members),
                    exchange=again.exchange,
                )
        if media.tables.present:
            for url in new:
                row = media.tables.asset(ids[url])
                if row is None or not names(row, path_of(url)):
                    raise Violation(
                        "a success names no asset, or that of another image",
                        expected=f"the asset of {url}",
                        actual=None if row is None else dict(row),
                        exchange=first.exchange,
                    )
        else:
            names_what_can_be_deleted(media, order, new[1], ids[new[1]])


def names_what_can_be_deleted(media: Media, order: Order, url: str, asset_id: str) -> None:
    """Deleting by the id that the stream told takes the image's asset away, and no other one."""
    deleted = media.delete(asset_id, exclude=False)
    others = [other for other in order.of(Fate.NEW) if other != url]
    known = still_new(media, order.page, [url, *others])
    if deleted.status in (404, 422) or any(other not in known for other in others):
        raise Violation(
            "media_asset_id does not name the image's asset: deleting by it does not find it, or takes another away",
            expected=f"the asset of {url}",
            actual=asset_id,
            exchange=deleted,
        )
    if url in known:
        raise PremiseBroken(
            "DEL-01",
            f"an asset that was deleted is still there: {deleted.outcome()}",
            expected=f"no asset of {url}",
            actual=known[url],
            exchange=deleted,
        )


# --- SSE-05: the excluded --------------------------------------------------------------------------------------------


@pytest.mark.clause("SSE-05")
@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_excluded_image_is_not_imported(media: Media, entity_type: str) -> None:
    """An image on the entity's list gets `excluded`, and no asset and no link come of it."""
    fates = (Fate.NEW, Fate.EXCLUDED, Fate.KNOWN, Fate.EXCLUDED)
    with order_of(media, fates, entity_type=entity_type) as order:
        out = order.of(Fate.EXCLUDED)
        if left := rows_of(media, out):
            raise PremiseBroken("DEL-01", "a deleted asset is still there", expected="no asset", actual=left)
        told = told_of(media, order).judge("SSE-05")
        for url in out:
            final = told.final(url)
            if final.status != "excluded":
                require_on_the_list(media, order.entity, order.page, url)
                raise Violation(
                    f"an image on the entity's exclusion list is {final.status}",
                    expected="excluded",
                    actual=dict(final.event.members),
                    exchange=told.exchange,
                )
        leaves_nothing(media, order, out, told)


@pytest.mark.clause("SSE-05")
def test_excluded_image_that_somebody_else_has_is_not_linked(media: Media) -> None:
    """The same where another entity has the image: its asset is not linked to the one that excluded it."""
    with order_of(media, [Fate.EXCLUDED], entity_type="person") as order, media.person() as somebody:
        (url,) = order.urls
        asset_id = media.stored(somebody, order.page, url)
        told = told_of(media, order).judge("SSE-05")
        final = told.final(url)
        if final.status != "excluded":
            require_on_the_list(media, order.entity, order.page, url)
            raise Violation(
                f"an image on the entity's exclusion list, which somebody else has, is {final.status}",
                expected="excluded",
                actual=dict(final.event.members),
                exchange=told.exchange,
            )
        linked = links_to(media, order.entity)
        if linked:
            raise Violation(
                "an excluded image is linked to the entity all the same",
                expected=f"no link to {asset_id}",
                actual=linked,
                exchange=told.exchange,
            )


def rows_of(media: Media, urls: Sequence[str]) -> list[Any]:
    """What the database has of these images, where it can be read: links, or else the ids of assets."""
    if not media.tables.present:
        return []
    assets = [str(row["id"]) for url in urls for row in media.tables.assets_about(path_of(url))]
    return [dict(row) for row in media.tables.look(assets=assets).links] or assets


def leaves_nothing(media: Media, order: Order, urls: Sequence[str], told: Told) -> None:
    """No asset and no link came of these images."""
    actual = rows_of(media, urls) or [[url, status] for url, status in still_new(media, order.page, urls).items()]
    if actual:
        raise Violation(
            "something came of an excluded image",
            expected="no asset and no link",
            actual=actual,
            exchange=told.exchange,
        )


# --- SSE-07: errors --------------------------------------------------------------------------------------------------

BROKEN = {
    "404": answers.status(404),
    "reset": answers.reset(),
    "a page": answers.page("<p>Please log in</p>"),
    "cut short": answers.truncated(answers.image(picture("cut short"))),
}


@pytest.mark.clause("SSE-07")
@pytest.mark.parametrize("name", BROKEN)
def test_stream_goes_on_after_an_error(media: Media, name: str) -> None:
    """An `error` carries a message, and each image after it gets its final event."""
    site = media.site()
    urls = [site.image(None, BROKEN[name]).url, site.image().url, site.url("nowhere.png"), site.image().url]
    with media.person() as person:
        told = media.told(person, site.page(), [image_order(url) for url in urls])
    ended = Counter(final.url for final in told.finals)
    if any(final.status == "error" for final in told.finals) and any(not ended[url] for url in urls):
        raise Violation(
            f"after an image's error ({name}) other images get no final event",
            expected=urls,
            actual=sorted(ended),
            exchange=told.exchange,
        )
    told.judge("SSE-07")
    if told.final(urls[2]).status != "error":
        raise Violation(
            "an image that answers 404 is no error",
            expected="error",
            actual=dict(told.final(urls[2]).event.members),
            exchange=told.exchange,
        )


# --- SSE-08: while the work goes on ----------------------------------------------------------------------------------


@pytest.mark.clause("SSE-08")
def test_events_arrive_while_the_work_goes_on(media: Media) -> None:
    """The first event is there before the last image is."""
    site = media.site()
    images = with_held(site, 3, held=2)
    page, last = site.page(), images[-1].url
    arrived: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def read(person: Entity) -> Told:
        with media.import_stream(person, page, [image_order(image.url) for image in images]) as stream:
            for event in stream:
                arrived.put(event)
            return stream.told()

    with media.person() as person, ThreadPoolExecutor(1) as reader:
        reading = reader.submit(read, person)
        try:
            asked = site.fetches(last, method="GET", at_least=1, within_s=WITHIN_S)
            first = None if not asked else _next(arrived)
            # who builds the stream first sends it once it has given the last image up
            if all(call.ended is not None for call in site.fetches(last, method="GET")):
                first = None
        finally:
            site.origin.release(last)
        told = reading.result().judge("SSE-08")
    if not asked:
        raise NotVerified("the target did not fetch the last image while the stream was read")
    if first is None:
        raise Violation(
            "no event arrived before the last image was there",
            expected="an event",
            actual=[dict(event.members) for event in told.events[:1]],
            exchange=told.exchange,
        )


def _next(arrived: queue.SimpleQueue[Event]) -> Event | None:
    try:
        return arrived.get(timeout=WITHIN_S)
    except queue.Empty:
        return None


# --- SSE-09: a client that goes away ---------------------------------------------------------------------------------


def told_at_last(media: Media, entity: Entity, page: str, orders: Sequence[Mapping[str, Any]]) -> Told:
    """An import's whole stream; where it is refused as under way already, asked for again for a while."""
    for _ in polls(WITHIN_S, pause_s=0.05):
        told = media.told(entity, page, orders)
        if told.exchange.status not in UNDER_WAY:
            break
    return told


@pytest.mark.clause("SSE-09")
@pytest.mark.parametrize("until", ["an image is fetched", "the first final event"])
def test_client_that_went_away_asks_again(media: Media, until: str) -> None:
    """After it has asked again to the end, each image has one asset and one link to the entity."""
    site = media.site()
    images = with_held(site, 3, held=1)
    page = site.page()
    orders = [image_order(image.url) for image in images]
    with media.person() as person:
        with media.import_stream(person, page, orders) as stream:
            site.fetches(images[1].url, method="GET", at_least=1, within_s=WITHIN_S)
            if until == "the first final event":
                next((event for event in stream if event.role is Role.RESULT), None)
        site.origin.release(images[1].url)
        told = told_at_last(media, person, page, orders)
        if told.exchange.status >= 400:
            raise Violation(
                "after a client went away, the same import is refused",
                expected="it is accepted as the first one was",
                actual=told.exchange.outcome(),
                exchange=told.exchange,
            )
        told.judge("SSE-09")
        linked = links_to(media, person)
        ids = {normal_id(final.media_asset_id or "") for final in told.finals}
        assets = [str(row.get("id")) for row in media.tables.assets_about(site.key)] if media.tables.present else linked
    statuses = sorted(set(told.statuses.values()) - {"success", "duplicate"})
    if statuses or not len(ids) == len(assets) == len(linked) == len(set(linked)) == len(images):
        raise Violation(
            "after a client went away and asked again, not each image has one asset and one link",
            expected=f"{len(images)} assets, one link to each",
            actual={"told": told.statuses, "assets": sorted(assets), "links": sorted(linked)},
            exchange=told.exchange,
        )
