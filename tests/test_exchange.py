"""Whatever a server does, a request ends in an exchange within its time limit; what is sent is what was asked for."""

from __future__ import annotations

import gzip
import json
import shlex
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance import rawhttp
from conformance.errors import NotVerified, TargetBroken
from conformance.exchange import MAX_BODY_BYTES, SHOWN_BODY_CHARS, Client, Exchange, Failure, Pace, Request, Response
from conformance.redaction import Redactor
from tests.hostile import (
    CHUNKED,
    HOSTILE,
    MIB,
    Behaviour,
    drip,
    hang,
    http,
    keeping_alive,
    read_some,
    serving,
    then_hang,
)

TIMEOUT_S = 0.4
SLACK_S = 10.0
"""Above a time limit, for a machine that does other things too."""


@contextmanager
def a_client(timeout_s: float = TIMEOUT_S, record: Path | None = None) -> Iterator[Client]:
    client = Client(run_id="test", timeout_s=timeout_s, record=record)
    try:
        yield client
    finally:
        client.close()


def get(url: str, timeout_s: float = TIMEOUT_S) -> Exchange:
    with a_client(timeout_s) as client:
        return client.send(Request("GET", url))


@pytest.mark.parametrize("answer, failure", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_server_yields_an_exchange_in_time(answer: bytes | Behaviour, failure: Failure) -> None:
    with serving(answer) as server:
        exchange = get(server.url)
    assert (exchange.response, exchange.failure) == (None, failure)
    assert exchange.ended - exchange.started < TIMEOUT_S + SLACK_S
    assert exchange.outcome().partition(":")[0] == failure.value
    with pytest.raises(TargetBroken, match=failure.value):
        exchange.status  # noqa: B018  (the property raises)
    told = exchange.as_dict(Redactor())
    assert told["response"] is None
    assert json.dumps(told)


@pytest.mark.parametrize("answer, failure", HOSTILE.values(), ids=HOSTILE)
def test_a_target_sent_as_it_is_has_its_time_limit_too(answer: bytes | Behaviour, failure: Failure) -> None:
    """It is lenient with what HTTP forbids: only what has no end is sure to be no answer."""
    with serving(answer) as server:
        exchange = rawhttp.send(server.url, "GET", "/", (), None, timeout_s=TIMEOUT_S)
    assert exchange.ended - exchange.started < TIMEOUT_S + SLACK_S
    assert (exchange.response is None) is (exchange.failure is not None)
    assert exchange.response is None or failure is not Failure.TIMEOUT


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"], ids=bytes.decode)
def test_interim_responses_are_no_answer(interim: bytes) -> None:
    """Whoever asks, and however often the server says something before the answer."""
    before = b"HTTP/1.1 " + interim + b"\r\nLink: </style.css>; rel=preload\r\n\r\n"
    with serving(before * 2 + b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno") as server:
        for exchange in (get(server.url), rawhttp.send(server.url, "GET", "/", (), None, timeout_s=TIMEOUT_S)):
            assert (exchange.status, exchange.answer.body) == (502, b"no")


def test_a_switch_of_protocols_is_answered_in_time() -> None:
    with serving(then_hang(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")) as server:
        exchange = get(server.url)
    assert exchange.ended - exchange.started < TIMEOUT_S + SLACK_S
    assert exchange.failure is not None or exchange.status == 101


def test_a_drip_of_body_bytes_does_not_stretch_the_deadline() -> None:
    def behave(connection: socket.socket) -> None:
        read_some(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        drip(b"x")(connection)

    started = time.monotonic()
    with serving(behave) as server:
        exchange = get(server.url)
    assert exchange.failure is Failure.TIMEOUT
    assert TIMEOUT_S * 0.9 < time.monotonic() - started < TIMEOUT_S + SLACK_S


def test_a_server_that_does_not_read_does_not_stretch_the_deadline() -> None:
    def never_read(connection: socket.socket) -> None:
        threading.Event().wait(TIMEOUT_S * 2)

    with serving(never_read) as server, a_client() as client:
        exchange = client.send(Request("POST", server.url, body=bytes(32 * MIB)))
    assert exchange.failure in (Failure.TIMEOUT, Failure.CLOSED)
    assert exchange.ended - exchange.started < TIMEOUT_S + SLACK_S


def test_a_refused_connection_is_not_verified() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    exchange = get(f"http://127.0.0.1:{port}")
    assert exchange.failure is Failure.REFUSED
    with pytest.raises(NotVerified, match="the connection was refused"):
        exchange.answer  # noqa: B018


@pytest.mark.parametrize("url", ["http://nowhere.invalid", f"http://{'x' * 80}.invalid", "http://127.0.0.1:1/é\ud800"])
def test_an_address_that_leads_nowhere_yields_an_exchange(url: str) -> None:
    assert get(url).failure in (Failure.UNRESOLVED, Failure.REFUSED, Failure.PROTOCOL)


def test_tls_to_a_server_without_it_yields_an_exchange() -> None:
    with serving(http()) as server:
        assert get(server.url.replace("http:", "https:")).response is None


def test_three_hangs_in_a_row_are_enough() -> None:
    with serving(hang) as server, a_client(0.05) as client:
        for _ in range(3):
            assert client.send(Request("GET", server.url)).failure is Failure.TIMEOUT
        with pytest.raises(TargetBroken, match="let 3 requests in a row run into the time limit"):
            client.send(Request("GET", server.url))
        assert server.connections == 3


def test_one_that_does_not_give_up_asks_on() -> None:
    with serving(hang, hang, hang, hang, http()) as server, a_client(0.05) as client:
        patient = client.another(gives_up=False)
        for _ in range(4):
            assert patient.send(Request("GET", server.url)).failure is Failure.TIMEOUT
        assert patient.send(Request("GET", server.url)).status == 200
        patient.close()


def test_clients_keep_one_pace() -> None:
    with serving(http()) as server:
        pace = Pace(100)
        clients = [Client(run_id="test", pace=pace) for _ in range(3)]
        started = time.monotonic()
        for client in (*clients, *clients):
            assert client.send(Request("GET", server.url)).status == 200
        assert time.monotonic() - started >= 0.05
        for client in clients:
            client.close()


def test_an_answer_between_hangs_starts_the_count_again() -> None:
    with serving(hang, hang, http(), hang) as server, a_client(0.05) as client:
        for _ in range(3):
            client.send(Request("GET", server.url))
        assert client.send(Request("GET", server.url)).failure is Failure.TIMEOUT


# --- answers that are unusual and right ------------------------------------------------------------------------------

RIGHT: dict[str, tuple[bytes, int, bytes]] = {
    "with a length": (http(b"body"), 200, b"body"),
    "until the end of the connection": (b"HTTP/1.1 200 OK\r\n\r\nbody", 200, b"body"),
    "by HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nbody", 200, b"body"),
    "in chunks": (CHUNKED + b"1\r\nb\r\n3;x=y\r\nody\r\n0\r\nTrailer: x\r\n\r\n", 200, b"body"),
    "after an early hint": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + http(b"body"), 200, b"body"),
    "without a reason": (b"HTTP/1.1 200 \r\nContent-Length: 4\r\n\r\nbody", 200, b"body"),
    "with an unknown status": (http(b"body", status="599 Odd"), 599, b"body"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "more than it said": (http(b"body") + b"more", 200, b"body"),
    "in gzip": (http(gzip.compress(b"body"), headers=("Content-Encoding: GZIP",)), 200, b"body"),
    "in deflate": (http(zlib.compress(b"body"), headers=("content-encoding: deflate",)), 200, b"body"),
    "in an unknown coding": (http(b"body", headers=("Content-Encoding: x-unknown",)), 200, b"body"),
    "in no UTF-8": (http(b"\xff\xfe"), 200, b"\xff\xfe"),
    "just within the limit": (http(bytes(MAX_BODY_BYTES)), 200, bytes(MAX_BODY_BYTES)),
}


@pytest.mark.parametrize("answer, status, body", RIGHT.values(), ids=RIGHT)
def test_an_unusual_answer_is_read(answer: bytes, status: int, body: bytes) -> None:
    with serving(answer) as server:
        exchange = get(server.url, timeout_s=5)
    assert exchange.failure is None
    assert (exchange.status, exchange.answer.body) == (status, body)


def test_a_redirect_is_not_followed() -> None:
    with serving(http()) as elsewhere:
        moved = http(status="307 Temporary Redirect", headers=(f"Location: {elsewhere.url}/",))
        with serving(moved) as server:
            exchange = get(server.url)
        assert exchange.status == 307
        assert exchange.answer.header("LOCATION") == f"{elsewhere.url}/"
        assert elsewhere.connections == 0


def test_a_rate_limit_is_not_verified() -> None:
    with serving(http(status="429 Too Many Requests")) as server:
        exchange = get(server.url)
    assert exchange.response is not None
    assert exchange.outcome() == "429 Too Many Requests"
    with pytest.raises(NotVerified, match="limits the rate"):
        exchange.status  # noqa: B018


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"NaN", b'{"a": Infinity}', b"[" * 100_000, b"9" * 5000),
        *(b"\xff", b'"\xed\xa0\x80"', "[]".encode("utf-16")),
    ],
)
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        Response(200, (), body).json()


# --- connections -----------------------------------------------------------------------------------------------------


def test_connections_are_kept_alive() -> None:
    with serving(b"") as server, a_client() as client:
        server.behaviours = (keeping_alive(server, http(b"x"), 9),)
        assert [client.send(Request("GET", server.url)).status for _ in range(3)] == [200] * 3
        assert server.connections == 1


def test_a_kept_alive_connection_that_was_closed_is_opened_again() -> None:
    with serving(b"") as server, a_client() as client:
        server.behaviours = (keeping_alive(server, http(b"x"), 1),)
        assert [client.send(Request("GET", server.url)).status for _ in range(3)] == [200] * 3
        assert server.connections == 3


def test_a_connection_that_is_closed_by_the_next_request_is_opened_again() -> None:
    """The server reads the second request before it closes: a client cannot see that coming."""
    with serving(b"") as server, a_client() as client:

        def once_and_close_on_the_next(connection: socket.socket) -> None:
            keeping_alive(server, http(b"x"), 1)(connection)
            server.read_request(connection)

        server.behaviours = (once_and_close_on_the_next,)
        exchanges = [client.send(Request("POST", server.url, body=b"{}")) for _ in range(3)]
    assert [exchange.status for exchange in exchanges] == [200] * 3


def test_two_closes_are_the_requests_own_doing() -> None:
    with serving(read_some) as server, a_client() as client:
        assert client.send(Request("GET", server.url)).failure is Failure.CLOSED
        assert server.connections == 2


def test_another_client_has_its_own_connection() -> None:
    with serving(b"") as server, a_client() as client:
        server.behaviours = (keeping_alive(server, http(), 9),)
        other = client.another()
        assert [each.send(Request("GET", server.url)).status for each in (client, other)] == [200, 200]
        other.close()
        assert server.connections == 2


def test_leftovers_of_an_answer_are_no_traceback() -> None:
    with serving(b"") as server, a_client() as client:
        server.behaviours = (keeping_alive(server, http(b"x") + b"leftovers", 9),)
        for _ in range(3):
            exchange = client.send(Request("GET", server.url))
            assert exchange.failure is Failure.PROTOCOL or exchange.status == 200


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_an_ipv6_host_is_named_in_brackets() -> None:
    with serving(http(), host="::1") as server:
        assert get(server.url).status == 200
        assert f"\r\nHost: {server.url.removeprefix('http://')}\r\n".encode() in server.received[0]


# --- what is sent ----------------------------------------------------------------------------------------------------


def sent(request: Request) -> bytes:
    """The request as the server saw it; its URL is a target."""
    with serving(http()) as server, a_client() as client:
        client.send(Request(request.method, server.url + request.url, request.headers, request.body))
        (received,) = server.received
    return received


TARGETS = (
    "/",
    "/a/../b/./c//d/",
    "/%2e%2e/%2E%2e%2f%5c",
    "/a;p=1;q/b;r",
    "/?",
    "/a?x=1&x=2&&=&y",
    "/a??b",
    "/a?b;c=/../d",
    "/%00%ff%zz%",
    "/(a)!*'~$&+,:@=_-",
    '/[x]{y}|^`"<>\\',
)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_is_sent_as_it_stands(target: str) -> None:
    assert sent(Request("GET", target)).startswith(f"GET {target} HTTP/1.1\r\n".encode())


def test_a_url_without_a_path_asks_for_the_root() -> None:
    assert sent(Request("GET", "")).startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_a_method_is_sent_as_it_stands(method: str) -> None:
    assert sent(Request(method, "/")).startswith(f"{method} / HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    "value, raw",
    [
        ("plain", b"plain"),
        ("é", "é".encode()),
        (b"s\xe9cret", b"s\xe9cret"),
        (b"\xff\xfe\x80", b"\xff\xfe\x80"),
        ("", b""),
    ],
)
def test_a_header_value_is_sent_as_it_stands(value: str | bytes, raw: bytes) -> None:
    assert b"\r\nX-Secret: " + raw + b"\r\n" in sent(Request("GET", "/", (("X-Secret", value),)))


def test_a_header_may_be_sent_twice() -> None:
    received = sent(Request("GET", "/", (("A", "1"), ("a", "2"))))
    assert received.index(b"\r\nA: 1\r\n") < received.index(b"\r\na: 2\r\n")


@pytest.mark.parametrize(
    "method, body, length",
    [
        ("GET", None, None),
        ("DELETE", None, None),
        ("POST", None, b"0"),
        ("POST", b"", b"0"),
        ("POST", b"\x00\xff", b"2"),
    ],
)
def test_a_body_is_sent_as_it_stands(method: str, body: bytes | None, length: bytes | None) -> None:
    head, _, received = sent(Request(method, "/", body=body)).partition(b"\r\n\r\n")
    assert received == (body or b"")
    assert (b"content-length: " in head.lower()) is (length is not None)
    assert b"transfer-encoding" not in head.lower()
    if length is not None:
        assert b"content-length: " + length in head.lower()


def test_the_client_says_who_it_is_and_adds_nothing_else() -> None:
    head = sent(Request("GET", "/")).partition(b"\r\n\r\n")[0]
    names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
    assert sorted(names) == [b"accept", b"accept-encoding", b"host", b"user-agent"]
    assert b"trr-conformance/" in head
    assert b"(run test)" in head


# --- what is told ----------------------------------------------------------------------------------------------------

SECRET = "s3cret-'value'/+"


def an_exchange(response: Response | None = None) -> tuple[Exchange, Redactor]:
    redactor = Redactor()
    redactor.add("jwt_secret", SECRET)
    headers = (("Authorization", f"Bearer {SECRET}"), ("X-Raw", SECRET.encode()), ("X-Empty", ""))
    body = json.dumps({"secret": SECRET, "é": "\U0001f600"}).encode() + b"\xff" + b"x" * SHOWN_BODY_CHARS
    request = Request("PATCH", f"http://localhost/a/../{SECRET}?b", headers, body)
    return Exchange(request, response, None if response else Failure.TIMEOUT, 0.0, 1.0), redactor


def test_what_is_told_of_an_exchange_holds_no_secret() -> None:
    answer = Response(400, (("X-Echo", SECRET), ("x-echo", "again"), ("X-Echo", "b")), f"no {SECRET.upper()}".encode())
    exchange, redactor = an_exchange(answer)
    told = exchange.as_dict(redactor)
    assert SECRET.lower() not in json.dumps(told).lower()
    assert told["request"]["url"] == "http://localhost/a/../<redacted:jwt_secret>?b"
    assert told["request"]["headers"]["Authorization"] == "Bearer <redacted:jwt_secret>"
    assert told["response"]["body"] == "no <redacted:jwt_secret>"
    assert told["response"]["headers"]["X-Echo"] == "<redacted:jwt_secret>, b"


def test_a_secret_at_the_cut_of_a_long_body_is_redacted_whole() -> None:
    exchange, redactor = an_exchange(Response(400, (), b"x" * (SHOWN_BODY_CHARS - 4) + SECRET.encode() + b"y" * 50))
    shown = exchange.as_dict(redactor)["response"]["body"]
    assert SECRET[:4] not in shown
    assert len(shown) < SHOWN_BODY_CHARS + 40


def test_the_curl_line_is_one_command_without_secrets() -> None:
    exchange, redactor = an_exchange()
    line = exchange.curl(redactor)
    words = shlex.split(line)
    assert SECRET.lower() not in line.lower()
    assert all(SECRET not in word for word in words)
    assert words[:6] == ["curl", "-i", "-X", "PATCH", "--path-as-is", "http://localhost/a/../<redacted:jwt_secret>?b"]
    assert words[6:8] == ["-H", "Authorization: Bearer <redacted:jwt_secret>"]
    assert "X-Empty;" in words


def test_requests_are_recorded_where_asked(tmp_path: Path) -> None:
    with serving(http(b"\xff")) as server, a_client(record=tmp_path) as client:
        client.send(Request("POST", f"{server.url}/a", (("X", b"\xe9"),), b"\xfe"))
    (file,) = tmp_path.iterdir()
    line = json.loads(file.read_text())
    assert line["url"].endswith("/a")
    assert line["headers"] == [["X", "é"]]
    assert line["body"].encode("latin-1") == b"\xfe"
