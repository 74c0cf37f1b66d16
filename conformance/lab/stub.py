"""The stub backend: which endpoint a call is for, whose script answers it, and what a page of rows is."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, unquote

from conformance.lab import answers
from conformance.lab.answers import Answer, Chunk
from conformance.lab.journal import path_segments
from conformance.lab.scripts import Holds, Routed, Scripts
from conformance.lab.server import Received
from conformance.pictures import picture

DEFAULT_LIMIT = 200
_TRUE, _FALSE = ("true", "1", "yes", "on", "t", "y"), ("false", "0", "no", "off", "f", "n")

# (method, path with {key} at the id that scripts go by and * at any other segment, operation)
_ROUTES: tuple[tuple[str, tuple[str, ...], str], ...] = tuple(
    (method, tuple(path.split("/")), operation)
    for method, path, operation in (
        ("GET", "api/v1/screenalytics/people/{key}/photos", "photos"),
        ("GET", "api/v1/screenalytics/episodes/{key}/cast", "cast"),
        ("PATCH", "api/v1/admin/person/*/gallery/{key}/facebank-seed", "toggle"),
        ("DELETE", "api/v1/admin/media-assets/{key}", "media asset"),
        ("POST", "api/v1/admin/media-assets/{key}/auto-count", "media asset"),
        ("POST", "api/v1/admin/media-assets/{key}/detect-text-overlay", "media asset"),
        ("POST", "api/v1/admin/scrape/preview", "scrape"),
        ("POST", "api/v1/admin/scrape/import", "scrape"),
        ("POST", "api/v1/admin/scrape/import/stream", "scrape"),
        ("GET", "images/{key}/*", "image"),
    )
)


@dataclass(frozen=True)
class Route:
    """Where a call leads: `key` is its key in the journal, `script` that of its script."""

    operation: str
    key: str = ""
    script: str = ""
    refusal: Answer | None = None
    """The answer to a call that no backend would take, whatever the script says."""


class StubBackend:
    """What is answered for which ids. Ids are compared without regard to case."""

    def __init__(self) -> None:
        self._scripts: Scripts[str] = Scripts()
        self._holds: Holds[str] = Holds()

    def script(self, key: str, given: Sequence[Answer]) -> None:
        """Replaces the script of a key."""
        self._scripts[normal(key)] = given
        self._holds.renew(journal_key(normal(key)))

    def release(self, key: str, gate: str | None) -> None:
        """Lets go of what is held for a key."""
        self._holds[normal(key)].release(gate)

    def route(self, received: Received) -> Routed:
        """The answer by the endpoint and the key's script."""
        led = route(received.method, received.target, received.body)
        scripted = self._scripts.take(led.script)
        said = {name.lower(): value for name, value in received.headers}
        answer = answer_for(led, scripted, received.target, received.body, said.get("content-type", ""))
        if answer.gzip and _takes_gzip(said.get("accept-encoding", "")):
            answer = _compressed(answer)
        answered = scripted is not None or (led.operation == "image" and led.refusal is None)
        return Routed(led.operation, led.key, answer, self._holds[led.key], answered)


def route(method: str, target: str, body: bytes) -> Route:
    """The route of a call. Ids are compared without regard to case."""
    segments = path_segments(target)
    wrong_method = False
    for expected, pattern, operation in _ROUTES:
        key = _match(pattern, segments)
        if key is None:
            continue
        if method != expected and (operation, method) != ("image", "HEAD"):
            wrong_method = True
            continue
        if operation == "scrape":
            key = normal(_address(body))
        return _photos(key, target) if operation == "photos" else Route(operation, key, key)
    return Route("other", refusal=answers.status(405 if wrong_method else 404))


def normal(key: str) -> str:
    """A key as it is compared."""
    return key.lower()


def photos_script(person_id: str, *, seed_only: bool) -> str:
    """The key of the script that answers one of a person's two lists."""
    return normal(f"{person_id}?seed_only={str(seed_only).lower()}")


def journal_key(script: str) -> str:
    """The journal's key for the calls that a script answers."""
    return script.partition("?seed_only=")[0]


def _match(pattern: tuple[str, ...], segments: list[str]) -> str | None:
    if len(pattern) != len(segments):
        return None
    key = ""
    for expected, segment in zip(pattern, segments, strict=True):
        if expected == "{key}":
            key = normal(unquote(segment))
        elif expected not in ("*", segment):
            return None
    return key


def _address(body: bytes) -> str:
    """The page that a scrape request is about."""
    try:
        request = json.loads(body)
        return str(request.get("source_url") or request.get("url") or "")
    except (ValueError, AttributeError):
        return ""


def _photos(person_id: str, target: str) -> Route:
    query = _query(target)
    word = query.get("seed_only", "false").lower()
    if word not in _TRUE + _FALSE or _page(query) is None:
        return Route("photos", person_id, refusal=answers.status(422))
    return Route("photos", person_id, photos_script(person_id, seed_only=word in _TRUE))


def _query(target: str) -> dict[str, str]:
    return dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))


def _page(query: Mapping[str, str]) -> tuple[int, int] | None:
    """The limit and offset of a query; None where they are no page."""
    try:
        limit, offset = int(query.get("limit", DEFAULT_LIMIT)), int(query.get("offset", 0))
    except ValueError:
        return None
    return (limit, offset) if limit >= 1 and offset >= 0 else None


def answer_for(route: Route, scripted: Answer | None, target: str, body: bytes, content_type: str = "") -> Answer:
    """What is answered: `scripted` with the call's own page or values, or what goes without a script."""
    if route.refusal is not None:
        return route.refusal
    if scripted is None:
        return _image(target) if route.operation == "image" else answers.status(404)
    if scripted.kind == "rows":
        return _one_page(scripted, target)
    return _toggled(scripted, target, body, content_type) if scripted.kind == "toggle" else scripted


def _one_page(scripted: Answer, target: str) -> Answer:
    limit, offset = _page(_query(target)) or (DEFAULT_LIMIT, 0)
    page = json.loads(scripted.body)[offset : offset + limit]
    word = f"rows({len(page)})" if page else "empty"
    return replace(scripted, kind="response", word=word, body=json.dumps(page))


def _toggled(scripted: Answer, target: str, body: bytes, content_type: str) -> Answer:
    segments = path_segments(target)
    # frameworks read JSON where it is declared, and many where nothing is
    if content_type and "json" not in content_type.lower():
        return answers.status(422)
    try:
        value: Any = json.loads(body)["facebank_seed"]
    except (ValueError, TypeError, KeyError):
        value = None
    if not isinstance(value, bool):
        return answers.status(422)
    person_id, link_id = unquote(segments[4]), unquote(segments[6])
    echo = {"link_id": link_id, "person_id": person_id, "facebank_seed": value}
    return replace(answers.json_value(echo, "200"), held=scripted.held, gzip=scripted.gzip)


def _takes_gzip(accepted: str) -> bool:
    return "gzip" in (coding.strip().lower() for coding in accepted.split(","))


def _compressed(answer: Answer) -> Answer:
    """The answer as gzip, each chunk flushed by itself."""
    gzip = zlib.compressobj(wbits=31)
    chunks = [
        (chunk.gate, gzip.compress(chunk.data.encode("latin-1")) + gzip.flush(zlib.Z_SYNC_FLUSH))
        for chunk in answer.chunks or (Chunk(answer.body),)
    ]
    packed = tuple(Chunk(data.decode("latin-1"), gate) for gate, data in (*chunks, (None, gzip.flush())))
    return replace(answer, headers=(*answer.headers, ("Content-Encoding", "gzip")), body="", chunks=packed)


def _image(target: str) -> Answer:
    return answers.image(picture(target, 640, 640))
