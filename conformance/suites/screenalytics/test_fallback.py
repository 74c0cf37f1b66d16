"""FALL-01 to FALL-07, FALL-11, FALL-12: in which order a person's photos are asked for, and what comes of failures."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from conformance.errors import NotVerified, TargetBroken, Violation
from conformance.exchange import Failure
from conformance.lab import Call, answers
from conformance.lab.answers import Answer
from conformance.screenalytics import Import, Offer, Person, Screenalytics, offset, seed_only
from conformance.suites.screenalytics import checks

ROW = {"served_url": "http://nowhere.invalid/photo.jpg", "hosted_key": None, "is_primary": True}

FAILURES: Mapping[str, Answer] = {
    **{
        str(code): answers.status(code)
        for code in (300, 304, 400, 401, 403, 404, 408, 409, 410, 422, 429, 451, 500, 501, 502, 503, 504)
    },
    "a status of a proxy's own": answers.raw(b"", "520", (), 520),
    "429 that says when": answers.status(429, headers=(("Retry-After", "1"),)),
    "503 that says when": answers.status(503, [], (("Retry-After", "1"),)),
    "an error with rows": answers.status(503, [ROW]),
    "an error with an empty list": answers.status(503, []),
    "not found with an empty list": answers.status(404, []),
    "redirect that leads nowhere": answers.redirect(),
    "permanent redirect that leads nowhere": answers.redirect(code=308),
    "redirect to where nothing listens": answers.redirect("http://127.0.0.1:9/photos"),
    "redirect without an address": answers.status(302, []),
    "reset connection": answers.reset(),
    "closed connection": answers.close(),
    "body cut short": answers.cut_short([ROW, ROW]),
    "empty list cut short": answers.cut_short([]),
    "body cut short after whole JSON": answers.cut_short([], missing=16),
    "rows cut short after whole JSON": answers.cut_short([ROW, ROW], missing=16),
    "chunks cut short": answers.cut_short([ROW, ROW], framing="chunked"),
    "chunks cut short after whole JSON": answers.cut_short([], framing="chunked", missing=16),
    "204": answers.status(204),
    "empty body": answers.raw(b""),
    "web page": answers.not_json(),
    "half a JSON text": answers.raw(b'[{"served_url": "http://nowhere.invalid/'),
    "JSON and more": answers.raw(b"[] []"),
    "no UTF-8": answers.raw(b'{"detail": "No\xebl"}'),
    "null": answers.json_value(None),
    "false": answers.json_value(False),
    "0": answers.json_value(0),
    "empty string": answers.json_value(""),
    "string": answers.json_value("[]"),
    "empty object": answers.json_value({}),
    "an error as a 200": answers.json_value({"detail": "temporarily unavailable"}),
    "object with an empty list": answers.json_value({"photos": []}),
    "object with a list": answers.json_value({"photos": [ROW]}),
}
"""Name → an unsuccessful answer of each sort that FALL-04 lists; a timeout and a refused connection are tests apart."""

REFUSING_IMPORTS = 6

SOME_FAILURES = (
    "404",
    "503",
    "reset connection",
    "body cut short after whole JSON",
    "web page",
    "empty object",
    "null",
)


# --- FALL-01, FALL-11: the first call, and what each says ------------------------------------------------------------


@pytest.mark.clause("FALL-01")
def test_the_first_call_asks_for_seeds(screenalytics: Screenalytics) -> None:
    """The first photos call for a person in an import is `seed_only=true`."""
    for offer in (screenalytics.seeded(2), screenalytics.unseeded(2), screenalytics.seeds_fail(FAILURES["503"])):
        with screenalytics.episode(offer) as episode:
            for _ in ("first import", "rerun"):
                seen = screenalytics.run(episode)
                person = episode.people[0]
                if "FALL-01" in seen.ruling(person).clauses:
                    checks.follows(seen, person, "FALL-01")


@pytest.mark.clause("FALL-01")
def test_the_first_call_after_a_failure_asks_for_seeds(screenalytics: Screenalytics) -> None:
    """The same in a rerun for a person whose fallback failed."""
    with screenalytics.episode(screenalytics.fallback_fails(FAILURES["503"])) as episode:
        screenalytics.run(episode)
        seen, person = screenalytics.run(episode), episode.people[0]
        if seen.photos(person):
            checks.follows(seen, person, "FALL-01")


@pytest.mark.clause("FALL-01")
def test_the_first_call_asks_for_seeds_however_many_had_none(screenalytics: Screenalytics) -> None:
    """The same for each of many people of whom none has seeds."""
    offers = [screenalytics.unseeded(1) for _ in range(min(6, screenalytics.max_people))]
    with screenalytics.episode(*offers) as episode:
        seen = screenalytics.run(episode)
        for person in episode.people[: len(offers)]:
            if "FALL-01" in seen.ruling(person).clauses:
                checks.follows(seen, person, "FALL-01")


@pytest.mark.clause("FALL-11")
def test_every_call_says_seed_only(screenalytics: Screenalytics) -> None:
    """`seed_only` is always explicit, as `true` or `false`, also where a later page is asked for."""
    offers = [screenalytics.seeded(2), screenalytics.unseeded(2), screenalytics.seeds_fail(FAILURES["503"])]
    if size := page_size(screenalytics):
        offers.append(replace(screenalytics.seeded(size), seeds=(answers.rows(bare_rows(size)), answers.empty())))
    for offer in offers:
        with screenalytics.episode(offer) as episode:
            seen, person = screenalytics.run(episode), episode.people[0]
            checks.was_called(seen, person)
            if "FALL-11" in seen.ruling(person).clauses:
                checks.follows(seen, person, "FALL-11")


def page_size(screenalytics: Screenalytics) -> int | None:
    """How many photos the importer asks for at a time; None where it does not say."""
    with screenalytics.episode(screenalytics.seeded(1)) as episode:
        calls = screenalytics.run(episode).photos(episode.people[0])
    if any(not offset(call) for call in calls[1:]):
        return None  # it looks ahead, and asks anew for all
    size = calls[0].query.get("limit", "") if calls else ""
    return int(size) if size.isascii() and size.isdigit() and 1 <= int(size) <= 500 else None


def first_page(screenalytics: Screenalytics, size: int) -> Offer:
    """A person without seeds, whose photos fill a page of that size, and give a single image."""
    offer = screenalytics.unseeded(1)
    (good,) = offer.every
    return replace(offer, every=(answers.rows([*json.loads(good.body), *bare_rows(size - 1)]),))


def bare_rows(count: int) -> list[dict[str, object]]:
    """Rows that give no image, and so leave the importer wanting more."""
    return [{**ROW, "served_url": None}] * count


# --- FALL-02: seeds are there ----------------------------------------------------------------------------------------


def without_served_url(screenalytics: Screenalytics) -> Offer:
    """A person whose seeds have no address, though there are photos that do."""
    offer = screenalytics.unseeded(2)
    rows = [{**ROW, "served_url": None}, {"hosted_key": "people/seed.png"}]
    return Offer(offer.album, (answers.rows(rows),), offer.every, promise="FALL-02")


def without_members(screenalytics: Screenalytics) -> Offer:
    """The same of seeds of which nothing at all is said."""
    return replace(without_served_url(screenalytics), seeds=(answers.rows([{}, {}]),))


def slow_seeds(screenalytics: Screenalytics) -> Offer:
    """A person whose seeds take their time."""
    offer = screenalytics.seeded(2)
    return Offer(offer.album, tuple(answers.slow(answer, 0.2) for answer in offer.seeds), offer.every)


def seeds_in_chunks(screenalytics: Screenalytics) -> Offer:
    """A person whose lists come without a Content-Length."""
    offer = screenalytics.seeded(2)
    seeds, every = (tuple(map(answers.without_length, each)) for each in (offer.seeds, offer.every))
    return replace(offer, seeds=seeds, every=every)


@pytest.mark.clause("FALL-02")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda target: target.seeded(1), id="one seed"),
        pytest.param(lambda target: target.seeded(target.import_limit), id="as many as the limit"),
        pytest.param(lambda target: target.seeded(target.import_limit + 3), id="more than the limit"),
        pytest.param(slow_seeds, id="slow"),
        pytest.param(seeds_in_chunks, id="in chunks"),
        pytest.param(without_served_url, id="rows without served_url"),
        pytest.param(without_members, id="rows without any member"),
    ],
)
def test_seeds_end_the_search(screenalytics: Screenalytics, make: Callable[[Screenalytics], Offer]) -> None:
    """A successful non-empty `seed_only=true` is never followed by `seed_only=false`."""
    with screenalytics.episode(make(screenalytics)) as episode:
        checks.follows(screenalytics.run(episode), episode.people[0], "FALL-02")


@pytest.mark.clause("FALL-02")
def test_seeds_that_were_imported_before_end_the_search(screenalytics: Screenalytics) -> None:
    """The same in a rerun, which has nothing new to import."""
    with screenalytics.episode(screenalytics.seeded(2)) as episode:
        screenalytics.run(episode)
        seen = screenalytics.run(episode)
        if seen.photos(episode.people[0]):
            checks.follows(seen, episode.people[0], "FALL-02")


@pytest.mark.clause("FALL-02")
def test_seeds_that_there_were_not_before_end_the_search(screenalytics: Screenalytics) -> None:
    """The same in a rerun for a person who had none at the first import."""
    offer = screenalytics.unseeded(2)
    with screenalytics.episode(offer) as episode:
        screenalytics.run(episode)
        screenalytics.offer_anew(episode.people[0], replace(offer, seeds=offer.every))
        seen = screenalytics.run(episode)
        if seen.photos(episode.people[0]):
            checks.follows(seen, episode.people[0], "FALL-02")


@pytest.mark.clause("FALL-02")
@pytest.mark.parametrize("next_page", [answers.empty(), FAILURES["503"]], ids=["empty", "failing"])
def test_a_later_page_of_the_seeds_opens_no_fallback(screenalytics: Screenalytics, next_page: Answer) -> None:
    """Only the first page decides: a next one that is empty or fails does not turn seeds into none."""
    size = page_size(screenalytics)
    if size is None:
        return  # it does not ask for pages
    full = screenalytics.seeded(size)
    for page in (full.seeds[0], answers.rows(bare_rows(size))):
        offer = Offer(full.album, (page, next_page), full.every)
        with screenalytics.episode(offer) as episode:
            seen, person = screenalytics.run(episode), episode.people[0]
        if seen.ruling(person).breaches:
            # whoever falls back after any failure does so after a first page too
            checks.works_alone(screenalytics, screenalytics.seeds_fail(FAILURES["503"]))
        checks.follows(seen, person, "FALL-02")


# --- FALL-03, FALL-07: there are none --------------------------------------------------------------------------------


@pytest.mark.clause("FALL-03")
@pytest.mark.parametrize(
    "nothing",
    [
        pytest.param(answers.empty(), id="empty list"),
        pytest.param(answers.raw(b" [\n ] \n", "empty"), id="empty list with spaces"),
        pytest.param(answers.slow(answers.raw(b"[" + b" " * 30 + b"]", "empty"), 0.2), id="slow"),
    ],
)
def test_no_seeds_open_the_fallback(screenalytics: Screenalytics, nothing: Answer) -> None:
    """A successful empty `seed_only=true` is followed by `seed_only=false`."""
    offer = screenalytics.unseeded(2)
    with screenalytics.episode(Offer(offer.album, (nothing,), offer.every)) as episode:
        checks.follows(screenalytics.run(episode), episode.people[0], "FALL-03")


@pytest.mark.clause("FALL-03")
def test_no_seeds_open_the_fallback_for_each_person(screenalytics: Screenalytics) -> None:
    """The same for everybody in an import of several people without seeds, and in a rerun."""
    offers = [screenalytics.unseeded(1) for _ in range(min(4, screenalytics.max_people))]
    with screenalytics.episode(*offers) as episode:
        seen, again = screenalytics.run(episode), screenalytics.run(episode)
    for person in episode.people[: len(offers)]:
        checks.follows(seen, person, "FALL-03")
        if again.photos(person):
            checks.follows(again, person, "FALL-03")


@pytest.mark.clause("FALL-03")
def test_seeds_that_are_no_more_open_the_fallback(screenalytics: Screenalytics) -> None:
    """The same in a rerun for a person who had some at the first import."""
    offer = screenalytics.seeded(2)
    with screenalytics.episode(offer) as episode:
        screenalytics.run(episode)
        screenalytics.offer_anew(episode.people[0], replace(offer, seeds=(answers.empty(),)))
        seen = screenalytics.run(episode)
        if seen.photos(episode.people[0]):
            checks.follows(seen, episode.people[0], "FALL-03")


@pytest.mark.clause("FALL-07")
def test_neither_seeds_nor_photos(screenalytics: Screenalytics) -> None:
    """Both empty → 0 images, 0 errors."""
    with screenalytics.episode(screenalytics.unseeded(0)) as episode:
        checks.keeps_its_promise(screenalytics, screenalytics.run(episode), episode.people[0])


@pytest.mark.clause("FALL-07")
def test_photos_that_are_no_more(screenalytics: Screenalytics) -> None:
    """The same in a rerun for a person who had some at the first import."""
    with screenalytics.episode(screenalytics.seeded(2)) as episode:
        screenalytics.run(episode)
        person = screenalytics.offer_anew(episode.people[0], screenalytics.unseeded(0))
        seen = screenalytics.run(episode)
        if seen.photos(person):
            checks.keeps_its_promise(screenalytics, seen, person)


# --- FALL-04, FALL-12: what fails ------------------------------------------------------------------------------------


def fails_as_promised(screenalytics: Screenalytics, offer: Offer) -> None:
    """A person whose photos cannot be had gets none, and an error is counted."""
    with screenalytics.episode(offer) as episode:
        try:
            seen = screenalytics.run(episode)
        finally:
            screenalytics.lab.release(episode.people[0].person_id)
        checks.keeps_its_promise(screenalytics, seen, episode.people[0])


@pytest.mark.clause("FALL-04")
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failure_is_no_empty_answer(screenalytics: Screenalytics, failure: Answer) -> None:
    """After an unsuccessful `seed_only=true`: no `seed_only=false`, nothing imported, an error counted."""
    fails_as_promised(screenalytics, screenalytics.seeds_fail(failure))


@pytest.mark.clause("FALL-04")
@pytest.mark.parametrize("seeded", [True, False], ids=["seeds", "no seeds"])
def test_a_failure_is_no_earlier_answer(screenalytics: Screenalytics, seeded: bool) -> None:
    """The same in reruns, whatever the answer was before; a failure that is no news is counted too."""
    offer = screenalytics.seeded(2) if seeded else screenalytics.unseeded(2)
    with screenalytics.episode(offer) as episode:
        screenalytics.run(episode)
        person = screenalytics.offer_anew(episode.people[0], replace(offer, seeds=(FAILURES["503"],)))
        for _ in ("fails", "fails again"):
            seen = screenalytics.run(episode)
            checks.nothing_imported(screenalytics, seen, person, clause="FALL-04", images=len(offer.photos))
            # who has it all may not be asked for again
            if seen.photos(person):
                checks.follows(seen, person, "FALL-04")
                checks.failure_is_counted(seen, person, clause="FALL-04")


@pytest.mark.waits
@pytest.mark.clause("FALL-04")
@pytest.mark.parametrize(
    "silence",
    [
        pytest.param(answers.hold(), id="from the start"),
        pytest.param(
            replace(answers.stream([b"[]"], "application/json", end="hold"), word="timeout"), id="before the end"
        ),
    ],
)
def test_a_timeout_is_no_empty_answer(screenalytics: Screenalytics, silence: Answer) -> None:
    """The same where the answer does not come, or not to its end, within the importer's own time limit."""
    with gives_up_in_time(screenalytics):
        fails_as_promised(screenalytics, screenalytics.seeds_fail(silence))


@contextmanager
def gives_up_in_time(screenalytics: Screenalytics) -> Iterator[None]:
    """Raises NotVerified where the importer waits for an answer for longer than the suite waits for the importer."""
    try:
        yield
    except TargetBroken as broken:
        if broken.exchange is None or broken.exchange.failure is not Failure.TIMEOUT:
            raise
        raise NotVerified(
            f"the importer waits for an answer for longer than sync.timeout_s ({screenalytics.timeout_s:g} s)"
        ) from None


@pytest.mark.exclusive
@pytest.mark.clause("FALL-04")
def test_a_refused_connection_is_no_empty_answer(screenalytics: Screenalytics, chance: random.Random) -> None:
    """The same where nothing listens at the backend's address for moments of the import.

    Who takes the refusal for an empty answer asks on, and the address is back, sooner or later in a person's turn.
    """
    lab = screenalytics.lab
    for _ in range(REFUSING_IMPORTS):
        offers = [screenalytics.seeds_fail(FAILURES["503"]) for _ in range(screenalytics.max_people)]
        with screenalytics.episode(*offers) as episode:
            ids = [person.person_id for person in episode.people]
            start = lab.count

            def refuse_for_moments(ids: Sequence[str] = ids, start: int = start) -> None:
                last = start
                while (now := lab.wait_for_any(ids, since=last, within_s=0.2)) > last:
                    last = now
                    with lab.refusing("stub_backend"):
                        for _ in range(chance.randrange(1, 12)):
                            assert lab.count  # as long as some of an importer's attempts take

            (seen,) = screenalytics.run_at_once(episode, refuse_for_moments, times=1)
        fallbacks = [call for person in episode.people for call in seen.photos(person) if seed_only(call) is False]
        if fallbacks:
            checks.works_alone(screenalytics, offers[0])
            raise Violation(
                "seed_only=false after the connection of seed_only=true was refused",
                expected="no seed_only=false",
                actual="\n".join(f"{call.method} {call.target} → {call.answer}" for call in fallbacks),
                exchange=seen.exchange,
            )
        for person in episode.people:
            checks.nothing_imported(screenalytics, seen, person, clause="FALL-04")
        checks.failure_is_counted(seen, episode.people[0], clause="FALL-04")


NOT_ROWS: Mapping[str, Answer] = {
    "strings": answers.rows(["http://nowhere.invalid/1.jpg", "http://nowhere.invalid/2.jpg"]),
    "numbers": answers.rows([1, 2]),
    "nulls": answers.rows([None]),
    "lists": answers.rows([[ROW], []]),
    "a string after an object": answers.rows([ROW, "http://nowhere.invalid/2.jpg"]),
}


@pytest.mark.clause("FALL-04")
@pytest.mark.parametrize("name", NOT_ROWS)
def test_rows_that_are_no_objects_give_nothing(screenalytics: Screenalytics, name: str) -> None:
    """An array with rows that are no objects: no fallback, and nothing imported from those rows."""
    with screenalytics.episode(screenalytics.seeds_fail(NOT_ROWS[name])) as episode:
        seen, person = screenalytics.run(episode), episode.people[0]
        checks.was_called(seen, person)
        if "FALL-02" in seen.ruling(person).clauses:
            checks.works_alone(screenalytics, screenalytics.seeded(NOT_ROWS[name].row_count))
            raise Violation(
                "seed_only=false after rows that are no objects",
                expected="no seed_only=false",
                actual=seen.timeline(person),
                exchange=seen.exchange,
            )
        checks.follows(seen, person, "FALL-04")
        objects = int(name == "a string after an object")
        checks.nothing_imported(screenalytics, seen, person, clause="FALL-04", images=objects)


@pytest.mark.clause("FALL-04", level="SHOULD")
def test_rows_that_are_no_objects_are_an_error(screenalytics: Screenalytics) -> None:
    """S: an error is counted for them."""
    with screenalytics.episode(screenalytics.seeds_fail(NOT_ROWS["strings"])) as episode:
        seen = screenalytics.run(episode)
        checks.failure_is_counted(seen, episode.people[0], clause="FALL-04")


@pytest.mark.clause("FALL-12")
@pytest.mark.parametrize(
    "failure",
    [
        *SOME_FAILURES,
        "401",
        "403",
        "500",
        "304",
        "429",
        "204",
        "redirect that leads nowhere",
        "body cut short",
        "rows cut short after whole JSON",
        "an error with rows",
        "502",
        "closed connection",
        "object with a list",
    ],
)
def test_a_failing_fallback_is_counted(screenalytics: Screenalytics, failure: str) -> None:
    """A `seed_only=false` that fails is counted in `import_errors`, and nothing is imported."""
    try:
        fails_as_promised(screenalytics, screenalytics.fallback_fails(FAILURES[failure]))
    except Violation:
        # whoever takes this failure for an empty answer does so for seeds first
        checks.works_alone(screenalytics, screenalytics.seeds_fail(FAILURES[failure]))
        raise


@pytest.mark.clause("FALL-12")
def test_a_failing_fallback_of_somebody_with_images_is_counted(screenalytics: Screenalytics) -> None:
    """The same in a rerun, where the photos were imported before."""
    offer = screenalytics.unseeded(2)
    with screenalytics.episode(offer) as episode:
        screenalytics.run(episode)
        person = screenalytics.offer_anew(episode.people[0], replace(offer, every=(FAILURES["503"],)))
        seen = screenalytics.run(episode)
        # who has it all may not be asked for again
        if any(seed_only(call) is False for call in seen.photos(person)):
            checks.failure_is_counted(seen, person, clause="FALL-12")


@pytest.mark.waits
@pytest.mark.clause("FALL-12")
def test_a_fallback_that_times_out_is_counted(screenalytics: Screenalytics) -> None:
    """The same where no answer comes within the importer's own time limit."""
    with suppress(NotVerified), gives_up_in_time(screenalytics):  # FALL-04 says so
        fails_as_promised(screenalytics, screenalytics.fallback_fails(answers.hold()))


@pytest.mark.parametrize(
    "clause",
    [pytest.param(clause, marks=pytest.mark.clause(clause)) for clause in ("FALL-04", "FALL-12")],
)
def test_a_failing_later_page_is_counted(screenalytics: Screenalytics, clause: str) -> None:
    """A list of which a page is there and the next fails is one that fails: an error is counted."""
    with import_with_a_failing_later_page(screenalytics, clause) as failed:
        if failed is not None:
            checks.failure_is_counted(*failed, clause=clause)


@pytest.mark.parametrize(
    "clause",
    [pytest.param(clause, marks=pytest.mark.clause(clause, level="SHOULD")) for clause in ("FALL-04", "FALL-12")],
)
def test_a_failing_later_page_fails_the_list(screenalytics: Screenalytics, clause: str) -> None:
    """Nothing is imported of the pages before it either; one may have been imported before the next was asked for."""
    with import_with_a_failing_later_page(screenalytics, clause) as failed:
        if failed is not None:
            checks.nothing_imported(screenalytics, *failed, clause=clause)


@contextmanager
def import_with_a_failing_later_page(
    screenalytics: Screenalytics, clause: str
) -> Iterator[tuple[Import, Person] | None]:
    """Of the seeds (FALL-04) or all photos (FALL-12) the second page fails; None where it is not asked for."""
    size = page_size(screenalytics)
    if size is None:
        yield None
        return
    offer = first_page(screenalytics, size)
    pages = (*offer.every, FAILURES["503"])
    offer = replace(offer, seeds=pages) if clause == "FALL-04" else replace(offer, every=pages)
    with screenalytics.episode(offer) as episode:
        seen, person = screenalytics.run(episode), episode.people[0]
        checks.was_called(seen, person)
        yield (seen, person) if any(call.answer == "503" for call in seen.photos(person)) else None


# --- FALL-05: retries ------------------------------------------------------------------------------------------------


@pytest.mark.clause("FALL-05")
@pytest.mark.parametrize("first", ["no seeds", "503", "reset connection", "body cut short after whole JSON"])
@pytest.mark.parametrize("then", ["seeds", "no seeds", "500"])
def test_retries_keep_the_rule(screenalytics: Screenalytics, first: str, then: str) -> None:
    """Only the last completed `seed_only=true` counts, and it must be a success with an empty first page."""
    offer, seeded = screenalytics.unseeded(2), screenalytics.seeded(1)
    by_name = {"seeds": seeded.seeds[0], "no seeds": answers.empty(), **FAILURES}
    with screenalytics.episode(Offer(offer.album, (by_name[first], by_name[then]), offer.every)) as episode:
        seen, person = screenalytics.run(episode), episode.people[0]
        checks.was_called(seen, person)
        # of pages that are asked for at once some fail here, and then the list has failed: no fallback is as good
        if asks_ahead(seen.photos(person)) and seen.ruling(person).clauses == ("FALL-03",):
            return
        checks.follows(seen, person, "FALL-05")


def asks_ahead(calls: Sequence[Call]) -> bool:
    """Whether a later page of the seeds was asked for before the first one was there."""
    seeds = [call for call in calls if seed_only(call)]
    first = [call.ended for call in seeds if call.ended is not None and not offset(call)]
    return any(offset(call) and all(call.started < ended for ended in first) for call in seeds)


# --- FALL-06: each person stands alone -------------------------------------------------------------------------------


@pytest.mark.clause("FALL-06")
@pytest.mark.parametrize("slow", [False, True], ids=["", "interleaved"])
@pytest.mark.parametrize("unseeded_first", [True, False], ids=["unseeded first", "seeded first"])
def test_each_person_stands_alone(screenalytics: Screenalytics, unseeded_first: bool, slow: bool) -> None:
    """An empty answer for one person opens no fallback for another."""
    offers = [screenalytics.unseeded(2), screenalytics.seeded(2), screenalytics.seeds_fail(FAILURES["503"])]
    if slow:
        # one empty answer comes while the others' are on their way
        offers[1:] = [
            replace(offer, seeds=tuple(answers.slow(answer, 0.1) for answer in offer.seeds)) for offer in offers[1:]
        ]
    offers = offers if unseeded_first else offers[::-1]
    with screenalytics.episode(*offers) as episode:
        seen = screenalytics.run(episode)
    stand_alone(screenalytics, seen, episode.people[: len(offers)])


@pytest.mark.clause("FALL-06")
@pytest.mark.parametrize("unseeded_first", [True, False], ids=["unseeded first", "seeded first"])
def test_each_person_of_imports_at_once_stands_alone(screenalytics: Screenalytics, unseeded_first: bool) -> None:
    """The same of two imports that are under way together, each of a person of its own."""
    if screenalytics.environment.get("screenalytics_states_url") is None:
        return  # it takes two episodes
    offers = [
        replace(offer, seeds=tuple(answers.slow(answer, 0.4) for answer in offer.seeds))
        for offer in (screenalytics.unseeded(2), screenalytics.seeded(2))
    ]
    first, second = offers if unseeded_first else offers[::-1]
    with screenalytics.episode(first) as episode, screenalytics.episode(second) as other:
        seen, _ = screenalytics.run_at_once(episode, lambda: None, also=other)
        people = [*episode.people, *other.people]
    stand_alone(screenalytics, seen, people)


def stand_alone(screenalytics: Screenalytics, seen: Import, people: Sequence[Person]) -> None:
    """Nobody's photos are asked for in another order than where the person is imported alone."""
    for person in people:
        if not checks.falls_back_wrongly(seen, person):
            continue
        checks.works_alone(screenalytics, person.offer)
        raise Violation(
            "a person's photos are asked for in another order when other people are imported with them",
            expected="the same calls as where the person is imported alone",
            actual="\n".join(
                f"{other.person_id}{' (this one)' if other == person else ''}\n{seen.timeline(other)}"
                for other in people
            ),
            exchange=seen.exchange,
        )
