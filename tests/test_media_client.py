"""The media client: whatever a target streams, reading it ends in a verdict within the time limit."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import contracts
from conformance.backend import Backend
from conformance.environment import EnvironmentSource, resolve
from conformance.errors import NotVerified, PremiseBroken, TargetBroken, Violation
from conformance.exchange import Client, Exchange, Request, Response
from conformance.media import (
    Entity,
    Media,
    Told,
    image_order,
    is_integer,
    premise,
    read_import,
    read_preview,
    same_address,
)
from conformance.redaction import Redactor

TIMEOUT_S = 0.5
SLACK_S = 10.0
"""Above the time limit, for a machine that does other things too."""

URL = "http://pages.example/a.png"
PERSON = Entity("person", "p", {"person_id": "p"})
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"

Behaviour = Callable[[socket.socket], None]


@contextmanager
def answering(behave: Behaviour) -> Iterator[str]:
    """A server whose every connection is handled so, once the request is there."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    def handle(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65_536)
                behave(connection)
            except OSError:
                pass  # the client has left

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def media_at(url: str, **table: Any) -> Media:
    """The client, before a backend at an address."""
    credentials = {name: {"env": name} for name in ("service_role_token", "internal_admin_secret")}
    source = EnvironmentSource(
        "test",
        {"production": False, "backend_url": url, "credentials": credentials, **table},
        dict.fromkeys(credentials, "secret"),
    )
    client = Client(run_id="test", timeout_s=TIMEOUT_S)
    backend = Backend(resolve(source), client, contracts.load(), Redactor(), may_write=True)
    return Media(backend, None, timeout_s=TIMEOUT_S)


def told(behave: Behaviour) -> Told:
    """What is told of an import of one image."""
    with answering(behave) as url:
        return media_at(url).told(PERSON, "http://pages.example/", [image_order(URL)])


def event(**members: Any) -> bytes:
    return f"data: {json.dumps(members)}\n\n".encode()


def sends(*pieces: bytes, head: bytes = HEAD) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        for piece in (head, *pieces):
            connection.sendall(piece)

    return behave


def endless(piece: bytes, first: bytes = b"", pause_s: float = 0.0) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.sendall(HEAD + first)
        while True:
            connection.sendall(piece)
            time.sleep(pause_s)

    return behave


FINAL = event(current=1, total=1, url=URL, status="success", media_asset_id="1")
SUMMARY = event(imported=1, skipped_duplicates=0, errors=[], assets=[])


def test_whole_stream_is_judged() -> None:
    seen = told(sends(FINAL[:9], FINAL[9:] + SUMMARY)).judge()
    assert seen.final(URL).media_asset_id == "1"
    assert seen.statuses == {URL: "success"}
    assert seen.summary["imported"] == 1
    assert all(event.at is not None for event in seen.events)


@pytest.mark.parametrize(
    ("behave", "clause"),
    [
        (endless(b": heartbeat\n", FINAL + SUMMARY, 0.01), "SSE-06"),
        (endless(event(status="downloading")), "SSE-06"),
        (endless(b"data: xxxxxxxx"), "SSE-01"),
        (endless(b"\x00\xff\x80" * 999), "SSE-01"),
        (endless(b"x", b"", 0.05), "SSE-01"),
        (sends(b"\xff\xfe\x00" * 99), "SSE-01"),
        (sends(b'data: {"status": "\xff"}\n\n'), "SSE-01"),
        (sends(FINAL), "SSE-06"),
        (sends(), "SSE-03"),
        (sends(FINAL, SUMMARY, head=HEAD.replace(b"event-stream", b"plain")), "SSE-01"),
        (sends(FINAL, SUMMARY, head=b"HTTP/1.1 500 No\r\nConnection: close\r\n\r\n"), "SSE-01"),
        (sends(FINAL, SUMMARY, head=HEAD.replace(b"Connection", b"Content-Length: 999\r\nConnection")), "SSE-06"),
    ],
    ids=[
        "heartbeats after the summary",
        "endless events",
        "endless line",
        "endless garbage",
        "dripping",
        "garbage",
        "invalid UTF-8",
        "no summary",
        "nothing",
        "another media type",
        "500",
        "cut short",
    ],
)
def test_broken_stream_is_a_verdict_in_time(behave: Behaviour, clause: str) -> None:
    started = time.monotonic()
    seen = told(behave)
    assert time.monotonic() - started < TIMEOUT_S + SLACK_S
    assert clause in {problem.clause for problem in seen.problems}
    with pytest.raises(Violation) as broken:
        seen.judge(clause)
    assert broken.value.clause == clause
    with pytest.raises(PremiseBroken):
        seen.judge("SSE-05")


@pytest.mark.parametrize("behave", [lambda connection: None, sends(head=b"what?\r\n\r\n")], ids=["closed", "no HTTP"])
def test_no_answer_is_the_targets_fault(behave: Behaviour) -> None:
    with pytest.raises(TargetBroken):
        told(behave)


def test_events_come_one_by_one_and_the_client_can_leave() -> None:
    left = threading.Event()

    def behave(connection: socket.socket) -> None:
        connection.sendall(HEAD + FINAL)
        connection.settimeout(SLACK_S)
        assert connection.recv(1) == b""
        left.set()

    with answering(behave) as url, media_at(url).import_stream(PERSON, URL, [image_order(URL)]) as stream:
        first = stream.next_event()
        assert first is not None
        assert first.final_status == "success"
    assert left.wait(SLACK_S)


def test_three_streams_without_an_end_are_enough() -> None:
    with answering(endless(b": heartbeat\n", pause_s=0.05)) as url:
        media = media_at(url)
        for _ in range(3):
            assert media.told(PERSON, URL, [image_order(URL)]).problems
        with pytest.raises(TargetBroken, match="3 requests"):
            media.told(PERSON, URL, [image_order(URL)])


def test_what_is_missing_is_said() -> None:
    media = media_at("http://127.0.0.1:1")
    with pytest.raises(NotVerified, match="page_origin is not set"):
        media.site()
    with pytest.raises(NotVerified, match="backend_states_url is not set"), media.person():
        pass
    with pytest.raises(NotVerified, match="is production"):
        media_at("http://127.0.0.1:1", production=True).delete("1")


# --- answers ---------------------------------------------------------------------------------------------------------


def exchange(value: Any, status: int = 200) -> Exchange:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Exchange(Request("POST", "http://backend/"), Response(status, (), body), None, 0.0, 0.0)


def test_candidates_are_found_by_any_of_their_addresses() -> None:
    images = [{"original_url": "http://Pages.example/a.png?small#top", "best_url": URL}, {"original_url": "http://x/b"}]
    preview = read_preview(exchange({"images": images, "error": ""}))
    assert preview.error is None
    assert [candidate.url for candidate in preview.candidates] == [URL, "http://x/b"]
    assert preview.shows("http://pages.example/a.png?small")
    assert not preview.shows("http://pages.example/a.png?large")
    assert not preview.shows("http://pages.example/b")


@pytest.mark.parametrize("value", [b"[", [], {}, {"images": {}}, {"images": [{"id": "1"}]}, {"images": [7]}])
def test_preview_that_nobody_can_read(value: Any) -> None:
    with pytest.raises(PremiseBroken) as broken:
        premise(read_preview, exchange(value))
    assert broken.value.clause == "PRE-01"


@pytest.mark.parametrize(
    "changed", [{"imported": "1"}, {"imported": True}, {"errors": 0}, {"assets": None}, {"skipped_duplicates": 0.5}]
)
def test_import_that_nobody_can_read(changed: dict[str, Any]) -> None:
    value = {"imported": 1, "skipped_duplicates": 0, "errors": [], "assets": []}
    assert read_import(exchange(value)).imported == 1
    with pytest.raises(Violation) as broken:
        read_import(exchange({**value, **changed}))
    assert broken.value.clause == "IMP-01"


def test_addresses_and_integers_are_compared_as_such() -> None:
    assert same_address("HTTP://Pages.Example/A#b", "http://pages.example/A")
    assert not same_address("http://pages.example/A", "http://pages.example/a")
    assert not same_address("http://[", "http://pages.example/")
    assert [value for value in (1, 1.0, 0, True, "1", 0.5, None, float("nan")) if is_integer(value)] == [1, 1.0, 0]
