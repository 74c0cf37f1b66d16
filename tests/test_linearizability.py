"""The check for linearizability says what trying every order of the operations says."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.linearizability import Operation, is_linearizable


def write(value: bool, started: float, ended: float) -> Operation:
    return Operation(True, value, started, ended)


def read(value: bool, started: float, ended: float) -> Operation:
    return Operation(False, value, started, ended)


def by_brute_force(history: Sequence[Operation], initial: bool) -> bool:
    """Tries every order: none puts an operation before one that had ended when it started, and each read is right."""
    return any(
        all(not later.ended < earlier.started for earlier, later in itertools.combinations(order, 2))
        and _is_right(order, initial)
        for order in itertools.permutations(history)
    )


def _is_right(order: Sequence[Operation], value: bool) -> bool:
    for operation in order:
        if operation.is_write:
            value = operation.value
        elif operation.value is not value:
            return False
    return True


operations = st.builds(
    lambda is_write, value, started, lasting: Operation(is_write, value, float(started), float(started + lasting)),
    st.booleans(),
    st.booleans(),
    st.integers(0, 8),
    st.integers(0, 5),
)


@settings(max_examples=500)
@given(st.lists(operations, max_size=6), st.booleans())
def test_agrees_with_brute_force(history: list[Operation], initial: bool) -> None:
    assert is_linearizable(history, initial) is by_brute_force(history, initial)


@given(st.lists(operations, max_size=12), st.booleans(), st.randoms())
def test_order_of_recording_does_not_matter(history: list[Operation], initial: bool, random: object) -> None:
    shuffled = history[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert is_linearizable(shuffled, initial) is is_linearizable(history, initial)


KNOWN: dict[str, tuple[list[Operation], bool]] = {
    "nothing happened": ([], True),
    "a read of the initial value": ([read(False, 0, 1)], True),
    "a read of a value that nobody wrote": ([read(True, 0, 1)], False),
    "a write and then its read": ([write(True, 0, 1), read(True, 2, 3)], True),
    "a stale read after a write": ([write(True, 0, 1), read(False, 2, 3)], False),
    "a read during a write sees either": ([write(True, 0, 9), read(False, 1, 2), read(True, 3, 4)], True),
    "a value goes back during a write": ([write(True, 0, 9), read(True, 1, 2), read(False, 3, 4)], False),
    "a lost update": ([write(True, 0, 1), write(False, 2, 3), read(True, 4, 5)], False),
    "two writes at once, read both ways by others at once": (
        [write(True, 0, 9), write(False, 0, 9), read(True, 10, 11)],
        True,
    ),
    "two writes at once, read both ways one after the other": (
        [write(True, 0, 9), write(False, 0, 9), read(True, 10, 11), read(False, 12, 13)],
        False,
    ),
    "two writes at once, seen in turn by readers of the same time": (
        [write(True, 0, 9), write(False, 0, 9), read(True, 1, 2), read(False, 3, 4), read(True, 5, 6)],
        False,
    ),
    "operations that touch may be swapped": ([write(True, 0, 1), read(False, 1, 2)], True),
}


@pytest.mark.parametrize("history, linearizable", KNOWN.values(), ids=KNOWN)
def test_known_histories(history: list[Operation], linearizable: bool) -> None:
    assert is_linearizable(history, initial=False) is linearizable


def test_many_operations_at_once_are_decided() -> None:
    """Thirty writes at once have more orders than can be tried."""
    history = [write(number % 2 == 0, 0, 100) for number in range(30)]
    history += [read(number % 2 == 0, 101 + number, 101.5 + number) for number in range(10)]
    assert not is_linearizable(history, initial=False)


def test_an_operation_can_be_told() -> None:
    assert str(write(True, 0.001, 0.0025)) == "     1.0-2.5 ms write True"
