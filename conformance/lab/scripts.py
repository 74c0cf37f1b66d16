"""Scripts: which answers a key has left, and what of them is held."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from conformance.lab.answers import Answer
from conformance.lab.server import Hold

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Routed:
    """Where a listener sends a call: what it is for, its key in the journal, and its answer."""

    operation: str
    key: str
    answer: Answer
    hold: Hold
    scripted: bool


class Scripts(Generic[Key]):
    """Answers by key, one after the other, the last one again and again."""

    def __init__(self) -> None:
        self._answers: dict[Key, list[Answer]] = {}

    def __setitem__(self, key: Key, answers: Sequence[Answer]) -> None:
        self._answers[key] = list(answers)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._answers)

    def peek(self, key: Key) -> Answer | None:
        """The answer whose turn it is, and stays."""
        answers = self._answers.get(key)
        return answers[0] if answers else None

    def take(self, key: Key) -> Answer | None:
        """The answer whose turn it is, and was."""
        answers = self._answers.get(key, [])
        return answers.pop(0) if len(answers) > 1 else self.peek(key)


class Holds(Generic[Key]):
    """What is held, by key."""

    def __init__(self) -> None:
        self._holds: defaultdict[Key, Hold] = defaultdict(Hold)

    def __getitem__(self, key: Key) -> Hold:
        return self._holds[key]

    def renew(self, key: Key) -> None:
        """Holds what comes from now on, whatever was released."""
        self._holds.pop(key, None)
