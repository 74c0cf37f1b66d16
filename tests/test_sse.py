"""The stream's grammar: bytes to events however they are cut, and what is wrong with a stream."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import contracts
from conformance.sse import Event, Parser, Role, parse, problems

SENT = ("http://x/a.png", "http://x/b.png")


def shown(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.type, event.data) for event in events]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'data: {"a":1}\n\n', [("message", '{"a":1}')]),
        (b"\xef\xbb\xbfdata: 1\n\n", [("message", "1")]),
        (b"data: 1\r\rdata: 2\r\n\r\n", [("message", "1"), ("message", "2")]),
        (b"event: ping\n\ndata: 1\n\n", [("message", "1")]),
        (b"event: x\nid: 7\nretry: 10\n: note\ndata: 1\nunknown: y\n\n", [("x", "1")]),
        (b"data:1\ndata\ndata:  2\n\n", [("message", "1\n\n 2")]),
        (b" data: 1\n\ndatas: 2\n\n", []),
        (b"data: 1", [("message", "1")]),
        (b"data: 1\n", [("message", "1")]),
        ("data: \u2028 \x85 \x0c\n\n".encode(), [("message", "\u2028 \x85 \x0c")]),
        (b"data: \xff\n\n", [("message", "\ufffd")]),
        (b"", []),
    ],
)
def test_bytes_become_events(content: bytes, expected: list[tuple[str, str]]) -> None:
    assert shown(parse(content)) == expected


_line = st.one_of(
    st.builds("data: {}".format, st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=6)),
    st.sampled_from(["", "", ":", ": note", "event: x", "id: 1", "retry: 3", "data", "data:", "other: y"]),
)


@given(
    lines=st.lists(_line, max_size=12),
    ends=st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=12, max_size=12),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=9),
    mark=st.booleans(),
)
def test_cuts_line_ends_and_comments_change_nothing(
    lines: list[str], ends: list[str], cuts: list[int], mark: bool
) -> None:
    """Any cutting, line ends, comments and a byte order mark give the events of the plain stream read at once."""
    # "\r" before an empty line that ends in "\n" would read as one "\r\n"
    endings = ends if "\r" not in ends else ["\r" if end == "\n" else end for end in ends]
    plain = "".join(f"{line}\n" for line in lines)
    other = "".join(f"{line}{end}" for line, end in zip(lines, endings, strict=False))
    content = (b"\xef\xbb\xbf" if mark else b"") + other.encode()
    parser, events, position = Parser(), [], 0
    for size in cuts * (len(content) // sum(cuts) + 1):
        events += parser.feed(content[position : position + size])
        position += size
    commented = "".join(f": note\n{line}\n" for line in lines)
    assert shown(events + parser.end()) == shown(parse(plain.encode())) == shown(parse(commented.encode()))


def test_event_is_there_with_its_blank_line() -> None:
    parser = Parser()
    assert parser.feed(b"data: 1\n") == []
    assert shown(parser.feed(b"\r")) == [("message", "1")]
    assert parser.feed(b"\n") == []
    assert parser.end() == []


def test_endless_line_is_read_in_linear_time() -> None:
    parser = Parser()
    for _ in range(20_000):
        assert parser.feed(b"data: x" * 10) == []
    assert len(parser.end()[0].data) == 20_000 * 70 - len("data: ")


@pytest.mark.parametrize(
    ("members", "role"),
    [
        ({"status": "success"}, Role.RESULT),
        ({"status": "downloading", "error": "x", "current": 1}, Role.RESULT),
        ({"status": ["success"]}, Role.OTHER),
        ({"imported": 0, "assets": []}, Role.SUMMARY),
        ({"imported": None, "assets": []}, Role.OTHER),
        ({"error": "x"}, Role.FAILURE),
        ({"error": None, "current": 1}, Role.OTHER),
        ([], Role.OTHER),
    ],
)
def test_roles_are_told_by_members(members: Any, role: Role) -> None:
    (event,) = parse(f"event: complete\ndata: {json.dumps(members)}\n\n".encode())
    assert event.role is role


# --- the whole -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """The members of a stream's events."""

    events: tuple[Any, ...]

    def broken(self) -> list[str]:
        content = "".join(f"data: {json.dumps(members)}\n\n" for members in self.events)
        return sorted({problem.clause for problem in problems(content.encode(), SENT)})


def final(url: str, status: str = "success", **members: Any) -> dict[str, Any]:
    named = {"media_asset_id": url.upper()} if status in ("success", "duplicate") else {}
    return {"url": url, "status": status, "current": SENT.index(url) + 1, "total": 2, **named, **members}


def summary(imported: int = 2, skipped: int = 0, errors: int = 0, **members: Any) -> dict[str, Any]:
    counts = {"imported": imported, "skipped_duplicates": skipped, "errors": ["x"] * errors}
    return {**counts, "assets": [], **members}


A, B = SENT
SOUND = {
    "two successes": (final(A), final(B), summary()),
    "another order": (final(B), final(A), summary()),
    "counted as they end": (final(B, current=1), final(A, current=2), summary()),
    "progress": ({"url": A, "current": 1, "total": 2, "status": "downloading"}, final(A), final(B), summary()),
    "error without status": (
        {"url": A, "current": 1, "error": "x"},
        final(B),
        summary(1, errors=1),
    ),
    "excluded counted": (final(A, "excluded"), final(B), summary(1, 1)),
    "excluded not counted": (final(A, "excluded"), final(B), summary(1, 0)),
    "heartbeats": ({}, 1, "ping", final(A), {"type": "ping"}, final(B), summary()),
    "no total": (final(A, total=None), final(B, total=None), summary()),
}
BROKEN = {
    "no final event": ((final(A), summary(1)), ["SSE-03"]),
    "two final events": ((final(A), final(A, "duplicate"), final(B), summary(2, 1)), ["SSE-03"]),
    "foreign url": ((final(A), {**final(B), "url": "http://x/c.png"}, summary()), ["SSE-03"]),
    "current from 0": ((final(A, current=0), final(B, current=1), summary()), ["SSE-03"]),
    "no current": ((final(A, current=None), final(B, current=None), summary()), ["SSE-03"]),
    "wrong total": ((final(A, total=3), final(B, total=3), summary()), ["SSE-03"]),
    "unknown status": ((final(A, "imported"), final(B), summary(1)), ["SSE-02"]),
    "error without current": (({"url": A, "error": "x"}, final(B), summary(1, errors=1)), ["SSE-02"]),
    "no asset": ((final(A, media_asset_id=None, asset_id="1"), final(B), summary()), ["SSE-04"]),
    "one asset for two": ((final(A), final(B, media_asset_id=A.upper()), summary()), ["SSE-04"]),
    "no summary": ((final(A), final(B)), ["SSE-06"]),
    "two summaries": ((final(A), final(B), summary(), summary()), ["SSE-06"]),
    "summary first": ((summary(), final(A), final(B)), ["SSE-06"]),
    "wrong imported": ((final(A), final(B), summary(1)), ["SSE-06"]),
    "errors forgotten": ((final(A), final(B, "error", error="x"), summary(1)), ["SSE-06"]),
    "duplicates forgotten": ((final(A), final(B, "duplicate"), summary(1)), ["SSE-06"]),
    "silent error": ((final(A), final(B, "error", error=""), summary(1, errors=1)), ["SSE-07"]),
    "stopped by an error": ((final(A, "error", error="x"), summary(0, errors=1)), ["SSE-07"]),
}


@pytest.mark.parametrize("events", SOUND.values(), ids=SOUND)
def test_sound_streams(events: tuple[Any, ...]) -> None:
    assert Told(events).broken() == []


@pytest.mark.parametrize(("events", "clauses"), BROKEN.values(), ids=BROKEN)
def test_broken_streams(events: tuple[Any, ...], clauses: list[str]) -> None:
    assert Told(events).broken() == clauses


@pytest.mark.parametrize(
    "content",
    [
        b'data:{"a":1}\n\n',
        b'data: {"a":\ndata: 1}\n\n',
        b"data: [DONE]\n\n",
        b"data: NaN\n\n",
        b"data: \n\n",
        b'data: {"a": "\xe9"}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: {}\ndata\n\n",
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_the_app_cannot_read(content: bytes) -> None:
    assert [problem.clause for problem in problems(content, SENT)] == ["SSE-01"]


@pytest.mark.parametrize("content", [b'{"imported": 2, "assets": []}', b"<html>\n</html>", b"\xff" * 99])
def test_what_is_no_stream(content: bytes) -> None:
    assert [problem.clause for problem in problems(content, SENT)] == ["SSE-01"]


@pytest.mark.parametrize("name", contracts.load().streams("valid"))
def test_valid_examples(name: str) -> None:
    example = contracts.load().streams("valid")[name]
    assert list(problems(example.content, example.images)) == []


@pytest.mark.parametrize("name", contracts.load().streams("invalid"))
def test_invalid_examples(name: str) -> None:
    example = contracts.load().streams("invalid")[name]
    found = {problem.clause for problem in problems(example.content, example.images)}
    assert example.breaks[0] in found
    assert found <= set(example.breaks)
