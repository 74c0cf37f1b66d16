"""CNT-01 to CNT-03 and TXT-01: what a people count sends, stores and says, and a text overlay that can't be found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import Any, cast

import pytest

from conformance import expect
from conformance.core_tables import CoreTables, Row
from conformance.errors import NotVerified, PremiseBroken, Violation
from conformance.exchange import Exchange
from conformance.lab import Answer, answers
from conformance.lab.client import Lab
from conformance.lab.journal import Call
from conformance.media import Asset, Media
from conformance.plugin import Run
from conformance.suites.backend.orders import can_import, seed_of
from conformance.suites.backend.together import connections, where_not_limited
from conformance.suites.backend.upkeep import days, fails_aloud, members

FIRST, SECOND, THIRD = 41, 58, 73
"""Counts that nobody would make up."""
FACES = 200
"""So many more faces than people are seen."""


def people(count: int) -> Answer:
    """The vision service's answer of so many people, and of another number of faces."""
    return answers.people_count(count, FACES + count)


@pytest.fixture(scope="session")
def asked(media: Media, vision: Lab) -> Lab:
    """The stub vision service, once it is known that the target asks it."""
    outcomes = []
    for hosted in (True, False):
        with media.asset(hosted=hosted) as asset:
            vision.script_vision(asset.source_url, people(FIRST))
            exchange = media.people_count(asset.media_asset_id, force=True)
            if calls_about(vision, asset):
                return vision
            outcomes.append(exchange)
    if all(exchange.status >= 500 for exchange in outcomes):
        raise NotVerified(
            f"the target did not ask the stub vision service at {vision.vision_url}: is it told to"
            f" (SCREENALYTICS_API_URL)? It answered {outcomes[0].outcome()}"
        )
    raise PremiseBroken(
        "CNT-01",
        f"a people count was answered {outcomes[-1].outcome()} and the vision service was not asked",
        expected="a call of /vision/people-count",
        actual=outcomes[-1].outcome(),
        exchange=outcomes[-1],
    )


@pytest.fixture
def may_ask(request: pytest.FixtureRequest) -> Lab | None:
    """The same where another clause needs it, or None: CNT-01 says why."""
    try:
        return cast(Lab, request.getfixturevalue("asked"))
    except NotVerified:
        return None


def calls_about(vision: Lab, asset: Asset, *, since: int = 0) -> list[Call]:
    """The people-count calls about either address of an asset."""
    found = vision.vision_calls(asset.source_url)
    if asset.hosted_url is not None:
        found += vision.vision_calls(asset.hosted_url)
    return [call for call in found if call.number > since]


def leaves(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value in a JSON value, however deep, with the names and places that lead to it; an empty list is one."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from leaves(item, (*at, str(name)))
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from leaves(item, (*at, str(number)))
    else:
        yield at, value


def numbers(value: Any) -> dict[tuple[str, ...], Any]:
    """The leaves that are numbers."""
    return {at: leaf for at, leaf in leaves(value) if isinstance(leaf, int | float) and not isinstance(leaf, bool)}


def is_said(value: Any) -> bool:
    """Whether a member's value tells anything: it is not null, and no id, address or empty text."""
    return expect.is_message(value) if isinstance(value, str) else value is not None


def counts_in(row: Any) -> dict[tuple[str, ...], Any]:
    """What a row or an answer holds as numbers under a name that speaks of a count, of people or of faces."""
    return {
        at: value
        for at, value in numbers(row).items()
        if any(part in ".".join(at).lower() for part in ("count", "people", "face"))
    }


def newly(value: Any, before: Any = None) -> dict[tuple[str, ...], Any]:
    """The numbers of a row or an answer that were not there before."""
    known = numbers(before)
    return {at: number for at, number in numbers(value).items() if known.get(at) != number}


def places_of_a_count(value: Any, before: Any = None) -> dict[tuple[str, ...], Any]:
    """Where a row or an answer holds the count `FIRST`, or its faces, and did not before."""
    return {at: number for at, number in newly(value, before).items() if number in (FIRST, FACES + FIRST)}


def answered(exchange: Exchange) -> Any:
    """The answer as JSON; None where it is none."""
    try:
        return exchange.answer.json()
    except ValueError:
        return None


def says(exchange: Exchange, count: int) -> bool:
    """Whether some member of a JSON answer is this number."""
    return count in numbers(answered(exchange)).values()


def counted(media: Media, vision: Lab, asset: Asset, count: int, *, force: bool | None) -> Exchange:
    """Has an unhosted asset counted; the vision service is asked about its source address, and nothing else."""
    vision.script_vision(asset.source_url, people(count))
    since = vision.count
    exchange = media.people_count(asset.media_asset_id, force=force)
    asked_about = [call.image_url for call in calls_about(vision, asset, since=since)]
    if not asked_about or set(asked_about) != {asset.source_url}:
        raise Violation(
            "a people count of an asset without a hosted copy does not send its source address",
            clause="CNT-01",
            expected=f"image_url {asset.source_url}",
            actual=asked_about or f"no call about the image; the answer was {exchange.outcome()}",
            exchange=exchange,
        )
    expect.status(exchange, expect.SUCCESS, clause="CNT-01", what="a people count")
    return exchange


def require_stored(
    media: Media,
    tables: CoreTables,
    vision: Lab,
    asset: Asset,
    before: Row | None,
    count: int,
    exchange: Exchange,
    *,
    earlier: int | None = None,
) -> None:
    """The count is in the asset's row, where it was not, or is answered again without asking anew.

    What is answered without asking anew is what was stored last, so it is not the `earlier` count, whatever the row
    holds besides.
    """
    row = row_of(tables, asset)
    in_row = count in newly(row, before).values()
    vision.script_vision(asset.source_url, people(THIRD))
    since = vision.count
    again = media.people_count(asset.media_asset_id)
    asked_anew = bool(calls_about(vision, asset, since=since))
    told_again = not asked_anew and 200 <= again.status < 300
    if told_again and not says(again, count) and earlier in counts_in(answered(again)).values():
        raise Violation(
            "a people count did not take the earlier one's place",
            clause="CNT-01",
            expected=count,
            actual=answered(again),
            exchange=again,
        )
    if in_row or (told_again and says(again, count)):
        return
    if asked_anew and not tables.present:
        raise NotVerified("database_url is not set, and the target counts anew each time")
    raise Violation(
        "a people count was not stored",
        clause="CNT-01",
        expected=f"{count} in the asset's row, or in a second answer without asking anew",
        actual="neither" if row is None else dict(row),
        exchange=exchange,
    )


def row_of(tables: CoreTables, asset: Asset) -> Row | None:
    """The asset's row where we can look."""
    return tables.asset(asset.media_asset_id) if tables.present else None


# --- CNT-01, CNT-02: what is sent, what is stored --------------------------------------------------------------------


@pytest.mark.clause("CNT-01")
@pytest.mark.parametrize("force", [None, False, True], ids=["no force", "force=false", "force=true"])
def test_first_count_without_a_hosted_copy(media: Media, tables: CoreTables, asked: Lab, force: bool | None) -> None:
    """The source address is sent and the count stored, for this asset alone."""
    with media.asset(hosted=False) as asset, media.asset(hosted=False) as other:
        before, untouched = row_of(tables, asset), row_of(tables, other)
        exchange = counted(media, asked, asset, FIRST, force=force)
        require_stored(media, tables, asked, asset, before, FIRST, exchange)
        # what else is done to it in the background is another matter
        if elsewhere := places_of_a_count(row_of(tables, other), untouched):
            raise Violation(
                "a people count was stored for another asset too",
                expected="no count in the other asset's row",
                actual={".".join(at): value for at, value in elsewhere.items()},
                exchange=exchange,
            )


@pytest.mark.clause("CNT-01")
def test_recount_without_a_hosted_copy(media: Media, tables: CoreTables, asked: Lab) -> None:
    """`force=true` asks again about the source address, and the new count takes the old one's place; also 0."""
    with media.asset(hosted=False) as asset:
        counted(media, asked, asset, FIRST, force=None)
        for earlier, count in pairwise((FIRST, SECOND, 0, THIRD + 1)):
            before = row_of(tables, asset)
            exchange = counted(media, asked, asset, count, force=True)
            require_stored(media, tables, asked, asset, before, count, exchange, earlier=earlier)


@pytest.mark.clause("CNT-01", "CNT-03")
def test_counts_at_once_are_each_of_its_asset(media: Media, tables: CoreTables, asked: Lab) -> None:
    """Whatever else is counted meanwhile, each count is stored for its own asset, and one that fails is told."""
    with ExitStack() as given:
        assets = {given.enter_context(media.asset(hosted=False)): count for count in (FIRST, None, SECOND, THIRD)}
        each = given.enter_context(connections(media, len(assets)))
        before = {asset: row_of(tables, asset) for asset in assets}
        for asset, count in assets.items():
            # what fails does so first
            answer = answers.status(503) if count is None else answers.slow(people(count), 0.05)
            asked.script_vision(asset.source_url, answer)
        jobs = [partial(one.people_count, asset.media_asset_id) for one, asset in zip(each, assets, strict=True)]
        for (asset, count), exchange in zip(assets.items(), where_not_limited(jobs), strict=True):
            if exchange is None:
                continue
            if count is None:
                fails_aloud(exchange, clause="CNT-03", what="a people count that fails among others")
            elif exchange.status in expect.SUCCESS:
                require_stored(media, tables, asked, asset, before[asset], count, exchange)


@pytest.mark.clause("CNT-02")
@pytest.mark.parametrize("force", [False, True], ids=["first count", "recount"])
def test_hosted_copy_is_sent(media: Media, asked: Lab, force: bool) -> None:
    """Where there is a hosted copy, its address is sent."""
    with media.asset(hosted=True) as asset:
        assert asset.hosted_url is not None
        for marker in (asset.source_url, asset.hosted_url):
            asked.script_vision(marker, people(FIRST))
        since = asked.count
        exchange = media.people_count(asset.media_asset_id, force=force)
        sent = [call.image_url for call in calls_about(asked, asset, since=since)]
        if not sent or set(sent) != {asset.hosted_url}:
            raise Violation(
                "a people count of an asset with a hosted copy does not send its address",
                expected=f"image_url {asset.hosted_url}",
                actual=sent or f"no call about the image; the answer was {exchange.outcome()}",
                exchange=exchange,
            )


@pytest.mark.clause("CAST-03")
def test_count_keeps_the_date_of_an_asset(media: Media, tables: CoreTables, may_ask: Lab | None) -> None:
    """What an import keeps of a page's publish date is there after a count, and after a look for text."""
    if not tables.present or may_ask is None:
        return  # other tests show what can be seen here
    site = media.site()
    image = site.image()
    page = site.page([image], published="2019-03-14T12:00:00Z", dated=("meta", "time", "json-ld"))
    with media.show() as show:
        media.previewed(page, show.season)
        asset_id = media.stored(show.season, page, image.url, "cast")
        before = members(tables.asset(asset_id))
        may_ask.script_vision(str(before.get("hosted_url") or image.url), people(FIRST))
        for what, look in (("a people count", media.people_count), ("a look for text", media.text_overlay)):
            exchange = look(asset_id)
            after = members(tables.asset(asset_id))
            was, now = (str(members(row.get("metadata")).get("source_created_at")) for row in (before, after))
            # it may come late, and be written anew
            if days(was) and not days(was) & days(now):
                raise Violation(
                    f"{what} changed metadata.source_created_at",
                    expected=was,
                    actual=now,
                    exchange=exchange,
                )


@pytest.mark.clause("PHO-03")
def test_seed_is_one_however_many_are_on_it(media: Media, may_ask: Lab | None) -> None:
    """A flagged photo is a seed, also where a people count has found many people on it."""
    if not can_import(media) or not media.tables.present or may_ask is None:
        return  # other tests show what can be seen here
    site = media.site()
    image = site.image()
    with media.person() as person:
        asset_id = media.stored(person, site.page([image]), image.url)
        row = members(media.tables.asset(asset_id))
        may_ask.script_vision(str(row.get("hosted_url") or image.url), people(FIRST))
        media.people_count(asset_id)
        if (exchange := seed_of(media, person)) is None:
            return
        seeds = media.backend.listing(person.entity_id, seed_only=True)
    if len(seeds.urls) != 1:
        raise Violation(
            "a flagged photo of many people is no seed", expected=1, actual=list(seeds.urls), exchange=exchange
        )


# --- CNT-03: a vision service that fails -----------------------------------------------------------------------------

FAILURES: Mapping[str, Answer] = {
    "400": answers.status(400),
    "404": answers.status(404),
    "422": answers.status(422),
    "422 with a count": answers.status(422, {"people_count": SECOND, "face_count": SECOND}),
    "500": answers.status(500),
    "503": answers.status(503),
    "500 with a count": answers.status(500, {"people_count": SECOND, "face_count": SECOND}),
    "no JSON": answers.not_json(),
    "an empty body": answers.empty_body("application/json"),
    "cut short": answers.cut_short({"people_count": SECOND, "face_count": SECOND, "detector": "stub"}),
    "a reset connection": answers.reset(),
    "a closed connection": answers.close(),
}

WITHOUT_A_COUNT: Mapping[str, Answer] = {
    "JSON without a count": answers.json_value({"detail": "model is loading"}),
    "a count of null": answers.json_value({"people_count": None, "face_count": None}),
    "a count in words": answers.json_value({"people_count": "many", "face_count": "many"}),
    "no object": answers.json_value([SECOND]),
}
"""A 200 that is not said to be an error: a target may take it for `not known`, but not for a count."""


def fails_and_stores_nothing(media: Media, tables: CoreTables, vision: Lab, asset: Asset, *, force: bool) -> None:
    """The count is a non-2xx with a message, and what the asset's row says of people stays as it is."""
    before = counts_in(row_of(tables, asset))
    since = vision.count
    exchange = media.people_count(asset.media_asset_id, force=force)
    if 200 <= exchange.status < 300 and says(exchange, FIRST) and not calls_about(vision, asset, since=since):
        raise PremiseBroken(
            "CNT-01",
            "a recount does not ask the vision service",
            expected="a call of /vision/people-count",
            actual=exchange.outcome(),
            exchange=exchange,
        )
    fails_aloud(exchange, clause="CNT-03", what="a people count whose vision service fails")
    after = counts_in(row_of(tables, asset))
    if after != before:
        raise Violation(
            "a people count whose vision service fails stored something",
            clause="CNT-03",
            expected={".".join(at): value for at, value in before.items()},
            actual={".".join(at): value for at, value in after.items()},
            exchange=exchange,
        )


def counts_then(media: Media, tables: CoreTables, vision: Lab, asset: Asset, allowed: set[int]) -> None:
    """With the vision service well again, a count finds one of these numbers: nothing false was stored."""
    vision.script_vision(asset.source_url, people(THIRD))
    exchange = media.people_count(asset.media_asset_id)
    expect.status(exchange, expect.SUCCESS, clause="CNT-03", what="a people count after one that failed")
    stored = set(counts_in(row_of(tables, asset)).values())
    if not stored & allowed and not any(says(exchange, count) for count in allowed):
        raise Violation(
            "a people count that failed left something behind",
            clause="CNT-03",
            expected=f"a count of {' or '.join(map(str, sorted(allowed)))}",
            actual=exchange.answer.text[:200],
            exchange=exchange,
        )


@pytest.mark.clause("CNT-03")
@pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in FAILURES.items()])
def test_vision_service_that_fails(media: Media, tables: CoreTables, asked: Lab, answer: Answer) -> None:
    """A first count and a recount: a non-2xx with a message; nothing is stored, and what was stored stays."""
    with media.asset(hosted=False) as asset:
        asked.script_vision(asset.source_url, answer)
        fails_and_stores_nothing(media, tables, asked, asset, force=False)
        counts_then(media, tables, asked, asset, {THIRD})
    with media.asset(hosted=False) as asset:
        counted(media, asked, asset, FIRST, force=None)
        asked.script_vision(asset.source_url, answer)
        fails_and_stores_nothing(media, tables, asked, asset, force=True)
        counts_then(media, tables, asked, asset, {FIRST, THIRD})


@pytest.mark.clause("CNT-03")
@pytest.mark.parametrize("force", [False, True], ids=["first count", "recount"])
def test_vision_service_that_fails_for_a_hosted_copy(media: Media, tables: CoreTables, asked: Lab, force: bool) -> None:
    """The same for an asset with a hosted copy, whichever address is sent."""
    with media.asset(hosted=True) as asset:
        assert asset.hosted_url is not None
        for marker in (asset.source_url, asset.hosted_url):
            asked.script_vision(marker, answers.status(500))
        fails_and_stores_nothing(media, tables, asked, asset, force=force)


@pytest.mark.clause("CNT-03")
@pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in WITHOUT_A_COUNT.items()])
def test_answer_without_a_count_is_none(media: Media, tables: CoreTables, asked: Lab, answer: Answer) -> None:
    """A 200 without a count: no number stands where a count would, and the next count finds the true one."""
    with media.asset(hosted=False) as asset, media.asset(hosted=False) as known:
        before, uncounted = row_of(tables, asset), row_of(tables, known)
        sound = counted(media, asked, known, FIRST, force=None)
        told, kept = places_of_a_count(answered(sound)), places_of_a_count(row_of(tables, known), uncounted)
        asked.script_vision(asset.source_url, answer)
        exchange = media.people_count(asset.media_asset_id)
        said = answered(exchange) if 200 <= exchange.status < 300 else None
        made_up = {at: value for at, value in numbers(said).items() if at in told}
        stored = {at: value for at, value in newly(row_of(tables, asset), before).items() if at in kept}
        if made_up or stored:
            raise Violation(
                "a people count is made up where the vision service has none",
                clause="CNT-03",
                expected="no count in the answer, and none stored",
                actual={".".join(at): value for at, value in (made_up | stored).items()},
                exchange=exchange,
            )
        counts_then(media, tables, asked, asset, {THIRD})


@pytest.mark.exclusive
@pytest.mark.clause("CNT-03")
def test_vision_service_that_is_down(media: Media, tables: CoreTables, asked: Lab) -> None:
    """Where nothing listens at its address: a non-2xx with a message, nothing stored."""
    with media.asset(hosted=False) as asset, media.asset(hosted=False) as known:
        counted(media, asked, known, FIRST, force=None)
        with asked.refusing("stub_vision"):
            fails_and_stores_nothing(media, tables, asked, asset, force=False)
            fails_and_stores_nothing(media, tables, asked, known, force=True)
        counts_then(media, tables, asked, asset, {THIRD})
        counts_then(media, tables, asked, known, {FIRST, THIRD})


PATIENCE_S = 75.0
"""How long a people count may take whose vision service never answers: the deployed app gives it a minute."""


@pytest.mark.thorough
@pytest.mark.clause("CNT-03")
def test_vision_service_that_never_answers(run: Run, media: Media, tables: CoreTables, asked: Lab) -> None:
    """Where it takes the question and goes silent, no count is made up and none is stored."""
    with media.asset(hosted=False) as asset:
        before = counts_in(row_of(tables, asset))
        asked.script_vision(asset.source_url, answers.hold())
        client = run.client(PATIENCE_S)
        try:
            url = media.asset_url(asset.media_asset_id, action="auto-count")
            exchange = client.send(media.request("POST", url))
        finally:
            client.close()
        if exchange.response is None:
            raise NotVerified(f"a people count whose vision service is silent was not answered in {PATIENCE_S:g} s")
        fails_aloud(exchange, clause="CNT-03", what="a people count whose vision service never answers")
        after = counts_in(row_of(tables, asset))
        if after != before:
            raise Violation(
                "a people count whose vision service never answers stored something",
                expected={".".join(at): value for at, value in before.items()},
                actual={".".join(at): value for at, value in after.items()},
                exchange=exchange,
            )
        counts_then(media, tables, asked, asset, {THIRD})


# --- TXT-01: a text-overlay detector that fails ----------------------------------------------------------------------


@pytest.mark.clause("TXT-01")
@pytest.mark.parametrize("hosted", [True, False], ids=["hosted", "unhosted"])
@pytest.mark.parametrize("force", [None, True], ids=["no force", "force=true"])
def test_text_overlay_failure_is_told(media: Media, hosted: bool, force: bool | None) -> None:
    """A detector that fails is a non-2xx with a message."""
    with (
        media.asset(hosted=hosted) as asset,
        media.backend.states.given("text overlay failure", media_asset_id=asset.media_asset_id),
    ):
        for what in ("a look for text whose detector fails", "a second look for text whose detector fails"):
            exchange = media.text_overlay(asset.media_asset_id, force=force)
            fails_aloud(exchange, clause="TXT-01", what=what)


@pytest.mark.clause("TXT-01")
def test_image_that_is_not_to_be_had_is_no_empty_success(media: Media) -> None:
    """Where the image cannot be fetched, a 2xx says at least something of it."""
    with media.asset(hosted=False) as asset:
        exchange = media.text_overlay(asset.media_asset_id)
    if not 200 <= exchange.status < 300:
        fails_aloud(exchange, clause="TXT-01", what="a look for text on an image that is not to be had")
    elif not any(is_said(value) for _, value in leaves(answered(exchange))):
        raise Violation(
            "a look for text on an image that is not to be had is an empty success",
            expected="a non-2xx with a message, or what was found",
            actual=exchange.answer.text[:200],
            exchange=exchange,
        )


@pytest.mark.clause("TXT-01")
def test_text_overlay_failure_is_told_of_an_asset_that_is_known(media: Media) -> None:
    """A detector that fails to look again is a non-2xx with a message, whatever it has found before."""
    if not can_import(media):
        return  # the assets above show what can be seen here
    site = media.site()
    with media.person() as person:
        asset_id = media.stored(person, site.page(), site.image().url)
        media.text_overlay(asset_id)
        with media.backend.states.given("text overlay failure", media_asset_id=asset_id):
            exchange = media.text_overlay(asset_id, force=True)
            fails_aloud(exchange, clause="TXT-01", what="another look for text whose detector fails")
