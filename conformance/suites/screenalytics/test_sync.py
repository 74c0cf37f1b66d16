"""SYNC-01 to SYNC-07: what an import counts, and what it leaves in the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.errors import NotVerified, PremiseBroken, Violation
from conformance.lab import answers
from conformance.screenalytics import LARGE_CAST, Episode, Import, Offer, Person, Screenalytics
from conformance.suites.screenalytics import checks
from conformance.suites.screenalytics.test_fallback import FAILURES, SOME_FAILURES, gives_up_in_time

# --- SYNC-01, SYNC-02: the counts ------------------------------------------------------------------------------------


def imports_as_promised(screenalytics: Screenalytics, offer: Offer) -> None:
    """The one person of an import gets what is promised."""
    with screenalytics.episode(offer) as episode:
        checks.keeps_its_promise(screenalytics, screenalytics.run(episode), episode.people[0])


@pytest.mark.clause("SYNC-01")
@pytest.mark.parametrize("beyond", [-4, -1, 0, 1, 6], ids=lambda n: f"limit{n:+}")
def test_seeds_are_imported(screenalytics: Screenalytics, beyond: int) -> None:
    """k seeds: `imported_facebank_images` = k up to the limit, `imported_facebank_people` = 1, `import_errors` = 0."""
    imports_as_promised(screenalytics, screenalytics.seeded(max(1, screenalytics.import_limit + beyond)))


@pytest.mark.clause("SYNC-02")
@pytest.mark.parametrize("beyond", [-4, 0, 5], ids=lambda n: f"limit{n:+}")
def test_the_fallbacks_photos_are_imported(screenalytics: Screenalytics, beyond: int) -> None:
    """An unseeded person: the fallback's photos are imported, up to the limit."""
    imports_as_promised(screenalytics, screenalytics.unseeded(max(1, screenalytics.import_limit + beyond)))


@pytest.mark.clause("SYNC-01")
def test_addresses_that_differ_in_their_query_are_several_photos(screenalytics: Screenalytics) -> None:
    """Seeds that one path serves, each by its own query, as image services do: each is imported."""
    count = min(3, screenalytics.import_limit)
    offer = screenalytics.seeded(count)
    rows = json.loads(offer.seeds[0].body)
    for number, row in enumerate(rows):
        row["served_url"] = f"{rows[0]['served_url'].partition('?')[0]}?id={number}"
    photos = tuple(row["served_url"] for row in rows)
    imports_as_promised(screenalytics, replace(offer, seeds=(answers.rows(rows),), photos=photos))


@pytest.mark.clause("SYNC-01")
def test_a_photo_of_two_people_is_an_image_of_each(screenalytics: Screenalytics) -> None:
    """Two people who have the same photos as seeds: each gets them."""
    offer = screenalytics.seeded(min(2, screenalytics.import_limit), others=0)
    counts_add_up(screenalytics, [offer, offer])


@pytest.mark.clause("SYNC-01")
def test_everybody_of_a_large_cast_is_imported(screenalytics: Screenalytics) -> None:
    """As many people as an episode can have, each with a seed."""
    own = screenalytics.environment.get("screenalytics_states_url") is None
    count = screenalytics.max_people if own else LARGE_CAST
    counts_add_up(screenalytics, [screenalytics.seeded(1) for _ in range(count)])


def counts_add_up(screenalytics: Screenalytics, offers: Sequence[Offer]) -> None:
    """Seeded people, all of whom are imported."""
    with screenalytics.episode(*offers) as episode:
        seen = screenalytics.run(episode)
        for person in episode.people[: len(offers)]:
            checks.follows(seen, person, "SYNC-01")
        checks.counts(seen, checks.promised(screenalytics, offers), clause="SYNC-01")


@pytest.mark.clause("SYNC-01")
@pytest.mark.parametrize("failure", ["503", "reset connection"])
def test_seeds_are_imported_after_a_failure(screenalytics: Screenalytics, failure: str) -> None:
    """What could not be had at one import is imported at the next."""
    offer = screenalytics.seeded(min(2, screenalytics.import_limit))
    with screenalytics.episode(replace(offer, seeds=(FAILURES[failure],))) as episode:
        # who falls back here has it all already
        checks.follows(screenalytics.run(episode), episode.people[0], "SYNC-01")
        person = screenalytics.offer_anew(episode.people[0], offer)
        checks.keeps_its_promise(screenalytics, screenalytics.run(episode), person)


@pytest.mark.clause("SYNC-02")
def test_the_fallbacks_photos_are_imported_after_a_failure(screenalytics: Screenalytics) -> None:
    """The same of photos that could not be listed as a fallback."""
    offer = screenalytics.unseeded(min(2, screenalytics.import_limit))
    with screenalytics.episode(replace(offer, every=(FAILURES["503"],))) as episode:
        screenalytics.run(episode)
        person = screenalytics.offer_anew(episode.people[0], offer)
        checks.keeps_its_promise(screenalytics, screenalytics.run(episode), person)


@pytest.mark.clause("SYNC-01")
def test_a_rerun_imports_what_is_new(screenalytics: Screenalytics) -> None:
    """Seeds that came later are imported by a rerun, and those that were there before are no errors."""
    before, after = growing(screenalytics)
    with screenalytics.episode(before) as episode:
        checks.keeps_its_promise(screenalytics, screenalytics.run(episode), episode.people[0])
        checks.counts(screenalytics.run(episode), {"import_errors": 0}, clause="SYNC-01", person=episode.people[0])
        person = screenalytics.offer_anew(episode.people[0], after)
        seen = screenalytics.run(episode)
        if not seen.photos(person):
            return  # no clause says that it asks again for who has images
        checks.counts(seen, {"import_errors": 0}, clause="SYNC-01", person=person)
        new = len(after.photos) - len(before.photos)
        if seen.count("imported_facebank_images", clause="SYNC-01") < new:
            raise Violation(
                "a rerun left out what is new",
                expected=f"imported_facebank_images at least {new}",
                actual=f"{seen.counts}\n{seen.timeline(person)}",
                exchange=seen.exchange,
            )


# --- SYNC-03: the rows -----------------------------------------------------------------------------------------------


@pytest.mark.clause("SYNC-03")
def test_rows_are_seeds_that_wait_for_approval(screenalytics: Screenalytics) -> None:
    """Every inserted row has `is_seed = true`, `approved = false`, and a `person` that exists."""
    count = screenalytics.import_limit
    # without others the primary photo is one of the seeds
    with screenalytics.episode(screenalytics.seeded(count, others=0), screenalytics.unseeded(count)) as episode:
        seen = screenalytics.run(episode)
        for person in episode.people[:2]:
            images = stored(screenalytics, seen, person)
            wait_for_approval(seen, images)
            if images and not screenalytics.persons(person):
                raise Violation(
                    "an inserted face_bank_images row has no person",
                    expected=f"a person row of {person.person_id}",
                    actual=images[0],
                    exchange=seen.exchange,
                )


@pytest.mark.clause("SYNC-03")
def test_new_image_of_an_approved_person_waits_too(screenalytics: Screenalytics) -> None:
    """What is inserted at a rerun is not approved either, whatever else of the person was meanwhile."""
    before, after = growing(screenalytics)
    with screenalytics.episode(before) as episode:
        person = episode.people[0]
        known = {row.get("image_id") for row in stored(screenalytics, screenalytics.run(episode), person)}
        with screenalytics.states.given("approved face bank image", person_id=person.person_id):
            screenalytics.offer_anew(person, after)
            seen = screenalytics.run(episode)
            new = [row for row in screenalytics.images(person) if row.get("image_id") not in known]
    wait_for_approval(seen, new)


def wait_for_approval(seen: Import, inserted: Sequence[Mapping[str, Any]]) -> None:
    """The rows that an import inserted are seeds, and not approved."""
    for row in inserted:
        if (row.get("is_seed"), row.get("approved")) != (True, False):
            raise Violation(
                "an inserted face_bank_images row is not a seed that waits for approval",
                expected={"is_seed": True, "approved": False},
                actual=row,
                exchange=seen.exchange,
            )


def growing(screenalytics: Screenalytics) -> tuple[Offer, Offer]:
    """A person's seeds, at most as many as are imported: those that are there at first, and with more later."""
    after = screenalytics.seeded(min(3, screenalytics.import_limit), others=0)
    rows = json.loads(after.seeds[0].body)[:-1] or json.loads(after.seeds[0].body)
    return replace(after, seeds=(answers.rows(rows),), photos=after.photos[: len(rows)]), after


def stored(screenalytics: Screenalytics, seen: Import, person: Person, least: int = 1) -> list[dict[str, Any]]:
    """A person's rows; that there are so many is what their offer promises."""
    images = screenalytics.images(person)
    if len(images) < least:
        raise PremiseBroken(
            person.offer.promise,
            "an import left too few rows in face_bank_images",
            expected=f"{least} with the person_id {person.person_id}",
            actual=f"{len(images)}\n{seen.timeline(person)}",
            exchange=seen.exchange,
        )
    return images


# --- SYNC-04, SYNC-05: no second row ---------------------------------------------------------------------------------


@pytest.mark.clause("SYNC-04")
@pytest.mark.parametrize("seeded", [True, False], ids=["seeded", "unseeded"])
def test_a_rerun_imports_nothing(screenalytics: Screenalytics, seeded: bool) -> None:
    """A rerun on unchanged photos imports 0."""
    count = screenalytics.import_limit
    offer = screenalytics.seeded(count) if seeded else screenalytics.unseeded(count)
    with screenalytics.episode(offer) as episode:
        first = screenalytics.run(episode)
        if not first.count("imported_facebank_images"):
            checks.keeps_its_promise(screenalytics, first, episode.people[0])
        again = screenalytics.run(episode)
        checks.counts(again, {"imported_facebank_images": 0}, clause="SYNC-04", person=episode.people[0])


def unchanged(screenalytics: Screenalytics, person: Person) -> Person:
    """The same photos again."""
    return screenalytics.offer_anew(person, person.offer)


def reordered(screenalytics: Screenalytics, person: Person) -> Person:
    """The same photos in another order."""
    seeds, every = (tuple(map(answers.reversed_rows, each)) for each in (person.offer.seeds, person.offer.every))
    return screenalytics.offer_anew(person, replace(person.offer, seeds=seeds, every=every))


def fewer(screenalytics: Screenalytics, person: Person) -> Person:
    """The first of the same photos alone."""
    seeds, every = (
        tuple(answers.rows(json.loads(answer.body)[:1]) for answer in each)
        for each in (person.offer.seeds, person.offer.every)
    )
    return screenalytics.offer_anew(person, replace(person.offer, seeds=seeds, every=every))


def flagged_meanwhile(screenalytics: Screenalytics, person: Person) -> Person:
    """The photos that came as a fallback are seeds by now."""
    return screenalytics.offer_anew(person, replace(person.offer, seeds=person.offer.every))


def failing(screenalytics: Screenalytics, person: Person) -> Person:
    """Photos that cannot be had."""
    return screenalytics.offer_anew(person, screenalytics.seeds_fail(FAILURES["503"]))


@pytest.mark.clause("SYNC-04")
@pytest.mark.parametrize("change", [unchanged, reordered, fewer, flagged_meanwhile, failing])
def test_a_rerun_adds_no_row(screenalytics: Screenalytics, change: Callable[[Screenalytics, Person], Person]) -> None:
    """Never a second `face_bank_images` or `person` row for the same thing, also once all is as it was before."""
    limit = screenalytics.import_limit
    offers = screenalytics.seeded(limit, others=0), screenalytics.unseeded(min(2, limit))
    with screenalytics.episode(*offers) as episode:
        seen, people = screenalytics.run(episode), episode.people[: len(offers)]
        for person in people:
            stored(screenalytics, seen, person, len(person.offer.photos))
        for now in (change, unchanged):
            for person in people:
                now(screenalytics, person)
            seen = screenalytics.run(episode)
        for person in people:
            no_second_row(screenalytics, seen, person, len(person.offer.photos), "SYNC-04")


@pytest.mark.clause("SYNC-04")
def test_a_rerun_adds_no_row_of_what_an_earlier_one_added(screenalytics: Screenalytics) -> None:
    """The same of photos that came later, and were imported by a rerun."""
    before, after = growing(screenalytics)
    with screenalytics.episode(before) as episode:
        person = episode.people[0]
        stored(screenalytics, screenalytics.run(episode), person)
        screenalytics.run(episode)
        screenalytics.offer_anew(person, after)
        for _ in ("adds", "adds nothing"):
            seen = screenalytics.run(episode)
        no_second_row(screenalytics, seen, person, len(after.photos), "SYNC-04")


@pytest.mark.clause("SYNC-04")
def test_another_episode_adds_no_row_of_what_one_added(screenalytics: Screenalytics) -> None:
    """The same of people who are in two episodes."""
    offer = screenalytics.seeded(min(2, screenalytics.import_limit), others=0)
    with screenalytics.episode(offer) as episode, screenalytics.another_episode(episode) as other:
        person = episode.people[0]
        stored(screenalytics, screenalytics.run(episode), person)
        seen = screenalytics.run(other)
        no_second_row(screenalytics, seen, person, len(offer.photos), "SYNC-04")


@pytest.mark.clause("SYNC-04")
def test_a_rerun_adds_no_row_of_what_is_approved(screenalytics: Screenalytics) -> None:
    """The same of an image that was approved meanwhile."""
    offer = screenalytics.seeded(min(2, screenalytics.import_limit), others=0)
    with screenalytics.episode(offer) as episode:
        person = episode.people[0]
        stored(screenalytics, screenalytics.run(episode), person)
        with screenalytics.states.given("approved face bank image", person_id=person.person_id):
            seen = screenalytics.run(episode)
            no_second_row(screenalytics, seen, person, len(offer.photos), "SYNC-04")


@pytest.mark.clause("SYNC-04")
def test_a_photo_that_is_listed_twice_is_one_image(screenalytics: Screenalytics) -> None:
    """The same photo twice in one list gives one row."""
    offer = screenalytics.seeded(2, others=0)
    with screenalytics.episode(replace(offer, seeds=tuple(map(answers.doubled_rows, offer.seeds)))) as episode:
        seen = screenalytics.run(episode)
        stored(screenalytics, seen, episode.people[0])
        no_second_row(screenalytics, seen, episode.people[0], len(offer.photos), "SYNC-04")


def no_second_row(screenalytics: Screenalytics, seen: Import, person: Person, images: int, clause: str) -> None:
    """A person has at most so many images, and one row of their own."""
    rows, persons = screenalytics.images(person), screenalytics.persons(person)
    if len(rows) > images or len(persons) > 1:
        raise Violation(
            "there is a second row for the same thing",
            clause=clause,
            expected={"face_bank_images": f"{images} rows", "person": "1 row"},
            actual={"face_bank_images": rows, "person": persons},
            exchange=seen.exchange,
        )


@pytest.mark.clause("SYNC-05")
@pytest.mark.parametrize("elsewhere", [False, True], ids=["one episode", "two episodes"])
@pytest.mark.parametrize("seeded", [True, False], ids=["seeds", "fallback"])
def test_imports_at_once_add_no_duplicate(screenalytics: Screenalytics, seeded: bool, elsewhere: bool) -> None:
    """Two imports at once add no duplicate, of an episode or of two with the same people; either may be refused."""
    count, limit = min(4, screenalytics.max_people), screenalytics.import_limit
    offers = [
        held(screenalytics.seeded(limit, others=0) if seeded else screenalytics.unseeded(limit)) for _ in range(count)
    ]
    with ExitStack() as given:
        episode = given.enter_context(screenalytics.episode(*offers))
        other = given.enter_context(screenalytics.another_episode(episode)) if elsewhere else None

        def both_have_asked() -> None:
            # where one waits for the other, or is refused, it never asks
            for person in episode.people[:count]:
                screenalytics.lab.calls(person.person_id, at_least=2 if seeded else 4, within_s=0.5 / count)
                screenalytics.lab.release(person.person_id)

        both = screenalytics.run_at_once(episode, both_have_asked, also=other)
        ended = [each for each in both if each.report is not None]
        if not ended:
            checks.works_alone(screenalytics, screenalytics.seeded(1))
        for person in episode.people[:count]:
            no_second_row(screenalytics, both[0], person, len(person.offer.photos), "SYNC-05")


def held(offer: Offer) -> Offer:
    """The same, its photos held until they are released."""
    seeds, every = (
        [answer if answer.word == "empty" else answers.held(answer) for answer in each]
        for each in (offer.seeds, offer.every)
    )
    return replace(offer, seeds=tuple(seeds), every=tuple(every))


# --- SYNC-06: failures -----------------------------------------------------------------------------------------------


@pytest.mark.clause("SYNC-06")
@pytest.mark.parametrize("failure", ["404", "503", "reset connection"])
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "in the middle", "last"])
def test_a_failure_costs_nobody_else_their_import(screenalytics: Screenalytics, place: int, failure: str) -> None:
    """One person's failure is counted and costs no other person's import."""
    offers = [screenalytics.seeded(2), screenalytics.unseeded(1)]
    offers.insert(place, screenalytics.seeds_fail(FAILURES[failure]))
    adds_up(screenalytics, offers)


@pytest.mark.clause("SYNC-06")
def test_many_failures_cost_nobody_else_their_import(screenalytics: Screenalytics) -> None:
    """The same where more people fail, one after the other, than are imported at a time."""
    offers = [screenalytics.seeds_fail(FAILURES["404"]) for _ in range(5)]
    offers += [screenalytics.seeded(2), screenalytics.unseeded(1)]
    adds_up(screenalytics, offers[-screenalytics.max_people :])


@pytest.mark.waits
@pytest.mark.clause("SYNC-06")
def test_silence_costs_nobody_else_their_import(screenalytics: Screenalytics) -> None:
    """The same where the one is not answered at all."""
    offers = [screenalytics.seeds_fail(answers.hold()), screenalytics.seeded(2), screenalytics.unseeded(1)]
    with suppress(NotVerified), gives_up_in_time(screenalytics):  # FALL-04 says so
        adds_up(screenalytics, offers[: screenalytics.max_people])


@pytest.mark.clause("SYNC-06")
@pytest.mark.parametrize("served_url", [7, {"url": "http://nowhere.invalid/1.jpg"}, "http://nowhere.invalid/\0"])
def test_an_odd_row_costs_nobody_else_their_import(screenalytics: Screenalytics, served_url: Any) -> None:
    """Whatever becomes of a person of whom a row makes no sense, the others are imported."""
    sound = [screenalytics.seeded(2), screenalytics.unseeded(1)]
    odd = replace(screenalytics.seeded(1), seeds=(answers.rows([{"served_url": served_url}]),))
    expected = checks.promised(screenalytics, sound)
    with screenalytics.episode(odd, *sound) as episode:
        seen = screenalytics.run(episode)
        actual = None if seen.report is None else seen.counts
    if actual is None or any(
        actual[name] < expected[name] for name in ("imported_facebank_images", "imported_facebank_people")
    ):
        adds_up(screenalytics, [screenalytics.seeded(1), *sound])  # premise: with a sound row they are
        raise Violation(
            "a row that makes no sense cost other people their import",
            expected=f"at least {expected}",
            actual=actual or seen.outcome,
            exchange=seen.exchange,
        )


@st.composite
def casts(draw: st.DrawFn) -> Sequence[Callable[[Screenalytics], Offer]]:
    """People of every sort, in any order."""
    photos, failure = st.integers(1, 8), st.sampled_from(SOME_FAILURES)
    sort = st.one_of(
        photos.map(lambda n: lambda target: target.seeded(n)),
        photos.map(lambda n: lambda target: target.unseeded(n)),
        st.just(lambda target: target.unseeded(0)),
        failure.map(lambda name: lambda target: target.seeds_fail(FAILURES[name])),
        failure.map(lambda name: lambda target: target.fallback_fails(FAILURES[name])),
    )
    return draw(st.lists(sort, min_size=1, max_size=6))


@pytest.mark.clause("SYNC-06")
@given(cast=casts())
def test_any_cast_adds_up(screenalytics: Screenalytics, cast: Sequence[Callable[[Screenalytics], Offer]]) -> None:
    """Any people with seeds, without, and with failures in one episode: the counts are the sum of each one's own."""
    adds_up(screenalytics, [make(screenalytics) for make in cast[: screenalytics.max_people]])


def adds_up(screenalytics: Screenalytics, offers: Sequence[Offer]) -> None:
    """The counts of an import are the sum of what each person's would be alone; `import_errors` may be more."""
    expected = checks.promised(screenalytics, offers)
    message = "the counts of several people are not the sum of each one's own"
    with screenalytics.episode(*offers) as episode:
        people = episode.people[: len(offers)]
        try:
            seen = screenalytics.run(episode)
        finally:
            for person in people:
                screenalytics.lab.release(person.person_id)
        if seen.report is not None:
            counts = seen.counts
            exact = not expected["import_errors"]
            errors = counts.pop("import_errors")
            right = errors == 0 if exact else errors >= expected["import_errors"]
            others = {name: expected[name] for name in counts}
            if right and counts == others and all(not seen.ruling(person).breaches for person in people):
                if all(is_kept(screenalytics, person) for person in people):
                    return
                message = "what was counted for several people is not stored"
        for offer in offers:
            # an import that fails as a whole fails with one person too
            if seen.report is not None or not offer.fails:
                checks.works_alone(screenalytics, offer)
        actual = "\n".join([str(seen.report or seen.outcome), *(timeline(seen, person) for person in people)])
        sound = [offer for offer in offers if not offer.fails]
        if len(sound) == len(offers) or any(checks.falls_back_wrongly(seen, person) for person in people):
            raise PremiseBroken("FALL-06", message, expected=expected, actual=actual, exchange=seen.exchange)
    if sound:
        adds_up(screenalytics, sound)
    raise Violation(message, expected=expected, actual=actual, exchange=seen.exchange)


def is_kept(screenalytics: Screenalytics, person: Person) -> bool:
    """Whether the database, where it can be seen, holds what an import took of a person."""
    if not screenalytics.has_database:
        return True
    return len(screenalytics.images(person)) >= min(len(person.offer.photos), screenalytics.import_limit)


def timeline(seen: Import, person: Person) -> str:
    """A person's calls under what they should come to."""
    offer = person.offer
    heading = "fails" if offer.fails else f"{len(offer.photos)} photos"
    return f"{person.person_id}: {heading}\n{seen.timeline(person)}"


# --- SYNC-07: approvals ----------------------------------------------------------------------------------------------


def replaced(screenalytics: Screenalytics, person: Person) -> Person:
    """Other photos, as many as one import takes."""
    return screenalytics.offer_anew(person, screenalytics.seeded(screenalytics.import_limit))


def gone(screenalytics: Screenalytics, person: Person) -> Person:
    """No photo at all."""
    return screenalytics.offer_anew(person, screenalytics.unseeded(0))


def unflagged_meanwhile(screenalytics: Screenalytics, person: Person) -> Person:
    """The photos that were seeds come as a fallback by now."""
    return screenalytics.offer_anew(person, replace(person.offer, seeds=(answers.empty(),), every=person.offer.seeds))


@pytest.mark.clause("SYNC-07")
@pytest.mark.parametrize("change", [unchanged, reordered, replaced, gone, failing, unflagged_meanwhile])
def test_a_rerun_keeps_approvals(
    screenalytics: Screenalytics, change: Callable[[Screenalytics, Person], Person]
) -> None:
    """A rerun never takes back an approval, nor does the next, whatever the backend has of the person by then."""
    with screenalytics.episode(screenalytics.seeded(2)) as episode:
        keeps_approvals(screenalytics, episode, change)


@pytest.mark.clause("SYNC-07")
@pytest.mark.parametrize("change", [unchanged, flagged_meanwhile])
def test_a_rerun_keeps_approvals_of_a_fallback(
    screenalytics: Screenalytics, change: Callable[[Screenalytics, Person], Person]
) -> None:
    """The same of an image that came as a fallback."""
    with screenalytics.episode(screenalytics.unseeded(2)) as episode:
        keeps_approvals(screenalytics, episode, change)


@pytest.mark.clause("SYNC-07")
def test_another_episode_keeps_approvals(screenalytics: Screenalytics) -> None:
    """The same of a person who is in two episodes."""
    offer = screenalytics.seeded(2)
    with screenalytics.episode(offer) as episode, screenalytics.another_episode(episode) as other:
        keeps_approvals(screenalytics, episode, unchanged, other)


def keeps_approvals(
    screenalytics: Screenalytics,
    episode: Episode,
    change: Callable[[Screenalytics, Person], Person],
    other: Episode | None = None,
) -> None:
    """Of an episode's first person an image is approved, and stays so at two reruns, of `other` where there is one."""
    person = episode.people[0]
    seen = screenalytics.run(episode)
    stored(screenalytics, seen, person)
    with screenalytics.states.given("approved face bank image", person_id=person.person_id) as values:
        image_id = str(values["image_id"]).lower()
        before = image(screenalytics, person, image_id)
        change(screenalytics, person)
        for _ in ("rerun", "another"):
            seen = screenalytics.run(other or episode)
            if seen.photos(person):
                checks.follows(seen, person, "SYNC-07")
        after = image(screenalytics, person, image_id)
    if after is None or before is None or after.get("approved") is not True:
        raise Violation(
            "a rerun took back an approval",
            expected=before,
            actual=after,
            exchange=seen.exchange,
        )


def image(screenalytics: Screenalytics, person: Person, image_id: str) -> dict[str, Any] | None:
    """A row by its id."""
    rows = screenalytics.images(person)
    return next((row for row in rows if str(row.get("image_id")).lower() == image_id), None)
