"""What an access log shows of the strict-fallback rule, person by person.

The rule itself is `conformance.fallback`; here is decided which lines are photos calls of the importer, what came of
each, and where a log says too little:

- Only `GET …/screenalytics/people/{person_id}/photos` counts, under any prefix.
- The importer is told by client address and User-Agent where they are given; else every call is taken for its own but
  for the ignored clients', the suite's and those of the tools and browsers that persons use. Where a line lacks what
  would tell, or is torn, its person is undecided.
- A success is a 2xx (or 304). Its size decides: fewer bytes than one photo takes are an empty list. Where no size is
  known, or it is 0, the ids that are known to be seeded or unseeded decide. 204, redirects, 4xx, 5xx, 499 and no
  status are failures.
- Calls within two seconds of each other are put into the order of their times: workers write their lines as they come.
- The log may begin in the middle of an import: a person whose first call is none for the first page of
  `seed_only=true` is undecided within a gap of the log's first line; where lines have no times, before the first
  `seed_only=true` of anyone.
"""

from __future__ import annotations

import heapq
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote

from conformance.fallback import DEFAULT_GAP_S, Breach, Fallback, Outcome, PhotosCall, read_query
from conformance.trace.formats import Reader, Record, Unread
from conformance.trace.scan import Scan, blocks, opened

if TYPE_CHECKING:
    from pathlib import Path

Verdict = Literal["conforming", "violating", "undecided"]

SMALLEST_PHOTO_LIST_BYTES = len('[{"served_url":"http://h"}]')
"""A shorter answer has no photo: it is `[]`, with a line break, or in a chunk, or compressed (22 bytes of gzip)."""

REORDER_S = 2.0

_OURS = ("trr-conformance/", "curl/", "wget/", "httpie/", "postmanruntime/", "insomnia/", "mozilla/")
"""How the User-Agents of the suite and of what persons call with begin; browsers open the backend's /docs."""
_PATH = re.compile(r"(?:https?://[^/]*)?(?:/.*)?/screenalytics/people/([^/]+)/photos/?")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAMED = re.compile(rb"screenalytics\\?/people\\?/([0-9A-Fa-f-]{36})")
"""Whom a line names that is broken: torn, or run into another."""
_JSON_RECORD = re.compile(rb'\{\s*"')
"""How a record in JSON begins, before what it says."""


class Options(NamedTuple):
    """How to read a log, and what is known besides it."""

    format: str | None = None
    """One of `FORMATS`; None: each line tells."""
    fields: Mapping[str, str] = MappingProxyType({})
    """Of a JSON record: which of `FIELDS` stands under which key; dots lead into nested objects."""
    seeded: frozenset[str] = frozenset()
    """Persons that had seeds all the while."""
    unseeded: frozenset[str] = frozenset()
    """Persons that had none."""
    clients: frozenset[str] = frozenset()
    """The importer's addresses, if known."""
    user_agents: tuple[str, ...] = ()
    """Texts of which the importer's User-Agent has one, in any case, if known."""
    ignore_clients: frozenset[str] = frozenset()
    """Addresses of others than the importer."""
    gap_s: float = DEFAULT_GAP_S
    """Seconds without a call for a person, after which a new import begins; for lines that have times."""
    from_start: bool = False
    """Whether it is known that no import had begun before the log."""
    suite_called: bool = False
    """Whether the suite itself has called: a line that says nothing of who called may be its own, then."""


class Evidence(NamedTuple):
    """A line that shows a breach, and what it shows."""

    line: int
    text: str


class TracedPerson(NamedTuple):
    """What is to be said of one person."""

    person_id: str
    verdict: Verdict
    clauses: tuple[str, ...] = ()
    """The broken ones."""
    lines: tuple[int, ...] = ()
    """The numbers of the lines that show it, from 1, over all files in their order."""
    reason: str = ""
    timeline: tuple[Evidence, ...] = ()
    fell_back: bool = False
    """Whether the latest import ended with `seed_only=false`."""

    def as_json(self) -> dict[str, Any]:
        """The fixed shape of `--json`."""
        return {
            "person_id": self.person_id,
            "verdict": self.verdict,
            "clauses": list(self.clauses),
            "lines": list(self.lines),
            "reason": self.reason,
        }


class Trace(NamedTuple):
    """What a log shows."""

    persons: tuple[TracedPerson, ...]
    """Everyone the importer called for, by their first call."""
    lines: int
    photo_calls: int
    """All photos calls of the log, the importer's or not."""
    broken_lines: int

    def number(self, verdict: Verdict) -> int:
        """How many persons have this verdict."""
        return Counter(person.verdict for person in self.persons)[verdict]

    def as_json(self) -> dict[str, Any]:
        """The fixed shape of `--json`."""
        return {
            "persons": [person.as_json() for person in self.persons],
            "lines": self.lines,
            "photo_calls": self.photo_calls,
            "broken_lines": self.broken_lines,
        }


def trace_calls(log: str | Path | Sequence[str | Path] | Iterable[bytes], options: Options | None = None) -> Trace:
    """Reads a log, or several as if they were one: names of files, `-` for standard input, or lines as bytes.

    Raises UnreadableLog where a file cannot be read; nothing in a file raises.
    """
    tracer = Tracer(options or Options())
    for name in [log] if isinstance(log, str | os.PathLike) else log:
        if isinstance(name, bytes):
            tracer.read([name if name.endswith(b"\n") else name + b"\n"])
            continue
        with opened(str(name)) as stream:
            tracer.read(blocks(stream))
    return tracer.result()


class Tracer:
    """Takes a log block by block. What it keeps grows with the persons, not with the log."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._reader = Reader(options.format, options.fields)
        self._scan = Scan(self._reader)
        self._importer = _Importer(options)
        self._automaton = Fallback(gap_s=options.gap_s)
        self._seeded = {person_key(person_id) for person_id in options.seeded}
        self._unseeded = {person_key(person_id) for person_id in options.unseeded}
        self._photo_calls = 0
        self._unread: dict[str, str] = {}
        """Persons of whom a line says too little, and what of it."""
        self._waiting: list[tuple[float, int, PhotosCall]] = []
        self._newest = float("-inf")
        self._began = options.from_start
        """Whether an import was seen to begin."""

    def read(self, blocks: Iterable[bytes]) -> None:
        """Takes the next blocks of whole lines."""
        for number, line in self._scan.candidates(blocks):
            record = self._reader.read(line)
            if not isinstance(record, Unread):
                self._take(number, record)
            elif record is Unread.BROKEN:
                self._scan.broken += 1
                self._take_broken(number, line)

    def _take_broken(self, number: int, line: bytes) -> None:
        for found in _NAMED.finditer(line):
            # what else is written to a log may name a person too
            if b'"GET ' in line or _JSON_RECORD.search(line, 0, found.start()):
                reason = f"line {number} is broken, and may be a call for this person"
                self._unread.setdefault(person_key(found[1].decode()), reason)

    def _take(self, number: int, record: Record) -> None:
        asked = _photos_target(record.target) if record.method == "GET" else None
        if asked is None:
            return
        self._photo_calls += 1
        person_id, query = asked
        is_importer = self._importer.made(record)
        if is_importer is None:
            reason = f"line {number} does not tell whether it is the importer's"
            self._unread.setdefault(person_id, reason)
        elif is_importer:
            seed_only, offset = read_query(query)
            outcome = self._outcome(person_id, record)
            self._in_order(PhotosCall(person_id, seed_only, outcome, record.at, number, offset))

    def _outcome(self, person_id: str, record: Record) -> Outcome:
        status, size = record.status, record.size
        if status is not None and (not 200 <= status < 300 or status in (204, 205)) and status != 304:
            return Outcome.FAILED
        if size and status != 304:
            return Outcome.EMPTY if size < SMALLEST_PHOTO_LIST_BYTES else Outcome.ROWS
        if status is not None and person_id in self._seeded:
            return Outcome.ROWS
        return Outcome.EMPTY if status is not None and person_id in self._unseeded else Outcome.UNKNOWN

    def _in_order(self, call: PhotosCall) -> None:
        if call.at is None:
            self._release(float("inf"))
            self._feed(call)
            return
        heapq.heappush(self._waiting, (call.at, call.where, call))
        self._newest = max(self._newest, call.at)
        self._release(self._newest - REORDER_S)

    def _release(self, until: float) -> None:
        while self._waiting and self._waiting[0][0] < until:
            self._feed(heapq.heappop(self._waiting)[2])

    def _feed(self, call: PhotosCall) -> None:
        begins = call.seed_only is True and not call.offset
        if not begins and not self._automaton.knows(call.person_id) and self._at_head(call):
            self._automaton.new_import(call.person_id, from_start=False)
        self._began = self._began or begins
        self._automaton.feed(call)

    def _at_head(self, call: PhotosCall) -> bool:
        """Whether an import of which this is a call may have begun before the log."""
        if self._options.from_start or call.at is None:
            return not self._began
        if self._scan.head_at is None:
            self._scan.head_at = call.at
        return call.at - self._scan.head_at <= self._options.gap_s

    def result(self) -> Trace:
        """What the log has shown, if no line follows."""
        self._release(float("inf"))
        persons = dict.fromkeys([*self._automaton.persons(), *self._unread])
        return Trace(tuple(map(self._person, persons)), self._scan.lines, self._photo_calls, self._scan.broken)

    def _person(self, person_id: str) -> TracedPerson:
        if person_id in self._unread:
            return TracedPerson(person_id, "undecided", reason=self._unread[person_id])
        ruling = self._automaton.ruling(person_id)
        if ruling.verdict != "violating":
            reason = re.sub(r"\bcall(?= \d)", "line", ruling.reason)
            return TracedPerson(
                person_id, ruling.verdict, reason=reason, fell_back=self._automaton.fell_back(person_id)
            )
        reason = "; ".join(
            f"{breach.clause}: " + ", ".join(f"line {line} {text}" for line, text in _evidence(breach))
            for breach in ruling.breaches
        )
        return TracedPerson(person_id, "violating", ruling.clauses, ruling.calls, reason, _timeline(ruling.breaches))


# --- calls -----------------------------------------------------------------------------------------------------------


def _photos_target(target: str) -> tuple[str, str] | None:
    """Person and query of a photos call, or None."""
    path, _, query = target.partition("#")[0].partition("?")
    found = _PATH.fullmatch(unquote(path) if "%" in path else path)
    return (person_key(found[1]), query) if found else None


def person_key(text: str) -> str:
    """A person's id in the one spelling by which it is known here."""
    key = text.lower()
    if _UUID.fullmatch(key):
        return key
    from uuid import UUID  # only for odd spellings

    try:
        return str(UUID(key))
    except ValueError:
        return text


class _Importer:
    """Whose calls are the importer's."""

    def __init__(self, options: Options) -> None:
        self._clients = {address(text) for text in options.clients}
        self._ignored = {address(text) for text in options.ignore_clients}
        self._user_agents = [text.casefold() for text in options.user_agents]
        self._may_be_ours = options.suite_called and not self._ignored

    def made(self, record: Record) -> bool | None:
        """Whether the importer made the call; None where the line does not tell."""
        answers = list(self._answers(record))
        return False if False in answers else None if None in answers else True

    def _answers(self, record: Record) -> Iterator[bool | None]:
        if self._clients or self._ignored:
            client = None if record.client in (None, "", "-") else address(record.client or "")
            if self._clients:
                yield None if client is None else client in self._clients
            if self._ignored:
                yield None if client is None else client not in self._ignored
        if self._user_agents:
            agent = record.user_agent
            yield None if agent is None else any(text in agent.casefold() for text in self._user_agents)
        elif not self._clients:
            in_doubt = record.user_agent is None and self._may_be_ours
            yield None if in_doubt else not (record.user_agent or "").lower().startswith(_OURS)


@lru_cache(maxsize=1024)
def address(text: str) -> str:
    """A client's address in one spelling, without its port."""
    from ipaddress import IPv6Address, ip_address  # only where addresses are compared

    text = text.strip()
    bracketed = re.fullmatch(r"\[(.*)\](?::\d+)?", text)
    with_port = re.fullmatch(r"([^:]+):\d+", text)
    bare = bracketed[1] if bracketed else with_port[1] if with_port else text
    try:
        parsed = ip_address(bare)
    except ValueError:
        return bare.casefold()
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


# --- what the lines show ---------------------------------------------------------------------------------------------

_BEFORE = {
    "FALL-02": "asks seed_only=true and gets photos",
    "FALL-03": "asks seed_only=true and gets none, and no seed_only=false follows",
    "FALL-04": "asks seed_only=true and fails",
    "FALL-05": "is the last seed_only=true before it and no empty success",
}
_BREAKS = {
    "FALL-01": "asks seed_only=false first",
    "FALL-11": "does not say seed_only=true or seed_only=false",
}


def _evidence(breach: Breach) -> Iterator[Evidence]:
    *before, last = breach.calls
    if breach.clause in _BREAKS or (breach.clause == "FALL-05" and not before):
        yield Evidence(last, _BREAKS.get(breach.clause, "asks seed_only=false after no first page of seed_only=true"))
    elif not before:
        yield Evidence(last, _BEFORE[breach.clause])
    else:
        yield from (Evidence(line, _BEFORE[breach.clause]) for line in before)
        yield Evidence(last, "asks seed_only=false")


def _timeline(breaches: Sequence[Breach]) -> tuple[Evidence, ...]:
    """The evidence of all breaches by line, each line once for each thing that it shows."""
    return tuple(sorted({evidence for breach in breaches for evidence in _evidence(breach)}))
