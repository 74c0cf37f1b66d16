"""The strict-fallback automaton: its specification, case by case, and that it equals an obviously right checker."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.fallback import Fallback, Outcome, PhotosCall, Ruling

EMPTY, ROWS, FAILED, UNKNOWN = Outcome
LETTERS = {"e": EMPTY, "r": ROWS, "x": FAILED, "u": UNKNOWN}
GAP_S = 100.0


def calls(history: str, person_id: str = "ann", first: int = 1) -> list[PhotosCall]:
    """Calls written as words: `T`, `F` or `N` (seed_only true, false, not said), the outcome, and `+` for a later page.

    `Te F+r` is an empty `seed_only=true`, then a later page of `seed_only=false` with rows.
    """
    said = {"T": True, "F": False, "N": None}
    return [
        PhotosCall(person_id, said[word[0]], LETTERS[word[-1]], None, number, 50 if "+" in word else 0)
        for number, word in enumerate(history.split(), first)
    ]


def ruled(history: str, *, marked: bool = True) -> Ruling:
    """The ruling on one person's history; `|` is where a new import begins."""
    automaton = Fallback(marked=marked)
    number = 1
    for part, one_import in enumerate(history.split("|")):
        if part:
            automaton.new_import("ann")
        fed = calls(one_import, first=number)
        automaton.feed_all(fed)
        number += len(fed)
    return automaton.ruling("ann")


@pytest.mark.parametrize(
    "history",
    [
        "",
        "Tr",
        "Te Fr",
        "Te Fe",
        "Te Fx",
        "Tx",
        "Tx Tx Tx",
        # retries
        "Tx Tr",
        "Tx Te Fr",
        "Te Tr",
        "Tr Te Fr",
        "Te Fx Fx Fr",
        "Tu Te Fr",
        "Te Fr Tr",
        # pages
        "Tr T+r T+e",
        "Tr T+x",
        "Te Fr F+r F+e",
        "Te T+e Fr",
        "Te F+r",
        "Tx T+r",
        # imports
        "Tr | Te Fr",
        "Te Fr | Tr",
        "Tx | Te Fr",
    ],
)
def test_conforming(history: str) -> None:
    assert ruled(history) == Ruling("conforming")


@pytest.mark.parametrize(
    "history, clauses, numbers",
    [
        ("Fr", "FALL-01", (1,)),
        ("Fe", "FALL-01", (1,)),
        ("F+r", "FALL-01", (1,)),
        ("Fr Tr", "FALL-01", (1,)),
        ("Fr F+r Fr", "FALL-01", (1,)),
        ("Tr Fr", "FALL-02", (1, 2)),
        ("Tr T+e Fr", "FALL-02", (1, 3)),
        ("Tr T+x Fr", "FALL-02", (1, 3)),
        ("Tr F+r", "FALL-02", (1, 2)),
        ("Te", "FALL-03", (1,)),
        ("Te Te", "FALL-03", (2,)),
        ("Tx Te", "FALL-03", (2,)),
        ("Te T+e", "FALL-03", (1,)),
        ("Te Fr Te", "FALL-03", (3,)),
        ("Tx Fr", "FALL-04", (1, 2)),
        ("Tx Fr Te Fr", "FALL-04", (1, 2)),
        ("Tx Tx Fr", "FALL-04 FALL-05", (2, 3)),
        ("Te Tx Fr", "FALL-04 FALL-05", (2, 3)),
        ("Tx Tr Fr", "FALL-02 FALL-05", (2, 3)),
        ("T+e Fr", "FALL-05", (2,)),
        ("Nr", "FALL-11", (1,)),
        ("Nr Fr", "FALL-11", (1,)),
        ("Te Nr", "FALL-11", (2,)),
        ("Tr Nr Fr", "FALL-11", (2,)),
        ("Nr Te", "FALL-03 FALL-11", (1, 2)),
        # imports
        ("Te | Te Fr", "FALL-03", (1,)),
        ("Te | Fr", "FALL-01 FALL-03", (1, 2)),
        ("Tx | Tx Fr", "FALL-04", (2, 3)),
        ("Te Fr | Fr", "FALL-01", (3,)),
        # each clause by its first breach
        ("Tr Fr | Tr Fr", "FALL-02", (1, 2)),
    ],
)
def test_violating(history: str, clauses: str, numbers: tuple[int, ...]) -> None:
    ruling = ruled(history)
    assert (ruling.verdict, " ".join(ruling.clauses), ruling.calls) == ("violating", clauses, numbers)


@pytest.mark.parametrize(
    "history, about", [("Tu", "FALL-03"), ("Tu Fr", "FALL-02"), ("Tu | Te Fr", "FALL-03"), ("Te Fr | Tu", "FALL-03")]
)
def test_undecided(history: str, about: str) -> None:
    ruling = ruled(history)
    assert ruling.verdict == "undecided"
    assert ruling.reason.startswith(about)


def test_what_is_broken_outweighs_what_is_unknown() -> None:
    assert ruled("Tu | Tr Fr").verdict == "violating"


@pytest.mark.parametrize(
    "history, verdict, clauses",
    [
        ("Te Fr Te Fr", "conforming", ""),
        ("Te Fr Te", "violating", "FALL-03"),
        ("Tr Tx Fr", "violating", "FALL-04"),  # without FALL-05: no retry, a new import
        ("Tr Tr", "conforming", ""),
        ("Te Tr", "conforming", ""),
        ("Tx Tx Fr", "violating", "FALL-04 FALL-05"),
        ("Tr T+r Fr", "violating", "FALL-02"),
        ("Te Fr T+r Fr", "conforming", ""),
        ("Tu Tr", "undecided", ""),
        ("Tu Tu", "undecided", ""),
    ],
)
def test_imports_without_times_are_guessed(history: str, verdict: str, clauses: str) -> None:
    ruling = ruled(history, marked=False)
    assert (ruling.verdict, " ".join(ruling.clauses)) == (verdict, clauses)


@pytest.mark.parametrize("pause, clauses", [(GAP_S, ("FALL-02",)), (GAP_S + 1, ("FALL-01",))])
def test_imports_with_times_end_at_a_gap(pause: float, clauses: tuple[str, ...]) -> None:
    automaton = Fallback(gap_s=GAP_S)
    automaton.feed(PhotosCall("ann", True, ROWS, 1000.0, 1))
    automaton.feed(PhotosCall("ann", False, ROWS, 1000.0 + pause, 2))
    assert automaton.ruling("ann").clauses == clauses


def test_an_import_whose_beginning_was_not_seen_is_undecided() -> None:
    automaton = Fallback(marked=True)
    automaton.new_import("ann", from_start=False)
    automaton.feed_all(calls("Fr F+e"))
    assert automaton.ruling("ann").verdict == "undecided"


def test_nobodys_calls_count_for_anybody_else() -> None:
    automaton = Fallback(marked=True)
    ann, bob = calls("Te Fr", "ann"), calls("Tr Fr", "bob")
    automaton.feed_all(itertools.chain.from_iterable(zip(ann, bob, strict=True)))
    assert automaton.ruling("ann").verdict == "conforming"
    assert automaton.ruling("bob").clauses == ("FALL-02",)
    assert list(automaton.persons()) == ["ann", "bob"]


def test_asking_changes_nothing() -> None:
    automaton = Fallback(marked=True)
    automaton.feed_all(calls("Te"))
    assert automaton.ruling("ann").clauses == ("FALL-03",)
    automaton.feed_all(calls("Fr", first=2))
    assert automaton.ruling("ann").verdict == "conforming"


# --- a checker that is obviously right -------------------------------------------------------------------------------


class Mark(NamedTuple):
    """In a history: the person's next call belongs to a new import."""

    person_id: str


Event = PhotosCall | Mark


def naive(history: Sequence[Event], *, marked: bool) -> dict[str, tuple[str, set[str]]]:
    """Person → verdict and broken clauses, from the whole history, by the letter of the clauses."""
    events: defaultdict[str, list[Event]] = defaultdict(list)
    for event in history:
        events[event.person_id].append(event)
    found = {}
    for person_id, own in events.items():
        doubts, broken = False, set()
        parts = list(split(own, marked=marked))
        for part in parts:
            broken |= broken_in(part)
            doubts = doubts or doubtful(part, marked=marked)
        found[person_id] = ("violating" if broken else "undecided" if doubts else "conforming", broken)
    return found


def split(events: Iterable[Event], *, marked: bool) -> Iterable[list[PhotosCall]]:
    """The imports of one person."""
    part: list[PhotosCall] = []
    for event in events:
        if isinstance(event, Mark) or (
            part
            and not marked
            and (
                event.at - part[-1].at > GAP_S
                if event.at is not None and part[-1].at is not None
                else first_page(event) and begins_anew(part)
            )
        ):
            yield part
            part = []
        if isinstance(event, PhotosCall):
            part.append(event)
    yield part


def first_page(call: PhotosCall) -> bool:
    return call.seed_only is True and call.offset == 0


def begins_anew(part: Sequence[PhotosCall]) -> bool:
    """Whether a first page of `seed_only=true` after these calls is no retry: it follows a fallback, or rows."""
    since = [i for i, call in enumerate(part) if first_page(call)]
    tail = part[since[-1] + 1 :] if since else part
    return any(call.seed_only is not True for call in tail) or (bool(since) and part[since[-1]].outcome is ROWS)


def broken_in(part: Sequence[PhotosCall]) -> set[str]:
    """The clauses that one import breaks."""
    broken = {"FALL-11" for call in part if call.seed_only is None}
    if part and part[0].seed_only is False:
        broken.add("FALL-01")
    for index, call in enumerate(part):
        before, after = part[:index], part[index + 1 :]
        if call.seed_only is False and index > 0:
            earlier = [i for i, other in enumerate(before) if first_page(other)]
            since = before[earlier[-1] + 1 :] if earlier else before
            if any(other.seed_only is not True for other in since):
                continue  # a page or a retry of a fallback that is judged already, or after a call that says nothing
            last = before[earlier[-1]].outcome if earlier else None
            broken |= {ROWS: {"FALL-02"}, FAILED: {"FALL-04"}, None: {"FALL-05"}}.get(last, set())
            if last in (ROWS, FAILED) and len(earlier) > 1:
                broken.add("FALL-05")
        if (
            first_page(call)
            and call.outcome is EMPTY
            and not any(first_page(other) for other in after)
            and all(other.seed_only is True for other in after)
        ):
            broken.add("FALL-03")
    return broken


def doubtful(part: Sequence[PhotosCall], *, marked: bool) -> bool:
    """Whether what is not known of one import could make it a violation."""
    for index, call in enumerate(part):
        if not (first_page(call) and call.outcome is UNKNOWN):
            continue
        later = [other for other in part[index + 1 :] if other.seed_only is not True or first_page(other)]
        if not later or later[0].seed_only is False:
            return True
        if later[0].seed_only is True and later[0].at is None and not marked:
            return True
    return False


CALLS = st.builds(
    PhotosCall,
    person_id=st.sampled_from("abc"),
    seed_only=st.sampled_from([True, True, True, False, False, None]),
    outcome=st.sampled_from(Outcome),
    at=st.none(),
    where=st.just(0),
    offset=st.sampled_from([0, 0, 0, 50]),
)


def rulings(history: Sequence[Event], automaton: Fallback) -> dict[str, tuple[str, set[str]]]:
    """What the automaton says of each person of a history."""
    for event in history:
        if isinstance(event, Mark):
            automaton.new_import(event.person_id)
        else:
            automaton.feed(event)
    found = {event.person_id: automaton.ruling(event.person_id) for event in history}
    return {person_id: (ruling.verdict, set(ruling.clauses)) for person_id, ruling in found.items()}


@settings(max_examples=200, deadline=None)
@given(history=st.lists(CALLS | st.builds(Mark, st.sampled_from("abc")), max_size=30))
def test_equals_the_naive_checker_where_imports_are_marked(history: list[Event]) -> None:
    assert rulings(history, Fallback(marked=True)) == naive(history, marked=True)


@settings(max_examples=200, deadline=None)
@given(history=st.lists(CALLS, max_size=30))
def test_equals_the_naive_checker_where_imports_are_guessed(history: list[Event]) -> None:
    assert rulings(history, Fallback()) == naive(history, marked=False)


@settings(max_examples=200, deadline=None)
@given(history=st.lists(st.tuples(CALLS, st.integers(0, 80)), max_size=30))
def test_equals_the_naive_checker_where_calls_have_times(history: list[tuple[PhotosCall, int]]) -> None:
    at = 0.0
    timed: list[Event] = []
    for call, pause in history:
        at += pause
        timed.append(call._replace(at=at))
    assert rulings(timed, Fallback(gap_s=GAP_S)) == naive(timed, marked=False)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), histories=st.lists(st.lists(CALLS, max_size=8), min_size=2, max_size=4))
def test_interleaving_changes_nothing(data: st.DataObject, histories: list[list[PhotosCall]]) -> None:
    own = [[call._replace(person_id=str(i)) for call in history] for i, history in enumerate(histories)]
    alone, together = Fallback(marked=True), Fallback(marked=True)
    for history in own:
        alone.feed_all(history)
    order = data.draw(st.permutations([i for i, history in enumerate(own) for _ in history]))
    remaining = [iter(history) for history in own]
    together.feed_all(next(remaining[i]) for i in order)
    assert [alone.ruling(str(i)) for i in range(len(own))] == [together.ruling(str(i)) for i in range(len(own))]
