"""Access logs of any length with known answers: interleaved people, other requests, broken lines."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

IMPORTER = "python-httpx/0.28.1"
IMPORTER_ADDRESS = "10.0.0.7"
START_AT = datetime(2026, 2, 6, 12, tzinfo=UTC).timestamp()

ROUND_S = 300.0
"""How long all people's imports of one round take together."""
PAUSE_S = 3600.0
"""From round to round, and from the log's first line to the first round."""

_ROWS_BYTES, _EMPTY_BYTES = 4321, 2


class Kind(NamedTuple):
    """What happens to a person in one import: pairs of query and answer, and what is to be said of it."""

    calls: tuple[tuple[str, int, int], ...]
    """Query, status and size of each call."""
    clauses: frozenset[str] = frozenset()
    """The broken ones."""


def _kind(history: str, *clauses: str) -> Kind:
    said = {"T": "seed_only=true", "F": "seed_only=false", "N": "limit=200"}
    answers = {"e": (200, _EMPTY_BYTES), "r": (200, _ROWS_BYTES), "x": (503, 21)}
    calls = tuple(
        (said[word[0]] + ("&offset=200" if "+" in word else ""), *answers[word[-1]]) for word in history.split()
    )
    return Kind(calls, frozenset(clauses))


KINDS: Mapping[str, Kind] = {
    history: _kind(history, *clauses)
    for history, *clauses in (
        ("Tr",),
        ("Te Fr",),
        ("Tr T+r T+e",),
        ("Te Fr F+e",),
        ("Tx",),
        ("Tx Te Fr",),
        ("Fr", "FALL-01"),
        ("Tr Fr", "FALL-02"),
        ("Te", "FALL-03"),
        ("Tx Fr", "FALL-04"),
        ("Tx Tx Fr", "FALL-04", "FALL-05"),
        ("Nr", "FALL-11"),
    )
}
"""By history: `T`, `F`, `N` (seed_only true, false, unsaid), `e`, `r`, `x` (empty, rows, failed), `+` a later page."""

CONFORMING_KINDS = tuple(history for history, kind in KINDS.items() if not kind.clauses)


@dataclass(frozen=True)
class Answers:
    """What is true of a generated log."""

    clauses: Mapping[str, frozenset[str]]
    """Person id → the broken clauses, none for a person who conforms."""
    lines: int
    photo_calls: int
    broken_lines: int
    seeded: frozenset[str] = field(default_factory=frozenset)
    """The persons all of whose successful `seed_only=true` had rows."""
    unseeded: frozenset[str] = field(default_factory=frozenset)
    """The persons none of whose had."""


class _Request(NamedTuple):
    target: str
    status: int
    size: int
    address: str = IMPORTER_ADDRESS
    user_agent: str = IMPORTER


def write_line(form: str, target: str, status: int, size: int, at: float, address: str, user_agent: str) -> str:
    """One line of a log, without its end; `form` is one of `FORMATS`. What the form has no place for is left out."""
    moment = datetime.fromtimestamp(at, UTC)
    if form == "uvicorn":
        phrase = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}.get(status, "")
        return f'INFO:     {address}:52324 - "GET {target} HTTP/1.1" {status} {phrase}'
    if form == "combined":
        time = f"{moment:%d/%b/%Y:%H:%M:%S +0000}"
        return f'{address} - - [{time}] "GET {target} HTTP/1.1" {status} {size} "-" "{user_agent}"'
    record = {
        "time": moment.isoformat(),
        "client": address,
        "method": "GET",
        "path": target,
        "status": status,
        "bytes": size,
        "user_agent": user_agent,
    }
    return json.dumps(record)


def generate(
    path: Path,
    *,
    form: str = "combined",
    lines: int = 1_000_000,
    people: int = 1_000,
    rounds: int = 1,
    broken: float = 0.01,
    kinds: Sequence[str] = tuple(KINDS),
    seed: int = 0,
) -> Answers:
    """Writes a log: in each of `rounds` imports of every one of `people`, interleaved and spread over the lines.

    A line without a time cannot tell an import from the next, so for uvicorn make it one round. A share `broken` of the
    lines are broken. The same arguments write the same log.
    """
    source = random.Random(seed)
    ids = [str(UUID(int=source.getrandbits(128), version=4)) for _ in range(people)]
    clauses = dict.fromkeys(ids, frozenset[str]())
    seen: dict[str, set[int]] = {person_id: set() for person_id in ids}
    plan: list[tuple[float, _Request]] = []
    for number in range(rounds):
        began = START_AT + (number + 1) * PAUSE_S
        for person_id in ids:
            kind = KINDS[source.choice(kinds)]
            clauses[person_id] |= kind.clauses
            times = sorted(source.uniform(0, ROUND_S) for _ in kind.calls)
            for time, (query, status, size) in zip(times, kind.calls, strict=True):
                target = f"/api/v1/screenalytics/people/{person_id}/photos?{query}"
                plan.append((began + time, _Request(target, status, size)))
                if query == "seed_only=true" and status == 200:
                    seen[person_id].add(size)
    plan.sort(key=lambda planned: planned[0])
    broken_lines = _write(path, form, lines, plan, broken, source)
    return Answers(
        clauses,
        lines,
        len(plan),
        broken_lines,
        frozenset(person_id for person_id, sizes in seen.items() if sizes == {_ROWS_BYTES}),
        frozenset(person_id for person_id, sizes in seen.items() if sizes == {_EMPTY_BYTES}),
    )


def _write(
    path: Path, form: str, lines: int, plan: Sequence[tuple[float, _Request]], broken: float, source: random.Random
) -> int:
    """Writes the planned calls, other requests and broken lines in between; returns how many are broken."""
    broken_lines, others = 0, _others(source)
    # the first line is the head, at the very start: no import began before the log
    places = sorted(source.sample(range(1, lines), len(plan)))
    upcoming = iter(zip(places, plan, strict=True))
    place, (at, request) = next(upcoming, (-1, (0.0, next(others))))
    now = START_AT
    with path.open("w", encoding="latin-1", newline="\n") as file:
        for number in range(lines):
            if number == place:
                now = at
                file.write(write_line(form, *request[:3], now, *request[3:]) + "\n")
                place, (at, request) = next(upcoming, (-1, (0.0, request)))
                continue
            other = next(others)
            line = write_line(form, *other[:3], now, *other[3:])
            if number and source.random() < broken:
                line = _broken(line, source)
                broken_lines += 1
            file.write(line + "\n")
    return broken_lines


def _others(source: random.Random) -> Iterator[_Request]:
    """Requests that are none of ours."""
    paths = ("/api/v1/admin/shows/{}/seasons", "/healthz?n={}", "/api/v1/admin/person/{}/gallery", "/static/{}.js")
    while True:
        number = source.randrange(10**6)
        address = f"10.0.{number % 256}.{number // 256 % 256}"
        status = 200 if number % 50 else 404
        yield _Request(
            source.choice(paths).format(number), status, number % 99_991, address, "Mozilla/5.0 (X11; Linux)"
        )


def _broken(line: str, source: random.Random) -> str:
    """What is left of a line after a full disk, a torn write or somebody else's output."""
    match source.randrange(5):
        case 0:
            # before the request, or what follows it, is complete
            return line[: source.randrange(1, line.index("HTTP") if "HTTP" in line else len(line) - 1)]
        case 1:
            return "".join(chr(source.randrange(0x80, 0x100)) for _ in range(source.randrange(1, 200)))
        case 2:
            return "Traceback (most recent call last):"
        case 3:
            return '{"half": "of a record'
        case _:
            return "\0" * source.randrange(1, 100)
