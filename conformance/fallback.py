"""The strict-fallback rule (FALL-01 to FALL-06, FALL-11) as one automaton over the photos calls of each person.

It is fed one call at a time, in the order in which the calls were made, keeps a few words for each person, and can be
asked at any time. What it holds a person's calls of one import to:

- FALL-11: every call says `seed_only`. One that does not is otherwise counted in the consumer's favour.
- FALL-01: the first call is `seed_only=true`.
- A fallback, which is `seed_only=false` in one or more calls (pages, retries), is judged at its first call by the last
  `seed_only=true` before it: an empty first page permits it, rows do not (FALL-02), a failure does not (FALL-04),
  neither does after retries (FALL-05 as well), and neither do later pages without a first one (FALL-05).
- FALL-03: where the last `seed_only=true` of the import is empty, a fallback follows it.
- FALL-06: nobody's calls count for anybody else.

An import ends where the caller says so; else, where calls have times, at a gap; else a new one begins with the first
page of `seed_only=true` after a fallback or after rows.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl

DEFAULT_GAP_S = 600.0


class Outcome(enum.Enum):
    """What came of a photos call."""

    EMPTY = "empty"
    ROWS = "rows"
    FAILED = "failed"
    UNKNOWN = "a success of unknown size"


# compared by identity a million times: a global is found faster than a member
_EMPTY, _ROWS, _FAILED, _UNKNOWN = Outcome


class PhotosCall(NamedTuple):
    """One call for a person's photos."""

    person_id: str
    seed_only: bool | None
    """None where it was left out, or was neither `true` nor `false`."""
    outcome: Outcome
    at: float | None = None
    """Seconds on any clock; only differences count."""
    where: int = 0
    """The number by which the caller knows this call: of the line, or of the call."""
    offset: int = 0


class Breach(NamedTuple):
    """A clause that was broken, and the numbers of the calls that show it, the breaking one last."""

    clause: str
    calls: tuple[int, ...]


class Ruling(NamedTuple):
    """What is to be said of one person's calls so far."""

    verdict: Literal["conforming", "violating", "undecided"]
    breaches: tuple[Breach, ...] = ()
    """The first breach of each clause, in the order of the clauses."""
    reason: str = ""

    @property
    def clauses(self) -> tuple[str, ...]:
        """The broken clauses."""
        return tuple(breach.clause for breach in self.breaches)

    @property
    def calls(self) -> tuple[int, ...]:
        """The numbers of the calls that show it, each once, in order."""
        return tuple(sorted({number for breach in self.breaches for number in breach.calls}))


class _Person:
    """What is kept of one person: the import that is open, and what earlier ones have shown."""

    __slots__ = ("breaches", "calls", "doubt", "fallback", "last", "seeds", "tries", "where")

    def __init__(self) -> None:
        self.breaches: dict[str, Breach] | None = None
        self.doubt: str | None = None
        self.last: float | None = None
        self.begin()

    def begin(self) -> None:
        """A new import."""
        self.calls = False
        """Whether it has a call."""
        self.seeds: Outcome | None = None
        """What came of the last first page of `seed_only=true`."""
        self.where = 0
        """Its number."""
        self.tries = 0
        """How many there were."""
        self.fallback = False
        """Whether a fallback followed it."""

    def breach(self, clause: str, *calls: int) -> None:
        if self.breaches is None:
            self.breaches = {}
        self.breaches.setdefault(clause, Breach(clause, calls))

    def pending(self) -> Breach | str | None:
        """What would be said if the import ended now: a breach, or a reason for doubt."""
        if self.fallback or (self.seeds is not _EMPTY and self.seeds is not _UNKNOWN):
            return None
        if self.seeds is _EMPTY:
            return Breach("FALL-03", (self.where,))
        return f"FALL-03: call {self.where} may have been empty, and no seed_only=false follows"

    def end(self) -> None:
        """The import is over."""
        pending = self.pending()
        if isinstance(pending, Breach):
            self.breach(pending.clause, *pending.calls)
        elif pending is not None:
            self.doubt = self.doubt or pending
        self.begin()

    def falls_back(self, where: int) -> None:
        """The first call of a fallback."""
        seeds = self.seeds
        if seeds is None:
            self.breach("FALL-05" if self.calls else "FALL-01", where)
        elif seeds is _UNKNOWN:
            self.doubt = self.doubt or f"FALL-02: call {self.where} may have had rows, and seed_only=false follows"
        else:
            self.breach("FALL-02" if seeds is _ROWS else "FALL-04", self.where, where)
            if self.tries > 1:
                self.breach("FALL-05", self.where, where)


class Fallback:
    """The automaton. `marked`: imports end by `new_import` alone; else by a gap, or without times by guess."""

    def __init__(self, *, gap_s: float = DEFAULT_GAP_S, marked: bool = False) -> None:
        self._gap_s = float("inf") if marked else gap_s
        self._marked = marked
        self._persons: dict[str, _Person] = {}

    def feed(self, call: PhotosCall) -> None:
        """Takes the next call."""
        person_id, seed_only, outcome, at, where, offset = call
        person = self._persons.get(person_id)
        if person is None:
            person = self._persons[person_id] = _Person()
        if at is not None:
            last = person.last
            if last is not None and at - last > self._gap_s:
                person.end()
            person.last = at
        if seed_only:
            # a later page belongs to the list that is open
            if not offset:
                if at is None and not self._marked and person.calls:
                    self._guess(person, where)
                person.seeds, person.where = outcome, where
                person.tries += 1
                person.fallback = False
        elif seed_only is None:
            person.breach("FALL-11", where)
            person.seeds, person.fallback = None, True
        elif not person.fallback:
            if person.seeds is not _EMPTY:
                person.falls_back(where)
            person.fallback = True
        person.calls = True

    def _guess(self, person: _Person, where: int) -> None:
        """Ends the import where another first page of `seed_only=true` can be no retry of the last one."""
        if person.fallback or person.seeds is _ROWS:
            person.end()
        elif person.seeds is _UNKNOWN:
            person.doubt = person.doubt or f"FALL-03: call {where} may retry call {person.where} or begin a new import"

    def feed_all(self, calls: Iterable[PhotosCall]) -> None:
        """Takes the next calls."""
        for call in calls:
            self.feed(call)

    def new_import(self, person_id: str, *, from_start: bool = True) -> None:
        """The person's next call belongs to a new import; `from_start=False`: to one whose beginning was not seen."""
        person = self._persons.setdefault(person_id, _Person())
        person.end()
        if not from_start:
            person.calls = person.fallback = True
            person.doubt = person.doubt or "the import began before the calls that are known"

    def knows(self, person_id: str) -> bool:
        """Whether the person had a call."""
        return person_id in self._persons

    def persons(self) -> Iterator[str]:
        """The persons that had calls, in the order of their first one."""
        return iter(self._persons)

    def fell_back(self, person_id: str) -> bool:
        """Whether a fallback is the last that the person's latest import has."""
        person = self._persons.get(person_id)
        return person is not None and person.fallback

    def ruling(self, person_id: str) -> Ruling:
        """What is to be said of a person if no call follows; a person without calls conforms."""
        person = self._persons.get(person_id)
        if person is None:
            return Ruling("conforming")
        breaches, doubt = dict(person.breaches or {}), person.doubt
        pending = person.pending()
        if isinstance(pending, Breach):
            breaches.setdefault(pending.clause, pending)
        elif pending is not None:
            doubt = doubt or pending
        if breaches:
            found = tuple(breaches[clause] for clause in sorted(breaches))
            return Ruling("violating", found, "; ".join(f"{b.clause} at {_numbers(b.calls)}" for b in found))
        return Ruling("undecided", reason=doubt) if doubt is not None else Ruling("conforming")


def read_query(query: str) -> tuple[bool | None, int]:
    """What the query of a photos call says: `seed_only` (None unless once, as `true` or `false`), and the offset."""
    said = parse_qsl(query, keep_blank_values=True)
    seeds, offsets = ([value for name, value in said if name == key] for key in ("seed_only", "offset"))
    offset = offsets[-1] if offsets else ""
    return (
        {"true": True, "false": False}.get(seeds[0]) if len(seeds) == 1 else None,
        int(offset) if offset.isascii() and offset.isdigit() and len(offset) < 19 else 0,
    )


def _numbers(calls: tuple[int, ...]) -> str:
    return "call " + ", ".join(map(str, calls)) if len(calls) == 1 else "calls " + ", ".join(map(str, calls))
