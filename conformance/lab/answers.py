"""What the lab can be told to answer: values that travel to it as JSON.

An `Answer` says what happens on the wire and, in `word`, what a timeline calls it. The functions here make the ones
that a contract has a name for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from typing import Any, Literal

Kind = Literal["response", "rows", "toggle", "reset", "close"]
Framing = Literal["length", "chunked"]
End = Literal["whole", "close", "reset", "hold"]
Pairs = tuple[tuple[str, str], ...]

JSON: Pairs = (("Content-Type", "application/json"),)
HTML: Pairs = (("Content-Type", "text/html; charset=utf-8"),)
PNG = "image/png"
EVENTS = "text/event-stream"
NOWHERE = "http://nowhere.invalid/photos"


@dataclass(frozen=True)
class Gate:
    """A place in a stream; what stands after it is sent once the gate, or the whole of the call's key, is released."""

    name: str = ""


@dataclass(frozen=True)
class Chunk:
    """A part of a stream, written and flushed by itself, once the gate before it is open."""

    data: str
    """One character for each byte."""
    gate: str | None = None


@dataclass(frozen=True)
class Answer:
    """One scripted answer.

    `response` sends status, headers and body; `rows` a page of the JSON array in `body`, cut by the call's `limit` and
    `offset`; `toggle` the contract's 200 for the request's own ids and value; `reset` (RST) and `close` (FIN) end the
    connection instead of answering.
    """

    kind: Kind
    word: str
    status: int = 200
    headers: Pairs = JSON
    body: str = ""
    """One character for each byte (Latin-1)."""
    framing: Framing = "length"
    missing: int = 0
    """Bytes of the end that are promised (by Content-Length or the last chunk) and not sent; the connection closes."""
    over_s: float = 0.0
    """Seconds over which the body is dripped."""
    held: bool = False
    """Whether nothing is sent before the call's key is released; a peer that leaves ends the wait."""
    chunks: tuple[Chunk, ...] = ()
    """The body, where its parts go out one by one."""
    step: int | None = None
    """Bytes that are written at once; None: a chunk, or the whole body."""
    filler: int = 0
    """How many zero bytes follow the body."""
    stated: int | None = None
    """The Content-Length that is stated where it is not the body's; more than that is not sent."""
    end: End = "whole"
    """How the body ends: well, by the end of the connection, by its reset, or not before the key is released."""
    gzip: bool = False
    """Whether the body is compressed where the caller takes that."""

    @property
    def size(self) -> int:
        """How many bytes the whole body has."""
        return (sum(len(chunk.data) for chunk in self.chunks) if self.chunks else len(self.body)) + self.filler

    @property
    def row_count(self) -> int:
        """How many rows the array in `body` has."""
        return len(json.loads(self.body))

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON-like data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Answer:
        """The inverse of `as_dict`; raises TypeError for members that an answer does not have."""
        headers = tuple((name, value) for name, value in data.get("headers", JSON))
        chunks = tuple(Chunk(**chunk) for chunk in data.get("chunks", ()))
        return cls(**{**data, "headers": headers, "chunks": chunks})


def rows(rows: Sequence[Any]) -> Answer:
    """200 with these rows, or the page of them that is asked for."""
    return Answer("rows", f"rows({len(rows)})" if rows else "empty", body=_text(list(rows)))


def reversed_rows(answer: Answer) -> Answer:
    """The same rows in the opposite order."""
    return replace(answer, body=_text(json.loads(answer.body)[::-1]))


def doubled_rows(answer: Answer) -> Answer:
    """The same rows twice."""
    return rows(json.loads(answer.body) * 2)


def empty() -> Answer:
    """200 with `[]`."""
    return rows(())


def status(code: int, body: Any = None, headers: Pairs = ()) -> Answer:
    """Any status, with a JSON body (default: `{"detail": its phrase}`) and more headers."""
    if code in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return Answer("response", str(code), code, headers)
    content = {"detail": HTTPStatus(code).phrase} if body is None else body
    return Answer("response", str(code), code, JSON + headers, _text(content))


def redirect(location: str = NOWHERE, code: int = 302) -> Answer:
    """A redirect to an address where nothing answers; its body is an empty array, for whoever does not look further."""
    return status(code, [], (("Location", location),))


def json_value(value: Any, word: str = "no array") -> Answer:
    """200 with any JSON value."""
    return Answer("response", word, body=_text(value))


def raw(body: bytes, word: str = "not JSON", headers: Pairs = JSON, code: int = 200) -> Answer:
    """Any status, headers and bytes."""
    return Answer("response", word, code, headers, body.decode("latin-1"))


def not_json() -> Answer:
    """200 with a web page."""
    return raw(b"<!doctype html><title>Service unavailable</title>", headers=HTML)


def cut_short(body: Any, *, framing: Framing = "length", missing: int | None = None) -> Answer:
    """200 whose body ends early: in the middle of its JSON, or `missing` bytes after a JSON text that is whole."""
    text = _text(body)
    if missing is None:
        missing = max(1, len(text) // 2)
    else:
        text += " " * missing
    return Answer("response", "cut short", body=text, framing=framing, missing=missing)


def slow(answer: Answer, over_s: float) -> Answer:
    """The same answer with its body dripped over some seconds."""
    return replace(answer, over_s=over_s)


def held(answer: Answer) -> Answer:
    """The same answer, once it is released."""
    return replace(answer, held=True)


def compressed(answer: Answer) -> Answer:
    """The same answer, as gzip where the caller takes that."""
    return replace(answer, gzip=True)


def hold() -> Answer:
    """Nothing until the peer leaves, or a 504 once it is released."""
    return replace(held(status(504)), word="timeout")


def reset() -> Answer:
    """The connection is reset."""
    return Answer("reset", "reset")


def close() -> Answer:
    """The connection is closed."""
    return Answer("close", "closed")


def toggled() -> Answer:
    """The toggle's 200: the ids of the path and the value of the body; 422 where there is none, or it is no JSON's."""
    return Answer("toggle", "200")


# --- pages and images ------------------------------------------------------------------------------------------------


def image(data: bytes, content_type: str = PNG) -> Answer:
    """200 with a picture."""
    return raw(data, "image", (("Content-Type", content_type),))


def page(html: str, charset: str = "utf-8", *, declared: bool = True) -> Answer:
    """200 with a web page in a charset, which the header declares or leaves to the page."""
    content_type = f"text/html; charset={charset}" if declared else "text/html"
    return raw(html.encode(charset, "xmlcharrefreplace"), "page", (("Content-Type", content_type),))


def empty_body(content_type: str) -> Answer:
    """200 with no byte of body."""
    return raw(b"", "empty", (("Content-Type", content_type),))


def without_length(answer: Answer) -> Answer:
    """The same answer without a Content-Length: in chunks, and for HEAD without any word of its size."""
    return replace(answer, framing="chunked")


def stating(answer: Answer, length: int) -> Answer:
    """The same answer with another Content-Length; GET is cut to it, or ends early where it states too much."""
    return replace(answer, stated=length)


def truncated(answer: Answer, missing: int | None = None) -> Answer:
    """The same answer without its last `missing` bytes (the last half), which it promises; the connection closes."""
    return replace(answer, word="cut short", missing=max(1, answer.size // 2) if missing is None else missing)


def huge(answer: Answer, count: int) -> Answer:
    """The same answer with so many zero bytes behind it."""
    return replace(answer, word="huge", filler=count)


# --- streams ---------------------------------------------------------------------------------------------------------


def gate(name: str = "") -> Gate:
    """A gate for `stream`."""
    return Gate(name)


def stream(
    chunks: Sequence[bytes | str | Gate],
    content_type: str = EVENTS,
    *,
    step: int | None = None,
    end: End = "whole",
    framing: Framing = "chunked",
    headers: Pairs = (),
) -> Answer:
    """200 in parts, each written by itself, or in writes of `step` bytes; a gate holds what stands after it."""
    parts: list[Chunk] = []
    gates: list[str] = []
    for chunk in (*chunks, b""):
        if isinstance(chunk, Gate):
            if gates:  # two gates in a row
                parts.append(Chunk("", gates.pop()))
            gates.append(chunk.name)
            continue
        data = chunk.encode() if isinstance(chunk, str) else chunk
        parts.append(Chunk(data.decode("latin-1"), gates.pop() if gates else None))
    content = (("Content-Type", content_type), *headers)
    return Answer("response", "stream", 200, content, framing=framing, chunks=tuple(parts), step=step, end=end)


# --- the vision service ----------------------------------------------------------------------------------------------


def people_count(people: int, faces: int | None = None, *, detector: str = "stub", model: str = "stub") -> Answer:
    """The vision service's 200: so many people, and as many faces unless said otherwise."""
    found = {
        "people_count": people,
        "face_count": people if faces is None else faces,
        "detector": detector,
        "model": model,
    }
    return json_value(found, f"{people} people")


def _text(value: Any) -> str:
    return json.dumps(value)
