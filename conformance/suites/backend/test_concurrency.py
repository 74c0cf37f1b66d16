"""TOG-09 and what else is of its own request alone, whatever is under way beside it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeVar

import pytest

from conformance import expect
from conformance.backend import Backend, Caller, Gallery, Link, Listing
from conformance.errors import PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.linearizability import Operation, is_linearizable
from conformance.media import Entity, Media
from conformance.plugin import Run
from conformance.suites.backend.orders import (
    UNDER_WAY,
    Fate,
    can_import,
    excluded,
    imported_anew,
    order_of,
    require_on_the_list,
    still_new,
)
from conformance.suites.backend.together import ROUNDS, THREADS, at_once, connections, threads, where_not_limited

T = TypeVar("T")

AFTER_REFUSALS = 20
"""More rounds of writes alone where some are refused: one that was stored all the same shows in every third or so."""


def accepted(exchange: Exchange) -> Exchange:
    """A concurrent toggle is accepted like any other."""
    if exchange.status != 200:
        raise Violation(
            "a concurrent toggle was not accepted", expected="200", actual=exchange.outcome(), exchange=exchange
        )
    return exchange


def is_accepted(exchange: Exchange) -> bool:
    """Whether a toggle among others of its gallery is accepted; it may be refused while another is at work there."""
    if exchange.status in UNDER_WAY:
        return False
    accepted(exchange)
    return True


def some_accepted(exchanges: Sequence[Exchange]) -> None:
    """Of concurrent toggles all but one may be refused: that one is at work."""
    judged = [is_accepted(exchange) for exchange in exchanges]
    if judged and not any(judged):
        raise Violation(
            "of concurrent toggles none was accepted",
            expected="200 for one of them, at least",
            actual=[exchange.outcome() for exchange in exchanges],
            exchange=exchanges[0],
        )


def toggles_at_once(backends: list[Backend], person: Gallery, plan: list[tuple[Link, bool]]) -> list[Exchange]:
    """Sends one toggle over each connection, all at once."""
    exchanges = at_once(
        [
            partial(each.toggle, person.person_id, link.link_id, value)
            for each, (link, value) in zip(backends, plan, strict=True)
        ]
    )
    some_accepted(exchanges)
    return exchanges


def answers(exchange: Exchange, link: Link, value: bool) -> bool:
    """Whether a toggle's answer names this link and this value."""
    try:
        answer = exchange.answer.json()
    except ValueError:
        return False
    return (
        isinstance(answer, dict)
        and expect.same_uuid(answer.get("link_id"), link.link_id)
        and answer.get("facebank_seed") is value
    )


def require_sequential_toggles(backend: Backend, person: Gallery, link: Link) -> None:
    """Premise: one toggle after the other is answered and seen rightly, so that a fault here is one of concurrency."""
    for value in (not link.flagged, link.flagged):
        exchange = backend.set_flag(person.person_id, link, value)
        if not answers(exchange, link, value):
            raise PremiseBroken(
                "TOG-03",
                "a toggle does not answer its request",
                expected=value,
                actual=exchange.answer.text,
                exchange=exchange,
            )
        if backend.is_seed(person.person_id, link) is not value:
            raise PremiseBroken(
                "TOG-05", "a toggle is not seen afterwards", expected=value, actual=not value, exchange=exchange
            )


@pytest.mark.clause("TOG-09")
def test_each_answer_reflects_its_own_request(backend: Backend, run: Run, chance: random.Random) -> None:
    """Toggles of different links and values at once: each answer has its own link and value, and all are kept."""
    with backend.gallery(seeded=THREADS // 2, unseeded=THREADS - THREADS // 2) as person, threads(backend) as backends:
        require_sequential_toggles(backend, person, person.links[0])
        flags = {link: link.flagged for link in person.links}
        for _ in range(ROUNDS[run.profile]):
            wanted = {link: chance.random() < 0.5 for link in person.links}
            exchanges = toggles_at_once(backends, person, list(wanted.items()))
            for (link, value), exchange in zip(wanted.items(), exchanges, strict=True):
                if not is_accepted(exchange):
                    continue
                flags[link] = value
                if not answers(exchange, link, value):
                    raise Violation(
                        "a concurrent toggle's answer is another one's",
                        expected=[link.link_id, value],
                        actual=exchange.answer.text,
                        exchange=exchange,
                    )
            seeds = backend.listing(person.person_id, seed_only=True)
            expected = {link.served_url for link, flag in flags.items() if flag}
            if set(seeds.urls) != expected:
                backend.require_seeds_to_be_the_flagged()
            expect.same_photos(
                set(seeds.urls),
                expected,
                what="the seeds after toggles of different links at once",
                exchange=seeds.exchange,
            )


@contextmanager
def people(backend: Backend) -> Iterator[list[Gallery]]:
    """A person for each thread, with photos of their own."""
    with ExitStack() as given:
        yield [given.enter_context(backend.gallery(seeded=1, unseeded=1)) for _ in range(THREADS)]


@pytest.mark.clause("TOG-09")
def test_each_answer_names_its_own_person(backend: Backend, run: Run) -> None:
    """Toggles for different people at once: each answer has its own person."""

    def toggled(each: Backend, person: Gallery, value: bool) -> tuple[Gallery, Exchange]:
        return person, accepted(each.toggle(person.person_id, person.links[0].link_id, value))

    def names(exchange: Exchange, person: Gallery, value: bool) -> bool:
        return answers(exchange, person.links[0], value) and expect.same_uuid(
            exchange.answer.json().get("person_id"), person.person_id
        )

    with people(backend) as everybody, threads(backend) as backends:
        require_sequential_toggles(backend, everybody[0], everybody[0].links[0])
        person, exchange = toggled(backend, everybody[0], False)
        if not names(exchange, person, False):
            raise PremiseBroken(
                "TOG-03",
                "a toggle's answer does not name its person",
                expected=person.person_id,
                actual=exchange.answer.text,
                exchange=exchange,
            )
        for number in range(ROUNDS[run.profile]):
            value = number % 2 == 0
            pairs = zip(backends, everybody, strict=True)
            for person, exchange in at_once([partial(toggled, each, person, value) for each, person in pairs]):
                if not names(exchange, person, value):
                    raise Violation(
                        "a concurrent toggle's answer is another person's",
                        expected=[person.person_id, value],
                        actual=exchange.answer.text,
                        exchange=exchange,
                    )


@pytest.mark.clause("PHO-08")
def test_photos_of_different_people_at_once(backend: Backend, run: Run) -> None:
    """Whoever else is asked for meanwhile, the photos are the person's own."""

    def read(each: Backend, person: Gallery) -> tuple[Gallery, Listing]:
        return person, each.listing(person.person_id, seed_only=False)

    with people(backend) as everybody, threads(backend) as backends:
        for person in everybody:
            listing = backend.listing(person.person_id, seed_only=False)
            expect.known_addresses(listing.urls, [link.served_url for link in person.links], exchange=listing.exchange)
        for _ in range(ROUNDS[run.profile]):
            pairs = zip(backends, everybody, strict=True)
            for found in where_not_limited([partial(read, each, person) for each, person in pairs]):
                if found is None:
                    continue
                person, listing = found
                own = [link.served_url for link in person.links]
                if set(listing.urls) - set(own):
                    raise Violation(
                        "photos that are read at once hold another person's",
                        expected=own,
                        actual=list(listing.urls),
                        exchange=listing.exchange,
                    )


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(None, id="no secret", marks=pytest.mark.clause("AUTH-02")),
        pytest.param("wrong-" + "x" * 20, id="a wrong secret", marks=pytest.mark.clause("AUTH-03")),
    ],
)
def test_toggles_are_refused_while_others_are_accepted(backend: Backend, run: Run, secret: str | None) -> None:
    """Service role without the right secret → 403, whoever else is let in meanwhile."""
    backend.require_toggles()
    wrong = Caller(backend.service.authorization, secret)
    with backend.some_link(kept=True) as person, threads(backend) as backends:
        (link,) = person.links

        def toggle(each: Backend, caller: Caller) -> Exchange:
            return each.toggle(person.person_id, link.link_id, link.flagged, caller=caller, changes_nothing=True)

        callers = [wrong, backend.service] * (THREADS // 2)
        for _ in range(ROUNDS[run.profile]):
            jobs = [partial(toggle, each, caller) for each, caller in zip(backends, callers, strict=True)]
            for caller, exchange in zip(callers, where_not_limited(jobs), strict=True):
                if caller is wrong and exchange is not None:
                    expect.status(exchange, {403}, what="a toggle without the right secret")


@pytest.mark.clause("AUTH-11")
def test_photos_are_refused_while_others_are_answered(backend: Backend, run: Run) -> None:
    """Without a service token → 401 or 403, whoever else reads the photos meanwhile."""
    with backend.some_person() as person_id, threads(backend) as backends:
        backend.listing(person_id, seed_only=False)
        refused_among_others(run, backend.reader, [partial(each.photos, person_id) for each in backends])


@pytest.mark.clause("AUTH-12")
def test_previews_are_refused_while_others_are_answered(media: Media, run: Run) -> None:
    """The same of previews without a token."""
    if not can_import(media):
        return  # other tests show what can be seen here
    site = media.site()
    page = site.page([site.image()])
    with connections(media, THREADS) as each:
        media.previewed(page)
        refused_among_others(run, media.backend.service, [partial(one.preview, page) for one in each])


def refused_among_others(run: Run, caller: Caller, calls: Sequence[Callable[..., Exchange]]) -> None:
    """Of calls at once every other one has no token, and is refused."""
    for _ in range(ROUNDS[run.profile] // 2):
        jobs = [partial(call, caller=Caller() if number % 2 else caller) for number, call in enumerate(calls)]
        for exchange in where_not_limited(jobs)[1::2]:
            if exchange is not None:
                expect.status(exchange, {401, 403}, what="a call without a token, among others")


@pytest.mark.clause("PRE-05", "PRE-06")
def test_previews_at_once_are_each_for_its_entity(media: Media, run: Run) -> None:
    """Whoever else a page is previewed for meanwhile, exactly the entity's own exclusions are left out."""
    site = media.site()
    images = [site.image() for _ in range(2)]
    page, gone = site.page(images), images[0].url

    def seen(each: Media, entity: Entity) -> tuple[bool, Exchange]:
        preview = each.previewed(page, entity)
        return preview.shows(gone), preview.exchange

    with media.person() as one, media.person() as other, connections(media, THREADS) as each:
        excluded(media, one, page, [gone])
        for entity, shown in ((one, False), (other, True)):
            if (alone := seen(media, entity))[0] is not shown:
                raise PremiseBroken(
                    "PRE-06" if shown else "EXC-02",
                    "a preview does not go by the entity's exclusions",
                    expected="shown" if shown else "left out",
                    actual="left out" if shown else "shown",
                    exchange=alone[1],
                )
        for _ in range(ROUNDS[run.profile] // 2):
            entities = [one, other] * (THREADS // 2)
            previews = where_not_limited([partial(seen, *pair) for pair in zip(each, entities, strict=True)])
            for entity, preview in zip(entities, previews, strict=True):
                if preview is not None and preview[0] is not (entity is other):
                    shown, exchange = preview
                    raise Violation(
                        "of previews at once, one goes by the exclusions of another's entity",
                        clause="PRE-06" if entity is other else "PRE-05",
                        expected="left out" if shown else "shown",
                        actual="shown" if shown else "left out",
                        exchange=exchange,
                    )


@pytest.mark.clause("SSE-03", "SSE-05", "SSE-06")
def test_imports_at_once_are_each_told_by_itself(media: Media) -> None:
    """Whatever else is imported meanwhile, for somebody else and from another page, an import tells of its own."""
    kinds = [
        (Fate.NEW, Fate.NEW, Fate.EXCLUDED, Fate.NEW),
        (Fate.NEW, Fate.BROKEN, Fate.NEW, Fate.EXCLUDED),
        (Fate.BROKEN, Fate.NEW, Fate.NEW),
    ]
    with ExitStack() as given:
        orders = [given.enter_context(order_of(media, fates, entity_type="person")) for fates in kinds]
        each = given.enter_context(connections(media, len(orders)))
        jobs = [partial(one.told, o.entity, o.page, o.elements) for one, o in zip(each, orders, strict=True)]
        for order, told in zip(orders, where_not_limited(jobs), strict=True):
            if told is None or told.exchange.status in UNDER_WAY:
                continue
            told.judge("SSE-03", "SSE-06")
            for url in order.of(Fate.EXCLUDED):
                if told.final(url).status != "excluded":
                    require_on_the_list(media, order.entity, order.page, url)
                    raise Violation(
                        "an image on the entity's exclusion list is imported while others import",
                        clause="SSE-05",
                        expected="excluded",
                        actual=told.final(url).status,
                        exchange=told.exchange,
                    )


@pytest.mark.clause("DEL-01")
def test_deletes_at_once_remove_each_its_asset(media: Media) -> None:
    """Whatever else is deleted meanwhile, an asset whose delete is accepted is gone."""
    with order_of(media, [Fate.NEW] * THREADS, entity_type="person") as order, connections(media, THREADS) as each:
        assets = imported_anew(media, order.entity, order.page, order.urls)
        jobs = [partial(one.delete, asset, exclude=False) for one, asset in zip(each, assets.values(), strict=True)]
        deleted = dict(zip(assets, where_not_limited(jobs), strict=True))
        left = still_new(media, order.page, order.urls)
    for url, exchange in deleted.items():
        if exchange is not None and exchange.status in expect.SUCCESS and url in left:
            raise Violation(
                "an asset is still there that was deleted while others were",
                expected=f"no asset of {url}",
                actual=left[url],
                exchange=exchange,
            )


@pytest.mark.clause("TOG-09")
def test_other_links_are_untouched(backend: Backend, run: Run, chance: random.Random) -> None:
    """Toggles of some links at once leave the other links of the gallery as they are."""
    with backend.gallery(seeded=4, unseeded=4) as person, threads(backend) as backends:
        require_sequential_toggles(backend, person, person.links[0])
        busy = person.flagged[:2] + person.unflagged[:2]
        addresses = [link.served_url for link in busy]
        before = backend.snapshot(person.person_id).without(*addresses)
        for _ in range(ROUNDS[run.profile] // 2):
            plan = [(chance.choice(busy), chance.random() < 0.5) for _ in backends]
            exchanges = toggles_at_once(backends, person, plan)
            after = backend.snapshot(person.person_id).without(*addresses)
            if after != before:
                backend.require_seeds_to_be_the_flagged()
            expect.unchanged(before, after, what="concurrent toggles of other links", exchange=exchanges[0])


@pytest.mark.clause("TOG-09")
def test_history_of_one_link_is_linearizable(backend: Backend, run: Run, chance: random.Random) -> None:
    """Writes and reads of one link at once look as if they had come one after the other."""
    with backend.gallery(seeded=1, unseeded=2) as person, threads(backend) as backends:
        link = chance.choice(person.links)
        require_sequential_toggles(backend, person, link)

        def read(each: Backend) -> Operation:
            listing = each.listing(person.person_id, seed_only=True)
            return Operation(False, link.served_url in listing.urls, listing.exchange.started, listing.exchange.ended)

        def work(each: Backend, plan: list[bool | None]) -> tuple[list[Operation], list[Exchange]]:
            """What was done, without the writes that were refused, and the answers to all writes."""
            done, writes = [], []
            for value in plan:
                if value is None:
                    done.append(read(each))
                    continue
                exchange = each.toggle(person.person_id, link.link_id, value)
                writes.append(exchange)
                if is_accepted(exchange):
                    done.append(Operation(True, value, exchange.started, exchange.ended))
            return done, writes

        initial, rounds, some_refused = link.flagged, ROUNDS[run.profile] // 2, False
        for number in range(rounds + AFTER_REFUSALS):
            if number < rounds:
                plans = [[chance.choice((True, False, None)) for _ in range(4)] for _ in backends]
            elif some_refused:
                plans = [[chance.choice((True, False))] for _ in backends]
            else:
                break
            histories = at_once([partial(work, each, plan) for each, plan in zip(backends, plans, strict=True)])
            writes = [exchange for _, exchanges in histories for exchange in exchanges]
            some_accepted(writes)
            some_refused = some_refused or any(not is_accepted(exchange) for exchange in writes)
            last = read(backend)
            history = [operation for done, _ in histories for operation in done] + [last]
            if not is_linearizable(history, initial):
                begin = min(operation.started for operation in history)
                raise Violation(
                    "no order of these concurrent operations explains what was read",
                    expected="a linearizable history",
                    actual=[
                        str(Operation(o.is_write, o.value, o.started - begin, o.ended - begin))
                        for o in sorted(history, key=lambda operation: operation.started)
                    ],
                )
            initial = last.value
