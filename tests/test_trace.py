"""`trr-conformance trace`: what it reads out of which log, whom it judges, and that nothing in a log can break it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.cli import main as trr_conformance
from conformance.fallback import Outcome, PhotosCall, read_query
from conformance.trace import Options, Trace, TracedPerson, Tracer, trace_calls
from conformance.trace.formats import FORMATS, Reader, Record, Unread, time_in, time_of
from conformance.trace.generate import IMPORTER, IMPORTER_ADDRESS, KINDS, generate, write_line
from conformance.trace.scan import BLOCK_BYTES, Scan, blocks, named
from tests.test_fallback import naive

ANN = "551c8e8f-9714-43ef-a93b-26400eeffb91"
BOB = "a9df125f-f210-4dbd-8ca5-244c2c9a886c"
PHOTOS = f"/api/v1/screenalytics/people/{ANN}/photos?seed_only=true"
AT = 1_770_379_200.0
"""2026-02-06T12:00:00Z."""

ROWS, EMPTY, UNSAID = 4321, 2, 0


def line(word: str, person_id: str = ANN, at: float = AT, **others: Any) -> bytes:
    """A line of the combined format: `T`, `F` or `N` (seed_only true, false, unsaid), then `e`, `r`, `x` or `u`."""
    query = {"T": "?seed_only=true", "F": "?seed_only=false", "N": ""}[word[0]]
    status, size = {"e": (200, EMPTY), "r": (200, ROWS), "x": (503, 21), "u": (200, UNSAID)}[word[-1]]
    given = {
        "form": "combined",
        "target": f"/api/v1/screenalytics/people/{person_id}/photos{query}",
        "status": status,
        "size": size,
        "at": at,
        "address": IMPORTER_ADDRESS,
        "user_agent": IMPORTER,
    }
    return write_line(**{**given, **others}).encode()


def head(form: str = "combined", before_s: float = 3600) -> bytes:
    """The first line of a log that began long before anything else in it."""
    return write_line(form, "/healthz", 200, 15, AT - before_s, "10.0.0.1", "probe").encode()


def traced(*lines: bytes, preceded: bool = True, **options: Any) -> Trace:
    """The trace of these lines, after a head."""
    return trace_calls([*([head()] if preceded else []), *lines], Options(**options))


def person(trace: Trace, person_id: str = ANN) -> TracedPerson:
    (found,) = [each for each in trace.persons if each.person_id == person_id]
    return found


def history(words: str, *, step_s: float = 1.0, **others: Any) -> list[bytes]:
    """One line for each word, a step apart."""
    return [line(word, at=AT + number * step_s, **others) for number, word in enumerate(words.split())]


# --- lines -----------------------------------------------------------------------------------------------------------

UVICORN = f'127.0.0.1:52324 - "GET {PHOTOS} HTTP/1.1" 200 OK'
COMBINED = f'10.0.0.7 - - [06/Feb/2026:12:00:00 +0000] "GET {PHOTOS} HTTP/1.1" 200 4321'

TEXT_LINES = {
    "uvicorn": (f"INFO:     {UVICORN}", Record("GET", PHOTOS, 200, None, None, "127.0.0.1", None)),
    "uvicorn, in colours": (
        f'\x1b[32mINFO\x1b[0m:     127.0.0.1:52324 - "\x1b[1mGET {PHOTOS} HTTP/1.1\x1b[0m" \x1b[32m200 OK\x1b[0m',
        Record("GET", PHOTOS, 200, None, None, "127.0.0.1", None),
    ),
    "uvicorn, status without a phrase": (
        f'INFO:     127.0.0.1:52324 - "GET {PHOTOS} HTTP/1.1" 499 ',
        Record("GET", PHOTOS, 499, None, None, "127.0.0.1", None),
    ),
    "uvicorn, IPv6": (
        f'INFO:     ::1:52324 - "GET {PHOTOS} HTTP/1.1" 200 OK',
        Record("GET", PHOTOS, 200, None, None, "::1", None),
    ),
    "uvicorn, unix socket": (
        f'INFO:      - "GET {PHOTOS} HTTP/1.1" 200 OK',
        Record("GET", PHOTOS, 200, None, None, None, None),
    ),
    "uvicorn, with a time": (
        f"2026-02-06 12:00:00,500 INFO uvicorn.access {UVICORN}",
        Record("GET", PHOTOS, 200, None, AT + 0.5, "127.0.0.1", None),
    ),
    "uvicorn, docker compose": (
        f"backend-1  | INFO:     {UVICORN}",
        Record("GET", PHOTOS, 200, None, None, "127.0.0.1", None),
    ),
    "uvicorn, kubernetes": (
        f"2026-02-06T12:00:00.123456789Z stdout F INFO:     {UVICORN}",
        Record("GET", PHOTOS, 200, None, AT + 0.123456, "127.0.0.1", None),
    ),
    "combined": (f'{COMBINED} "-" "httpx"', Record("GET", PHOTOS, 200, 4321, AT, "10.0.0.7", "httpx")),
    "combined, nothing known": (
        f'10.0.0.7 - - [06/Feb/2026:12:00:00 +0000] "GET {PHOTOS} HTTP/1.1" 000 - "-" "-"',
        Record("GET", PHOTOS, 0, None, AT, "10.0.0.7", ""),
    ),
    "combined, HTTP/2": (
        f'::1 - ann [06/Feb/2026:14:00:00 +0200] "GET {PHOTOS} HTTP/2.0" 200 2 "-" "-"',
        Record("GET", PHOTOS, 200, 2, AT, "::1", ""),
    ),
    "combined, more fields": (
        f'{COMBINED} "https://a.example/" "a \\"b\\" c" "203.0.113.9, 10.0.0.1" 0.012 0.010 upstream:8000 -',
        Record("GET", PHOTOS, 200, 4321, AT, "10.0.0.7", 'a \\"b\\" c'),
    ),
    "combined, virtual host": (
        f'a.example:443 {COMBINED} "-" "-"',
        Record("GET", PHOTOS, 200, 4321, AT, "10.0.0.7", ""),
    ),
    "combined, Hypercorn": (
        f'10.0.0.7:5 - - [06/Feb/2026:12:00:00 +0000] "GET {PHOTOS} 1.1" 200 2 "-" "httpx"',
        Record("GET", PHOTOS, 200, 2, AT, "10.0.0.7:5", "httpx"),
    ),
    "combined, journald": (
        f'Feb 06 12:00:01 host nginx[7]: {COMBINED} "-" "-"',
        Record("GET", PHOTOS, 200, 4321, AT, "10.0.0.7", ""),
    ),
    "combined, a user with spaces": (
        f'10.0.0.7 - Ann Lee Bo [06/Feb/2026:12:00:00 +0000] "GET {PHOTOS} HTTP/1.1" 200 4321 "-" "-"',
        Record("GET", PHOTOS, 200, 4321, AT, "10.0.0.7", ""),
    ),
    "common": (COMBINED, Record("GET", PHOTOS, 200, 4321, AT, "10.0.0.7", None)),
}


@pytest.mark.parametrize("text, record", TEXT_LINES.values(), ids=TEXT_LINES)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"], ids=["bare", "LF", "CRLF"])
def test_reads_lines_of_text(text: str, record: Record, ending: str) -> None:
    assert Reader().read((text + ending).encode()) == record


JSON_LINES: dict[str, tuple[dict[str, Any], Record]] = {
    "nginx": (
        {
            "time_iso8601": "2026-02-06T12:00:00+00:00",
            "remote_addr": "10.0.0.7",
            "request_method": "GET",
            "request_uri": PHOTOS,
            "status": "200",
            "body_bytes_sent": "2",
            "bytes_sent": "212",
            "http_user_agent": "httpx",
        },
        Record("GET", PHOTOS, 200, 2, AT, "10.0.0.7", "httpx"),
    ),
    "nginx, request line": (
        {"time_local": "06/Feb/2026:12:00:00 +0000", "request": f"GET {PHOTOS} HTTP/1.1", "status": 200},
        Record("GET", PHOTOS, 200, None, AT, None, None),
    ),
    "Caddy": (
        {
            "ts": AT,
            "msg": "handled request",
            "request": {
                "remote_ip": "10.0.0.7",
                "method": "GET",
                "uri": PHOTOS,
                "headers": {"User-Agent": ["httpx"], "Content-Length": ["7"]},
            },
            "size": 2,
            "status": 200,
        },
        Record("GET", PHOTOS, 200, 2, AT, "10.0.0.7", "httpx"),
    ),
    "pino": (
        {
            "time": AT * 1000,
            "req": {"method": "GET", "url": PHOTOS, "remoteAddress": "10.0.0.7", "headers": {"user-agent": "httpx"}},
            "res": {"statusCode": 200, "headers": {"content-length": "2"}},
        },
        Record("GET", PHOTOS, 200, 2, AT, "10.0.0.7", "httpx"),
    ),
    "Elastic": (
        {
            "@timestamp": "2026-02-06T12:00:00.000Z",
            "url": {"path": PHOTOS.partition("?")[0], "query": "seed_only=true"},
            "http": {
                "request": {"method": "GET", "body": {"bytes": 99}},
                "response": {"status_code": 200, "body": {"bytes": 2}},
            },
            "client": {"ip": "10.0.0.7"},
            "user_agent": {"original": "httpx"},
        },
        Record("GET", PHOTOS, 200, 2, AT, "10.0.0.7", "httpx"),
    ),
    "Google Cloud": (
        {
            "timestamp": "2026-02-06T12:00:00Z",
            "httpRequest": {
                "requestMethod": "GET",
                "requestUrl": f"https://a.example{PHOTOS}",
                "status": 200,
                "responseSize": "212",
                "remoteIp": "10.0.0.7",
                "userAgent": "httpx",
            },
        },
        Record("GET", f"https://a.example{PHOTOS}", 200, None, AT, "10.0.0.7", "httpx"),
    ),
    "query as an object": (
        {"path": PHOTOS.partition("?")[0], "query": {"seed_only": "true"}, "status": 200, "bytes": 2},
        Record("GET", PHOTOS, 200, 2, None, None, None),
    ),
    "docker": (
        {"log": f"INFO:     {UVICORN}\n", "stream": "stdout", "time": "2026-02-06T12:00:00.000000000Z"},
        Record("GET", PHOTOS, 200, None, AT, "127.0.0.1", None),
    ),
    "no status": ({"path": PHOTOS}, Record("GET", PHOTOS, None, None, None, None, None)),
}


@pytest.mark.parametrize("value, record", JSON_LINES.values(), ids=JSON_LINES)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["dense", "loose"])
@pytest.mark.parametrize("slash", ["/", "\\/"], ids=["plain", "escaped"])
def test_reads_json_lines(value: dict[str, Any], record: Record, separators: tuple[str, str], slash: str) -> None:
    assert Reader().read(json.dumps(value, separators=separators).replace("/", slash).encode()) == record


def test_json_fields_are_configurable() -> None:
    value = {
        "a": {"b": {"where": PHOTOS}},
        "c.d": 200,
        "len": 2,
        "when": AT,
        "who": "10.0.0.7",
        "status": "odd",
        "path": 1,
    }
    fields = {"path": "a.b.where", "status": "c.d", "bytes": "len", "time": "when", "client": "who"}
    read = Reader("json", fields).read(json.dumps(value).encode())
    assert read == Record("GET", PHOTOS, 200, 2, AT, "10.0.0.7", None)


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        "\x00\x01\x02",
        "Traceback (most recent call last):",
        *(text[: len(text) // 2] for text, _ in TEXT_LINES.values()),
        COMBINED.partition(" 200")[0],
        f'{COMBINED} "-" "cut sho',
        '{"half": ',
        "[" * 100_000 + "}",
        '{"a":' * 100_000 + "}",
        "7",
        '"text"',
        "[1, 2]",
        '{"a": 1} trailing',
        '{"n": ' + "9" * 5000 + "}",
    ],
)
def test_broken_lines(text: str) -> None:
    assert Reader().read(text.encode()) is Unread.BROKEN


@pytest.mark.parametrize(
    "text",
    ["INFO:     Application startup complete.", "INFO:     Started server process [1]", '{"level": "info"}', "{}"],
)
def test_readable_lines_about_no_request(text: str) -> None:
    assert Reader().read(text.encode()) is Unread.OTHER


def test_a_line_of_fewer_fields_than_the_others_is_broken() -> None:
    reader = Reader()
    assert isinstance(reader.read(COMBINED.encode()), Record)
    assert isinstance(reader.read(f'{COMBINED} "-" "-"'.encode()), Record)
    assert reader.read(COMBINED.encode()) is Unread.BROKEN


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("given", FORMATS)
def test_a_given_format_is_the_only_one(form: str, given: str) -> None:
    read = Reader(given).read(line("Tr", form=form))
    assert isinstance(read, Record) is (form == given)


@pytest.mark.parametrize(
    "text, at",
    [
        ("06/Feb/2026:13:00:00 +0100", AT),
        ("06/Feb/2026:07:00:00 -0500", AT),
        ("2026-02-06T12:00:00Z", AT),
        ("2026-02-06 12:00:00.25 +0000", AT + 0.25),
        ("2026-02-06 13:00:00,25+01:00", AT + 0.25),
        ("2026-02-06 12:00:00 UTC", AT),
        ("31/Feb/2026:12:00:00 +0000", None),
        ("2026-13-06T12:00:00Z", None),
        ("no time", None),
    ],
)
def test_times_in_text(text: str, at: float | None) -> None:
    assert time_in(text) == at


@pytest.mark.parametrize("unit", [1, 1e3, 1e6, 1e9], ids=["s", "ms", "us", "ns"])
def test_times_as_numbers(unit: float) -> None:
    assert time_of(AT * unit) == time_of(str(int(AT * unit))) == pytest.approx(AT)


@pytest.mark.parametrize("value", [None, True, -1, float("nan"), float("inf"), "nan", "", [], {}, 10**400])
def test_times_that_are_none(value: Any) -> None:
    assert time_of(value) is None


# --- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        f"/screenalytics/people/{ANN}/photos?seed_only=false",
        f"/trr/api/v2/screenalytics/people/{ANN}/photos/?seed_only=false",
        f"https://a.example:8443/api/v1/screenalytics/people/{ANN}/photos?seed_only=false#top",
        f"/api/v1/screenalytics/people/{ANN.upper()}/photos?limit=5&seed_only=false&offset=0",
        f"/api/v1/screenalytics/people/{ANN.replace('-', '%2D')}/photos?seed%5Fonly=%66alse",
        f"/api/v1/screenalytics%2Fpeople%2F{ANN}%2Fphotos?seed_only=false",
        f"/api/v1/screenalytics/people/{ANN.replace('-', '')}/photos?seed_only=false",
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_photos_calls(target: str, form: str) -> None:
    trace = trace_calls([head(form), line("Tr", BOB, form=form), line("Fr", form=form, target=target)])
    assert trace.photo_calls == 2
    assert person(trace).clauses == ("FALL-01",)


@pytest.mark.parametrize(
    "target",
    [
        f"/api/v1/admin/person/{ANN}/gallery/photos",
        f"/api/v1/screenalytics/people/{ANN}/photos/1?seed_only=true",
        f"/api/v1/screenalytics/people/{ANN}/photosets?seed_only=true",
        "/api/v1/screenalytics/people//photos?seed_only=true",
        f"/search?next=/api/v1/screenalytics/people/{ANN}/photos",
    ],
)
def test_other_calls(target: str) -> None:
    trace = traced(line("Tr", target=target))
    assert (trace.lines, trace.photo_calls, trace.broken_lines, trace.persons) == (2, 0, 0, ())


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST"])
def test_other_methods_are_no_photos_calls(method: str) -> None:
    assert traced(line("Fr").replace(b'"GET', f'"{method}'.encode())).photo_calls == 0


@pytest.mark.parametrize(
    "query, said",
    [
        ("seed_only=true", (True, 0)),
        ("limit=9&seed_only=false&offset=50", (False, 50)),
        ("seed_only=tru%65", (True, 0)),
        *((query, (None, 0)) for query in ("", "seed_only", "seed_only=", "seed_only=True", "seed_only=1")),
        ("seed_only=true&seed_only=true", (None, 0)),
        ("seed_only=true&offset=-1", (True, 0)),
        ("seed_only=true&offset=²", (True, 0)),
    ],
)
def test_queries(query: str, said: tuple[bool | None, int]) -> None:
    assert read_query(query) == said


@pytest.mark.parametrize(
    "status, size, then_alone, then_fallback",
    [
        (200, 2, "violating FALL-03", "conforming"),
        (200, 3, "violating FALL-03", "conforming"),
        (200, 22, "violating FALL-03", "conforming"),
        (200, 27, "conforming", "violating FALL-02"),
        (200, 0, "undecided", "undecided"),
        (304, 0, "undecided", "undecided"),
        *(
            (status, size, "conforming", "violating FALL-04")
            for status, size in [
                (204, 0),
                (307, 0),
                (401, 30),
                (404, 2),
                (422, 90),
                (429, 0),
                (499, 0),
                (503, 2),
                (0, 0),
            ]
        ),
    ],
)
def test_what_came_of_a_call(status: int, size: int, then_alone: str, then_fallback: str) -> None:
    call = line("Tr", status=status, size=size).replace(b" 0 0 ", b" 000 0 ")
    told = [person(traced(call, *more)) for more in ((), (line("Fr", at=AT + 1),))]
    assert [" ".join([each.verdict, *each.clauses]) for each in told] == [then_alone, then_fallback]


@pytest.mark.parametrize(
    "known, alone, fallback", [("seeded", "conforming", "violating"), ("unseeded", "violating", "conforming")]
)
def test_known_persons_decide_where_no_size_does(known: str, alone: str, fallback: str) -> None:
    options = {known: frozenset([ANN.upper()])}
    assert person(traced(line("Tu"), **options)).verdict == alone
    assert person(traced(*history("Tu Fr"), **options)).verdict == fallback
    assert person(traced(*history("Te Fr"), **options)).verdict == "conforming", "a known size goes before"


# --- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words, kind", KINDS.items(), ids=KINDS)
@pytest.mark.parametrize("form", FORMATS)
def test_verdicts(form: str, words: str, kind: Any) -> None:
    known = "seeded" if "r" in words[:2] else "unseeded"
    targets = [f"/api/v1/screenalytics/people/{ANN}/photos?{query}" for query, _, _ in kind.calls]
    calls = [
        line("Tr", form=form, target=target, status=status, size=size, at=AT + number)
        for number, (target, (_, status, size)) in enumerate(zip(targets, kind.calls, strict=True))
    ]
    trace = trace_calls([head(form), line("Tx", BOB, form=form), *calls], Options(**{known: frozenset([ANN])}))
    found = person(trace)
    assert found.verdict == ("violating" if kind.clauses else "conforming")
    assert found.clauses == tuple(sorted(kind.clauses))
    assert bool(found.lines) is bool(found.reason) is bool(kind.clauses)


def test_a_violation_names_its_lines() -> None:
    found = person(traced(*history("Tr"), line("Tr", BOB, at=AT + 1), line("Fr", at=AT + 2)))
    assert found.lines == (2, 4)
    assert found.reason == "FALL-02: line 2 asks seed_only=true and gets photos, line 4 asks seed_only=false"
    assert [number for number, _ in found.timeline] == [2, 4]


def test_a_doubt_names_its_line() -> None:
    assert "line 2 " in person(traced(line("Tu"))).reason


@pytest.mark.parametrize("form", FORMATS)
def test_a_torn_line_leaves_its_person_undecided(form: str) -> None:
    first, then = (line(word, form=form, at=AT + number) for number, word in enumerate(["Tx", "Te"]))
    torn = then[: then.index(b"seed_only")] + b"\n"
    for broken in (torn, then.rstrip(b"\n") + line("Te", BOB, form=form, at=AT + 1)):
        trace = traced(first, broken, line("Fr", form=form, at=AT + 2))
        assert person(trace).verdict == "undecided"
        assert "line 3 " in person(trace).reason
        assert trace.broken_lines == 1


def test_imports_end_at_a_gap() -> None:
    words = history("Tr Fr", step_s=100)
    assert person(traced(*words)).clauses == ("FALL-02",)
    assert person(traced(*words, gap_s=99)).clauses == ("FALL-01",)
    assert person(traced(*history("Te Fr Te Fr", step_s=599))).verdict == "conforming"


def test_workers_may_write_their_lines_late() -> None:
    first, then = line("Te", at=AT), line("Fr", at=AT + 1)
    assert person(traced(then, first)).verdict == "conforming"
    assert person(traced(then, first, line("Tr", BOB, at=AT + 60))).verdict == "conforming"


@pytest.mark.parametrize("form", FORMATS)
def test_a_log_may_begin_in_the_middle_of_an_import(form: str) -> None:
    lines = [line(word, form=form, at=AT + number) for number, word in enumerate(["Fr", "F+r"])]
    trace = trace_calls([*lines, line("Tr", BOB, form=form, at=AT + 9)], Options(seeded=frozenset([BOB])))
    assert person(trace).verdict == "undecided"
    assert person(trace, BOB).verdict == "conforming"


def test_a_gap_after_its_beginning_a_log_has_whole_imports() -> None:
    assert person(traced(head(), line("Fr", at=AT + 601 - 3600), preceded=False)).clauses == ("FALL-01",)
    assert person(traced(head(), line("Fr", at=AT + 599 - 3600), preceded=False)).verdict == "undecided"
    assert person(traced(line("Fr"), preceded=False, from_start=True)).clauses == ("FALL-01",)


def test_what_began_before_the_log_is_still_judged_by_what_follows() -> None:
    assert person(traced(*history("Fr Tr Fr"), preceded=False)).clauses == ("FALL-02",)


# --- whose calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "agent", ["curl/8.5.0", "PostmanRuntime/7.43.0", "Mozilla/5.0 (X11; Linux x86_64)", "trr-conformance/1.0.0 (run 7)"]
)
def test_the_suites_own_calls_and_those_of_persons_are_not_the_importers(agent: str) -> None:
    others = line("Fr", at=AT + 1, user_agent=agent)
    assert person(traced(line("Tr"), others)).verdict == "conforming"
    assert person(traced(line("Tr", user_agent=agent), others, user_agents=(agent,))).clauses == ("FALL-02",)


@pytest.mark.parametrize(
    "options",
    [
        {"clients": frozenset(["10.0.0.7"])},
        {"clients": frozenset(["::ffff:10.0.0.7"])},
        {"ignore_clients": frozenset(["2001:db8::9"])},
        {"user_agents": ("HTTPX",)},
        {"clients": frozenset(["10.0.0.7"]), "user_agents": ("httpx",)},
    ],
)
def test_the_importers_calls_can_be_told_apart(options: dict[str, Any]) -> None:
    other = line("Fr", at=AT + 1, address="2001:DB8:0::9", user_agent="Mozilla/5.0")
    trace = traced(line("Tr"), other, line("Fr", BOB, address="2001:db8::9", user_agent="-"), **options)
    assert [each.person_id for each in trace.persons] == [ANN]
    assert person(trace).verdict == "conforming"
    assert trace.photo_calls == 3


@pytest.mark.parametrize(
    "form, options",
    [
        ("uvicorn", {"user_agents": ("httpx",)}),
        ("json", {"clients": frozenset(["10.0.0.7"]), "fields": {"client": "nowhere"}}),
        ("json", {"ignore_clients": frozenset(["10.0.0.9"]), "fields": {"client": "nowhere"}}),
    ],
)
def test_calls_that_cannot_be_attributed_are_undecided(form: str, options: dict[str, Any]) -> None:
    trace = trace_calls([line(word, form=form, at=AT + 1) for word in ("Tr", "Fr")], Options(**options))
    assert person(trace).verdict == "undecided"
    assert person(trace).reason == "line 1 does not tell whether it is the importer's"


# --- laws ------------------------------------------------------------------------------------------------------------

CALLS = st.builds(
    PhotosCall,
    person_id=st.sampled_from([ANN, BOB]),
    seed_only=st.sampled_from([True, True, True, False, False, None]),
    outcome=st.sampled_from([Outcome.EMPTY, Outcome.ROWS, Outcome.FAILED]),
    at=st.none(),
    where=st.just(0),
    offset=st.sampled_from([0, 0, 0, 50]),
)


def written(call: PhotosCall, form: str, at: float) -> bytes:
    """A call as a line of a log."""
    said = {True: "seed_only=true", False: "seed_only=false", None: "limit=200"}[call.seed_only]
    status, size = {Outcome.EMPTY: (200, 2), Outcome.ROWS: (200, 99), Outcome.FAILED: (500, 2)}[call.outcome]
    target = f"/api/v1/screenalytics/people/{call.person_id}/photos?{said}&offset={call.offset}"
    return line("Tr", form=form, target=target, status=status, size=size, at=at)


@settings(max_examples=60, deadline=None)
@given(history=st.lists(st.tuples(CALLS, st.integers(3, 80)), min_size=1, max_size=20))
@pytest.mark.parametrize("form", ["combined", "json"])
def test_equals_the_naive_checker(form: str, history: list[tuple[PhotosCall, int]]) -> None:
    at, lines, calls = AT, [head(form)], []
    for call, pause in history:
        at += pause
        lines.append(written(call, form, at))
        calls.append(call._replace(at=at))
    trace = trace_calls(lines, Options(gap_s=100))
    assert {each.person_id: (each.verdict, set(each.clauses)) for each in trace.persons} == naive(calls, marked=False)


@settings(max_examples=50, deadline=None)
@given(history=st.lists(CALLS.filter(lambda call: call.outcome is not Outcome.EMPTY), min_size=1, max_size=20))
def test_equals_the_naive_checker_without_times(history: list[PhotosCall]) -> None:
    trace = trace_calls(
        [written(call, "uvicorn", AT) for call in history], Options(seeded=frozenset([ANN, BOB]), from_start=True)
    )
    assert {each.person_id: (each.verdict, set(each.clauses)) for each in trace.persons} == naive(history, marked=False)


class Chunks:
    """A stream that gives its bytes in pieces of its own choosing."""

    def __init__(self, data: bytes, sizes: Sequence[int]) -> None:
        self._data, self._sizes, self._reads = data, sizes, 0

    def read1(self, size: int = -1, /) -> bytes:
        self._reads += 1
        cut = self._sizes[self._reads % len(self._sizes)]
        piece, self._data = self._data[:cut], self._data[cut:]
        return piece


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=5), seed=st.integers(0, 9))
@pytest.mark.parametrize("form", FORMATS)
def test_however_the_bytes_arrive(tmp_path: Path, form: str, sizes: list[int], seed: int) -> None:
    path = tmp_path / f"{seed}.log"
    if not path.exists():
        generate(path, form=form, lines=300, people=20, broken=0.1, seed=seed)
    tracer = Tracer(Options())
    tracer.read(blocks(Chunks(path.read_bytes(), sizes)))
    assert tracer.result() == trace_calls(path)


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(
        st.binary(max_size=80)
        | st.builds(
            lambda text, start, end, put: text[:start] + put + text[end:],
            st.sampled_from([line(word, form=form) for form in FORMATS for word in ("Tr", "Fx")]),
            st.integers(0, 200),
            st.integers(0, 200),
            st.binary(max_size=5),
        )
    ),
    format=st.sampled_from([None, *FORMATS]),
)
def test_nothing_in_a_log_raises(lines: list[bytes], format: str | None) -> None:
    trace = trace_calls(lines, Options(format=format))
    assert trace.lines == sum(text.count(b"\n") + (not text.endswith(b"\n")) for text in lines)
    assert 0 <= trace.broken_lines <= trace.lines
    json.dumps(trace.as_json()).encode()


# --- whole logs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form, rounds", [("uvicorn", 1), ("combined", 1), ("combined", 3), ("json", 3)])
def test_generated_logs_with_known_answers(tmp_path: Path, form: str, rounds: int) -> None:
    answers = generate(tmp_path / "access.log", form=form, lines=20_000, people=200, rounds=rounds)
    known = Options(seeded=answers.seeded, unseeded=answers.unseeded) if form == "uvicorn" else Options()
    trace = trace_calls(tmp_path / "access.log", known)
    assert {each.person_id: (each.verdict, frozenset(each.clauses)) for each in trace.persons} == {
        person_id: ("violating" if clauses else "conforming", clauses) for person_id, clauses in answers.clauses.items()
    }
    figures = (trace.lines, trace.photo_calls, trace.broken_lines)
    assert figures == (answers.lines, answers.photo_calls, answers.broken_lines)


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        generate(tmp_path / "access.log", lines=lines, people=100)
        tracemalloc.start()
        trace_calls(tmp_path / "access.log")
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    assert peak(32_000) < peak(4_000) + 2**18 < 2**22


def test_a_line_without_end_is_one_broken_line() -> None:
    endless = [b"x" * BLOCK_BYTES] * 80
    tracer = Tracer(Options())
    tracemalloc.start()
    tracer.read(blocks(Pieces([head() + b"\n", *endless, b"\n", line("Fr")])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    trace = tracer.result()
    assert (trace.lines, trace.broken_lines, trace.photo_calls) == (3, 1, 1)
    assert peak < 4 * 2**20


class Pieces:
    """A stream that gives these pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def read1(self, size: int = -1, /) -> bytes:
        return next(self._pieces, b"")


def test_blank_lines_are_lines_and_not_broken() -> None:
    trace = traced(b"", b"\r", b"  ")
    assert (trace.lines, trace.broken_lines) == (4, 0)


# --- the command line ------------------------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command; returns exit code, output, errors."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        code = trr_conformance(["trace", *map(str, words)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    """Writes a log, after a head."""

    def write(*lines: bytes, name: str = "access.log") -> Path:
        path = tmp_path / name
        text = b"\n".join([head(), *lines, b""])
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
        return path

    return write


def test_json_output(run: Run, log: Callable[..., Path]) -> None:
    code, output, _ = run(log(*history("Tr Fr"), line("Tu", BOB), b"garbage"), "--json")
    document = json.loads(output)
    ann, bob = document["persons"]
    assert code == 1
    assert set(document) == {"persons", "lines", "photo_calls", "broken_lines"}
    assert (document["lines"], document["photo_calls"], document["broken_lines"]) == (5, 3, 1)
    assert set(ann) == {"person_id", "verdict", "clauses", "lines", "reason"}
    assert (ann["person_id"], ann["verdict"], ann["clauses"], ann["lines"]) == (ANN, "violating", ["FALL-02"], [2, 3])
    assert (bob["person_id"], bob["verdict"], bob["clauses"], bob["lines"]) == (BOB, "undecided", [], [])
    assert bob["reason"].startswith("FALL-03")


def test_text_output(run: Run, log: Callable[..., Path]) -> None:
    code, output, _ = run(log(*history("Te Fr"), line("Fr", BOB)))
    assert code == 1
    assert output.splitlines() == [
        f"{BOB}  violating FALL-01",
        "    line 4 asks seed_only=false first",
        "1 violating, 0 undecided, 1 conforming; 4 lines, 3 photos calls, 0 broken lines",
    ]


@pytest.mark.parametrize("words, code", [("Te Fr", 0), ("Tr Fr", 1), ("Tu", 5), ("", 5)])
def test_exit_codes(run: Run, log: Callable[..., Path], words: str, code: int) -> None:
    assert run(log(*history(words)))[0] == code


def test_several_files_are_one_log(run: Run, log: Callable[..., Path], tmp_path: Path) -> None:
    older = log(line("Tr"), name="access.log.2.gz")
    newer = log(line("Fr", at=AT + 1), name="access.log.1")
    log(line("Tr", BOB, at=AT + 2), name="access.log")
    for words in ([older, newer], [tmp_path / "access.log*"]):
        code, output, _ = run(*words, "--json")
        assert (code, json.loads(output)["persons"][0]["lines"]) == (1, [2, 4])


def test_rotated_logs_are_read_from_the_oldest(tmp_path: Path) -> None:
    for name in ("access.log", "access.log.1", "access.log.2.gz", "access.log.10.gz", "access.log-20260205"):
        (tmp_path / name).touch()
    found = [Path(name).name for name in named([str(tmp_path / "access*")])]
    assert found == ["access.log-20260205", "access.log.10.gz", "access.log.2.gz", "access.log.1", "access.log"]


@pytest.mark.parametrize("zipped", [False, True])
def test_standard_input(zipped: bool) -> None:
    text = b"\n".join([head(), *history("Tr Fr")])
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "trace", "-", "--json"],
        input=gzip.compress(text[:50]) + gzip.compress(text[50:]) if zipped else text,
        capture_output=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert (done.returncode, json.loads(done.stdout)["persons"][0]["lines"], done.stderr) == (1, [2, 3], b"")


@pytest.mark.parametrize(
    "words, about",
    [
        ([], "FILE"),
        (["{tmp}/missing.log"], "missing.log: No such file"),
        (["{tmp}/missing*.log"], "missing*.log: no such file"),
        (["{tmp}"], "Is a directory"),
        (["{tmp}/cut.gz"], "cut.gz: broken gzip"),
        (["{tmp}/bad.gz"], "bad.gz: broken gzip"),
        (["-", "--gap", "0"], "--gap"),
        (["-", "--gap", "nan"], "--gap"),
        (["-", "--field", "nonsense=a"], "--field"),
        (["-", "--field", "path"], "--field"),
        (["-", "--field", "message=a"], "--field"),
        (["-", "--format", "syslog"], "--format"),
        (["-", "--nonsense"], "--nonsense"),
    ],
)
def test_usage_errors_are_one_line(run: Run, tmp_path: Path, words: list[str], about: str) -> None:
    zipped = gzip.compress(b"line\n" * 10_000)
    (tmp_path / "cut.gz").write_bytes(zipped[:-9])
    (tmp_path / "bad.gz").write_bytes(zipped[:20] + b"\xff" * 30)
    code, output, errors = run(*(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert (code, output, errors.count("\n")) == (4, "", 1)
    assert about in errors


def test_options_may_stand_anywhere(run: Run, log: Callable[..., Path]) -> None:
    path = log(line("Fr", form="json", at=AT))
    options = ["--gap", "5", "--seeded", ANN, "--unseeded", BOB, "--user-agent", "httpx", "--client", IMPORTER_ADDRESS]
    code, output, _ = run("--json", path, *options, "--ignore-client", "10.0.0.9", "--field", "path=path", path)
    assert (code, json.loads(output)["persons"][0]["clauses"]) == (1, ["FALL-01"])


def test_secrets_in_a_log_are_not_repeated(run: Run, log: Callable[..., Path]) -> None:
    secret = "s3cr3t-token"
    target = f"/api/v1/screenalytics/people/{ANN}/photos?seed_only={secret}&token={secret}"
    path = log(line("Fr", target=target, user_agent=secret), line("Fr", target=target))
    for words in ([path], [path, "--json"]):
        code, output, errors = run(*words)
        assert code == 1
        assert secret not in output + errors


def test_interrupted(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-m", "conformance", "trace", str(fifo)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    with fifo.open("wb"):
        # it is open at both ends: the trace is reading
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (2, "trr-conformance trace: interrupted\n")


def test_a_trace_loads_no_test_tool() -> None:
    """It starts at once: what it needs not is not loaded."""
    code = "import sys, conformance.cli; conformance.cli.main(['trace', '-']); print('pytest' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"", capture_output=True, check=True, cwd=Path(__file__).parent.parent
    )
    assert done.stdout.splitlines()[-1] == b"False"


def test_counts_broken_lines_as_a_reader_of_every_line_does(tmp_path: Path) -> None:
    for form in FORMATS:
        generate(tmp_path / form, form=form, lines=3_000, people=50, broken=0.2, seed=1)
        reader, scan = Reader(), Scan(Reader())
        with (tmp_path / form).open("rb") as file:
            one_by_one = sum(reader.read(each) is Unread.BROKEN for each in file)
        with (tmp_path / form).open("rb") as file:
            candidates = sum(1 for _ in scan.candidates(blocks(file)))
        assert (scan.broken, scan.lines, candidates > 0) == (one_by_one, 3_000, True)
