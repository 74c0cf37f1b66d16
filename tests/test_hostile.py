"""Hostile targets, as a user meets them: a run ends with an honest exit code and one clear line, and leaks nothing."""

from __future__ import annotations

import base64
import datetime
import gzip
import json
import re
import secrets
import socket
import ssl
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import urlopen

import pytest
import trustme

from conformance.exchange import Failure
from tests.hostile import (
    CHUNKED,
    HOSTILE,
    MIB,
    Behaviour,
    Server,
    bomb,
    drip,
    flood,
    hang,
    http,
    serving,
    then_hang,
    then_reset,
)
from tests.ready import PROFILE, Order, Ready

LIMIT_S = 60
"""A run that takes longer hangs."""
MAX_MEMORY_KIB = 1024 * 1024
"""An answer as large as is read is 0.5 GiB of objects in Python 3.11, and 0.9 in 3.14."""

SECRETS = {
    key: f"{key[:3]}-{secrets.token_urlsafe(24)}/+'"
    for key in ("service_role_token", "internal_admin_secret", "screenalytics_token", "app_admin_token")
}
TELLTALE = [text[:16] for secret in SECRETS.values() for text in (secret, base64.b64encode(secret.encode()).decode())]
"""The beginning of each, so that half a secret is found too."""


# --- a backend that conforms, and does no more than the clauses of these runs need -----------------------------------


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    body: bytes
    raw: bytes

    @staticmethod
    def of(raw: bytes) -> Asked:
        head, _, body = raw.partition(b"\r\n\r\n")
        method, target = head.split(b" ")[:2]
        return Asked(method.decode(), target.decode(), body, raw)

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def is_of_the_api(self) -> bool:
        """Whether it is none of those that a run only prepares itself by."""
        return self.target.startswith("/api/") and not self.target.endswith("/scrape/preview")


class Backend:
    """Photos, the toggle, previews that only fetch their page, and the provider states."""

    def __init__(self) -> None:
        self._galleries: dict[str, list[dict[str, Any]]] = {}

    def answer(self, asked: Asked) -> tuple[str, Any]:
        """The status line's end, and the JSON value."""
        parts = urlsplit(asked.target)
        words = parts.path.split("/")
        if parts.path == "/_states":
            return "200 OK", self._state(**asked.value)
        if words[-1] == "photos":
            wanted = parse_qs(parts.query).get("seed_only") == ["true"]
            links = [link for link in self._galleries[words[-2]] if link["facebank_seed"] or not wanted]
            return "200 OK", [{"served_url": link["served_url"]} for link in links]
        if words[-1] == "facebank-seed":
            (link,) = (link for links in self._galleries.values() for link in links if link["link_id"] == words[-2])
            link.update(asked.value)
            return "200 OK", link
        if words[-1] == "preview":  # no image is found, but the page is fetched
            with urlopen(asked.value["url"], timeout=LIMIT_S):
                return "200 OK", {"images": []}
        return "404 Not Found", {"detail": "nothing here"}

    def _state(self, state: str, action: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if action != "setup":
            return {}
        person_id = str(uuid.uuid4())
        self._galleries[person_id] = [
            {"link_id": str(uuid.uuid4()), "served_url": f"https://i.invalid/{uuid.uuid4()}", "facebank_seed": seed}
            for seed in [True] * params.get("seeded", 0)
            + [False] * (params.get("unseeded", 0) + params.get("unhosted", 0))
        ]
        return {"person_id": person_id, "links": self._galleries[person_id]}


Wire = Callable[[str, bytes], bytes]
"""How a status and a body become an answer."""


def plain(status: str, body: bytes) -> bytes:
    return http(body, status=status, headers=("Content-Type: application/json", "Connection: close"))


@contextmanager
def a_backend(
    hostile: bytes | Behaviour | None = None, *, wire: Wire = plain, context: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """A backend behind such a wire; `hostile` gets its connections in place of it that ask something of the API."""
    backend = Backend()

    def behave(connection: socket.socket) -> None:
        asked = Asked.of(server.read_request(connection) or b"GET / ")
        status, value = backend.answer(asked)
        connection.sendall(wire(status, json.dumps(value).encode()))

    def choose(connection: socket.socket) -> None:
        # who comes after has the request still to read
        asked = Asked.of(connection.recv(65_536, socket.MSG_PEEK) or b"GET / ")
        (hostile if asked.is_of_the_api else behave)(connection)  # type: ignore[operator, misc]

    if isinstance(hostile, bytes):
        hostile = answering(hostile)
    with serving(behave if hostile is None else choose, context=context) as server:
        yield server


def answering(answer: bytes | Callable[[Asked], bytes]) -> Behaviour:
    """One answer to each request, whole or made of it."""

    def behave(connection: socket.socket) -> None:
        asked = Asked.of(connection.recv(65_536))
        connection.sendall(answer if isinstance(answer, bytes) else answer(asked))

    return behave


# --- runs ------------------------------------------------------------------------------------------------------------

HASTE_S, PATIENCE_S = 1.0, 30.0
"""The time limit of requests, where it is what ends them and where it must not be."""
RUN, SMOKE = ("run", "-n", "0"), ("smoke",)


@dataclass(frozen=True)
class Ran:
    """A run that has ended, without a traceback, a secret or much memory."""

    exit_code: int
    output: str
    report: dict[str, Any]

    @property
    def verdicts(self) -> dict[str, str]:
        clauses = self.report["clauses"]
        return {each["id"]: each["verdict"] for each in clauses if each["verdict"] != "not_selected"}

    def says(self, *lines: str) -> None:
        """Each of these patterns is found in one line of the output."""
        for line in lines:
            assert re.search(f"(?m)^.*{line}.*$", self.output), (line, self.output)


@pytest.fixture(scope="module")
def trr_conformance() -> Iterator[Ready]:
    process = Ready()
    yield process
    process.stop()


@dataclass(frozen=True)
class Runs:
    """How a test runs `trr-conformance`: in a folder of its own."""

    process: Ready
    folder: Path
    ca: trustme.CA | None = None
    """Whom a run trusts."""

    def __call__(
        self,
        clauses: str,
        table: Mapping[str, Any],
        *,
        timeout_s: float,
        command: Sequence[str] = RUN,
        test: str | None = None,
    ) -> Ran:
        """A run over some clauses, or only by one test, of what is at the addresses of the environment's table."""
        credentials = {key: {"env": f"HOSTILE_{key.upper()}"} for key in SECRETS}
        keys = {"production": False, "credentials": credentials, **table}
        file, output, report = (self.folder / name for name in ("environments.toml", "output", "report"))
        file.write_text("[environments.hostile]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in keys.items()))
        arguments = [
            *(*command, "--env-file", str(file), "--clause", clauses, "--report-dir", str(report)),
            *("--profile", PROFILE, "--request-timeout", str(timeout_s), "--patience", "0"),
        ]
        if test is not None:
            (self.folder / "tests.json").write_text(json.dumps([f"conformance/suites/{test}"]))
            arguments += ["--tests", str(self.folder / "tests.json")]
        variables = {f"HOSTILE_{key.upper()}": secret for key, secret in SECRETS.items()}
        variables["XDG_STATE_HOME"] = str(self.folder / "state")
        if self.ca is not None:
            variables["SSL_CERT_FILE"] = str(self.folder / "ca.pem")
            self.ca.cert_pem.write_to_path(variables["SSL_CERT_FILE"])
        exit_code, peak_kib = self.process.run(Order(arguments, variables, str(self.folder), str(output)), LIMIT_S)
        texts = {path.name: path.read_text(encoding="utf-8") for path in (output, *report.iterdir())}
        assert {"report.json", "report.html", "evidence.md"} <= texts.keys(), texts["output"]
        for name, text in texts.items():
            assert not [word for word in ("Traceback", "INTERNALERROR", *TELLTALE) if word in text], (name, text)
        assert peak_kib < MAX_MEMORY_KIB
        return Ran(exit_code, texts["output"], json.loads(texts["report.json"]))


@pytest.fixture
def run(trr_conformance: Ready, tmp_path: Path) -> Runs:
    return Runs(trr_conformance, tmp_path)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def at(server: Server, **more: Any) -> dict[str, Any]:
    """The environment of a backend there."""
    return {"backend_url": server.url, "backend_states_url": f"{server.url}/_states", **more}


# --- no answer -------------------------------------------------------------------------------------------------------

NO_ANSWER = (
    "closes at once",
    "closes without an answer",
    "resets",
    "resets in the body",
    "resets in a chunk",
    "hangs",
    "hangs in the status line",
    "hangs in the headers",
    "hangs in the body",
    "drips its headers",
    "only ever continues",
    "floods headers",
    "floods its body",
    "floods chunks",
    "promises more than the limit",
    "sends less than it said",
    "says two lengths",
    "says no number as length",
    "is half a gzip",
    "is a gzip bomb",
    "is a deflate bomb",
)
"""Rows of the table that the client's own tests have."""


@pytest.mark.parametrize("name", NO_ANSWER)
def test_no_answer_is_no_verdict(run: Runs, name: str) -> None:
    answer, failure = HOSTILE[name]
    with a_backend(answer) as server:
        ran = run("AUTH-04", at(server), timeout_s=HASTE_S if failure is Failure.TIMEOUT else PATIENCE_S)
    assert (ran.exit_code, ran.verdicts) == (6, {"AUTH-04": "error"}), ran.output
    ran.says("^ERROR AUTH-04 ", f"PATCH http://.*/api/.*: {failure.value}")


AT_THE_DOOR = {
    "hangs": (hang, Failure.TIMEOUT),
    "resets": (then_reset(b""), Failure.CLOSED),
    "floods its body": HOSTILE["floods its body"],
    "floods headers": HOSTILE["floods headers"],
    "speaks another protocol": HOSTILE["speaks another protocol"],
}


@pytest.mark.parametrize("answer, failure", AT_THE_DOOR.values(), ids=AT_THE_DOOR)
def test_no_answer_to_the_first_request_is_one_line(run: Runs, answer: Behaviour, failure: Failure) -> None:
    with serving(answer) as server:
        ran = run("AUTH-04", at(server), timeout_s=HASTE_S if failure is Failure.TIMEOUT else PATIENCE_S)
        where = server.url
    assert (ran.exit_code, ran.verdicts) == (6, {"AUTH-04": "error"}), ran.output
    ran.says(f"^  AUTH-04: backend_url {where}: {failure.value}")


# --- TLS -------------------------------------------------------------------------------------------------------------

YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
OURS, SOMEBODY = trustme.CA(), trustme.CA()
CERTIFICATES = {
    "right": (OURS.issue_cert("127.0.0.1"), None),
    "wrong name": (OURS.issue_cert("elsewhere.invalid"), "IP address mismatch"),
    "expired": (OURS.issue_cert("127.0.0.1", not_after=YESTERDAY), "certificate has expired"),
    "by nobody known": (SOMEBODY.issue_cert("127.0.0.1"), "unable to get local issuer certificate"),
}


@pytest.mark.parametrize("certificate, problem", CERTIFICATES.values(), ids=CERTIFICATES)
def test_certificates_are_looked_at(run: Runs, certificate: trustme.LeafCert, problem: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with a_backend(context=context) as server:
        ran = replace(run, ca=OURS)("AUTH-04,PHO-02", at(server), timeout_s=PATIENCE_S)
        where = server.url
        received = list(server.received)
    if problem is None:
        assert (ran.exit_code, ran.verdicts) == (0, {"AUTH-04": "passed", "PHO-02": "passed"}), ran.output
        return
    assert ran.exit_code == 6, ran.output
    ran.says(f"backend_url {where}: {Failure.TLS.value}: the certificate is not accepted: .*{problem}")
    assert not received


@pytest.mark.parametrize("hostile", [hang, then_reset(b""), then_hang(http())], ids=["hangs", "resets", "speaks HTTP"])
def test_no_handshake_is_one_line(run: Runs, hostile: Behaviour) -> None:
    with serving(hostile) as server:
        where = server.url.replace("http:", "https:")
        ran = run("AUTH-04", {"backend_url": where}, timeout_s=HASTE_S if hostile is hang else PATIENCE_S)
    assert ran.exit_code == 6, ran.output
    ran.says(f"^  AUTH-04: backend_url {where}: .*(TLS|time limit)")


# --- answers that are unusual and right ------------------------------------------------------------------------------


def headed(*lines: str) -> bytes:
    return "\r\n".join((*lines, "Content-Type: application/json", "", "")).encode()


def in_chunks(status: str, body: bytes) -> bytes:
    pieces = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in body)
    return headed(f"HTTP/1.1 {status}", "Transfer-Encoding: chunked") + pieces + b"0\r\nTrailer: x\r\n\r\n"


def in_gzip(status: str, body: bytes) -> bytes:
    return http(gzip.compress(body), status=status, headers=("Content-Encoding: GZIP", "Connection: close"))


UNUSUAL: dict[str, Wire] = {
    "by HTTP/1.0": lambda status, body: headed(f"HTTP/1.0 {status}") + body,
    "until the end of the connection": lambda status, body: headed(f"HTTP/1.1 {status}") + body,
    "after others of 1xx": lambda status, body: (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + plain(status, body)
    ),
    "in small chunks": in_chunks,
    "in gzip": in_gzip,
    "without a reason": lambda status, body: plain(f"{status[:3]} ", body),
    "with a byte order mark": lambda status, body: plain(status, b"\xef\xbb\xbf" + body + b"\r\n"),
}


@pytest.mark.parametrize("wire", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_answers_conform(run: Runs, wire: Wire) -> None:
    with a_backend(wire=wire) as server:
        ran = run("AUTH-04,PHO-02", at(server), timeout_s=PATIENCE_S)
    assert ran.exit_code == 0, ran.output
    assert set(ran.verdicts.values()) == {"passed"}


# --- answers that are none -------------------------------------------------------------------------------------------


def photos(row: str) -> bytes:
    return plain("200 OK", f"[{row}]".encode())


NO_ARRAY = "the answer is no JSON array"
NO_URL = "a row has no string served_url"
HTML = b"<html><body>502 Bad Gateway</body></html>"
ANSWERS: dict[str, tuple[bytes, str]] = {
    "no UTF-8": (plain("200 OK", b'[{"served_url": "\xff\xfe"}]'), NO_ARRAY),
    "UTF-8 of a surrogate": (plain("200 OK", b'[{"served_url": "\xed\xa0\x80"}]'), NO_ARRAY),
    "deep arrays": (plain("200 OK", b"[" * 100_000), NO_ARRAY),
    "deep and whole": (plain("200 OK", b"[" * 100_000 + b"]" * 100_000), NO_ARRAY),
    # how deep Python reads objects goes by its version
    "deep objects": (photos('{"a":' * 50_000 + "1" + "}" * 50_000), f"({NO_ARRAY}|{NO_URL})"),
    "as deep as is read": (photos('{"a":' * 900 + "1" + "}" * 900), NO_URL),
    "NaN": (photos('{"served_url": "https://a", "width": NaN}'), NO_ARRAY),
    "Infinity": (photos('{"served_url": "https://a", "width": -Infinity}'), NO_ARRAY),
    "too large a number": (photos('{"width": 1e999}'), NO_URL),
    "5000 digits": (photos('{"served_url": "https://a", "width": ' + "9" * 5000 + "}"), NO_ARRAY),
    "a member twice": (photos('{"served_url": "https://a", "served_url": 7}'), NO_URL),
    "a lone surrogate": (photos('{"\\udfff": "\\ud800"}'), NO_URL),
    "in brotli": (http(b"\x0b\x02\x80[]\x03", headers=("Content-Encoding: br",)), NO_ARRAY),
    "in gzip, twice": (http(gzip.compress(gzip.compress(b"[]")), headers=("Content-Encoding: gzip, gzip",)), NO_ARRAY),
    "nothing": (http(), NO_ARRAY),
    "16 MB of text": (plain("200 OK", b"'\"\\&<" * 3_200_000), NO_ARRAY),
    "16 MB of rows": (plain("200 OK", b"[" + b"{}," * 5_300_000 + b"{}]"), NO_URL),
    "an error page": (http(HTML, status="502 Bad Gateway"), "actual: +502 Bad Gateway"),
    "an unknown status": (http(status="799 Never"), "actual: +799"),
}


@pytest.mark.parametrize("answer, line", ANSWERS.values(), ids=ANSWERS)
def test_garbage_is_a_failure(run: Runs, answer: bytes, line: str) -> None:
    with a_backend(answer) as server:
        ran = run("PHO-02", at(server), timeout_s=PATIENCE_S)
    assert (ran.exit_code, ran.verdicts) == (1, {"PHO-01": "failed", "PHO-02": "not_verified"}), ran.output
    ran.says("^FAILED PHO-01 ", line)


# --- credentials -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "clauses, status",
    [("AUTH-04", "307 Temporary Redirect"), ("AUTH-04", "301 Moved Permanently"), ("PHO-02", "302 Found")],
)
def test_redirects_carry_no_credentials_away(run: Runs, clauses: str, status: str) -> None:
    """To another port, with the credentials in the address too."""

    def away(asked: Asked) -> bytes:
        return http(status=status, headers=(f"Location: {elsewhere.url}{asked.target}?{quote(asked.raw)}",))

    with serving(http()) as elsewhere, a_backend(answering(away)) as server:
        ran = run(clauses, at(server), timeout_s=PATIENCE_S)
        assert not elsewhere.connections
    assert ran.exit_code == 1, ran.output
    ran.says("^FAILED (AUTH-04|PHO-01) ", f"actual: +{status}")


def test_a_redirect_loop_is_one_answer(run: Runs) -> None:
    loop = answering(lambda asked: http(status="302 Found", headers=(f"Location: {asked.target}",)))
    with a_backend(loop) as server:
        ran = run("AUTH-04", at(server), timeout_s=PATIENCE_S)
        assert len([request for request in server.received if b"/api/" in request[:40]]) <= 2
    assert ran.exit_code == 1, ran.output
    ran.says("^FAILED AUTH-04 ", "actual: +302 Found")


ECHOES: dict[str, tuple[Callable[[Asked], bytes], str, int]] = {
    "in a body": (lambda asked: plain("400 Bad Request", asked.raw), "AUTH-04", 1),
    "in a body, at its cut": (lambda asked: plain("400 No", b"x" * 3900 + secret_in(asked) * 9), "AUTH-04", 1),
    "in a large body": (lambda asked: plain("400 No", b"x" * 15_000_000 + asked.raw), "AUTH-04", 1),
    "in a body, in base64": (lambda asked: plain("400 No", base64.b64encode(secret_in(asked))), "AUTH-04", 1),
    "in what is no JSON, at its cut": (lambda asked: plain("200 OK", b"x" * 180 + secret_in(asked)), "PHO-02", 1),
    "in a status line": (lambda asked: http(status=f"400 {secret_in(asked).decode()}"), "AUTH-04", 1),
    "in a header": (lambda asked: http(status="400 No", headers=(f"X: {secret_in(asked).decode()}",)), "AUTH-04", 1),
    "in no status line": (lambda asked: one_line(asked) + b"\r\n\r\n", "AUTH-04", 6),
    "in no header": (lambda asked: b"HTTP/1.1 400 No\r\n" + one_line(asked)[1:] + b"\r\n\r\n", "AUTH-04", 6),
    "in no chunk": (lambda asked: CHUNKED + one_line(asked) + b"\r\n", "AUTH-04", 6),
}
"""The answer, the clause that is checked, and the exit code."""


def one_line(asked: Asked) -> bytes:
    return asked.raw.replace(b"\r\n", b" ")


def secret_in(asked: Asked) -> bytes:
    """The one in Authorization."""
    found = re.search(rb"Bearer (.+?)\r\n", asked.raw)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("echo, clause, code", ECHOES.values(), ids=ECHOES)
def test_echoes_are_redacted(run: Runs, echo: Callable[[Asked], bytes], clause: str, code: int) -> None:
    with a_backend(answering(echo)) as server:
        ran = run(clause, at(server), timeout_s=PATIENCE_S)
    assert ran.exit_code == code, ran.output


# --- streams ---------------------------------------------------------------------------------------------------------

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
EVENTS = STREAM + b"\r\n"
HEARTBEAT, PROGRESS = b": still here\n\n", b'data: {"status": "downloading"}\n\n'
NO_END, NO_SIZE = f"the stream did not end within {HASTE_S:g} s", "the stream had no end within the size limit"
STREAMS: dict[str, tuple[bytes | Behaviour, float, int, str]] = {
    "says nothing": (then_hang(EVENTS), HASTE_S, 1, NO_END),
    "hangs in an event": (then_hang(EVENTS + PROGRESS + PROGRESS[:9]), HASTE_S, 1, NO_END),
    "drips events": (drip(EVENTS + PROGRESS * 999), HASTE_S, 6, Failure.TIMEOUT.value),
    "floods heartbeats": (flood(EVENTS, HEARTBEAT * 10_000), PATIENCE_S, 1, NO_SIZE),
    "floods events": (flood(EVENTS, PROGRESS * 10_000), PATIENCE_S, 1, NO_SIZE),
    "floods empty events": (flood(EVENTS, b"data:\n\n" * 10_000), PATIENCE_S, 1, NO_SIZE),
    "floods one line": (flood(EVENTS, b"data: " + b"x" * MIB), PATIENCE_S, 1, NO_SIZE),
    "resets": (then_reset(EVENTS + PROGRESS), PATIENCE_S, 1, "the stream broke off"),
    "is a gzip bomb": (STREAM + b"Content-Encoding: gzip\r\n\r\n" + bomb(4096 * MIB), PATIENCE_S, 1, NO_SIZE),
    "is no UTF-8": (EVENTS + b'data: {"error": "\xff\xfe"}\n\n', PATIENCE_S, 1, "not UTF-8"),
    "is deep": (EVENTS + b"data: " + b"[" * 100_000 + b"\n\n", PATIENCE_S, 1, "is not JSON: nested too deeply"),
    "is binary": (EVENTS + bytes(range(256)) * 99, PATIENCE_S, 1, "nothing of the stream is an event|no JSON|not JSON"),
    "has numbers of no size": (
        EVENTS + b'data: {"status": "success", "current": 1e999, "total": -1e999, "url": []}\n\n',
        PATIENCE_S,
        1,
        "final event",
    ),
}


@pytest.mark.parametrize("answer, timeout_s, code, line", STREAMS.values(), ids=STREAMS)
def test_streams_end(
    run: Runs, free_port: int, answer: bytes | Behaviour, timeout_s: float, code: int, line: str
) -> None:
    with a_backend(answer) as server:
        origin = {"bind": f"127.0.0.1:{free_port}"}
        test = "backend/test_stream.py::test_text_of_any_kind_stands_on_one_line"
        ran = run("SSE-01", at(server, page_origin=origin), timeout_s=timeout_s, test=test)
    assert ran.exit_code == code, ran.output
    ran.says(line)


# --- smoke, and the consumers ----------------------------------------------------------------------------------------

PERSON = {"person_id": str(uuid.uuid4()), "link_id": str(uuid.uuid4()), "served_url": "https://i.invalid/1.jpg"}
SMOKED = {
    name: (HOSTILE[name][0], 6, HOSTILE[name][1].value)
    for name in ("hangs in the headers", "floods chunks", "resets in the body", "drips its headers")
} | {
    "deep arrays": (ANSWERS["deep arrays"][0], 1, NO_ARRAY),
    "NaN": (ANSWERS["NaN"][0], 1, NO_ARRAY),
    "a page without an end": (
        photos(", ".join(['{"served_url": "https://a"}'] * 200)),
        1,
        "the photo of fixtures.seeded_person is none of the person's",
    ),
}


@pytest.mark.parametrize("answer, code, line", SMOKED.values(), ids=SMOKED)
def test_smoke(run: Runs, answer: bytes | Behaviour, code: int, line: str) -> None:
    with a_backend(answer) as server:
        table = {"backend_url": server.url, "fixtures": {"seeded_person": PERSON}}
        ran = run("PHO-02", table, timeout_s=PATIENCE_S if code == 1 else HASTE_S, command=SMOKE)
    assert ran.exit_code == code, ran.output
    ran.says(line)


CONSUMERS = {
    "hangs": (hang, 6, Failure.TIMEOUT.value),
    "resets": (then_reset(b""), 6, Failure.CLOSED.value),
    "floods": (HOSTILE["floods chunks"][0], 6, Failure.TOO_LARGE.value),
    "garbage": (plain("200 OK", b"[" * 100_000), 1, "^FAILED PRX-01 "),
}


@pytest.mark.parametrize("answer, code, line", CONSUMERS.values(), ids=CONSUMERS)
def test_apps(run: Runs, free_port: int, answer: bytes | Behaviour, code: int, line: str) -> None:
    with a_backend(answer) as server:
        table = {"app_url": server.url, "stub_backend": {"bind": f"127.0.0.1:{free_port}"}}
        test = "app/test_proxy.py::test_admin_toggles_off_then_on"
        ran = run("PRX-01", table, timeout_s=HASTE_S if answer is hang else PATIENCE_S, test=test)
    assert ran.exit_code == code, ran.output
    ran.says(line)


@pytest.mark.parametrize("answer, code, line", CONSUMERS.values(), ids=CONSUMERS)
def test_importers(run: Runs, free_port: int, answer: bytes | Behaviour, code: int, line: str) -> None:
    """What calls no backend shows nothing of the rule, whatever it answers."""
    if code == 1:
        code, line = 5, "the import did not call the stub backend"
    with a_backend(answer) as server:
        table = {
            "screenalytics_url": server.url,
            "stub_backend": {"bind": f"127.0.0.1:{free_port}"},
            "sync": {"path": "/api/import/{ep_id}", "timeout_s": HASTE_S if answer is hang else PATIENCE_S},
            "fixtures": {"episode": {"ep_id": str(uuid.uuid4()), "person_ids": [str(uuid.uuid4())]}},
        }
        test = "screenalytics/test_sync.py::test_seeds_are_imported[limit-4]"
        ran = run("SYNC-01", table, timeout_s=PATIENCE_S, test=test)
    assert ran.exit_code == code, ran.output
    ran.says(line)


GARBLED = {
    "no UTF-8": ("print('\\udcff{}')", "exit 0"),
    "deep": ("print('[' * 100_000)", "exit 0"),
    "a flood": ("import sys\nwhile True: sys.stdout.write('x' * 10_000)", "did not end within"),
    "a hang": ("import time\ntime.sleep(999)", "did not end within"),
}


@pytest.mark.parametrize("script, line", GARBLED.values(), ids=GARBLED)
def test_commands_that_import(run: Runs, free_port: int, script: str, line: str) -> None:
    command = [sys.executable, "-c", f"import sys\nsys.stdout.reconfigure(errors='surrogateescape')\n{script}"]
    table = {
        "stub_backend": {"bind": f"127.0.0.1:{free_port}"},
        "sync": {"command": command, "timeout_s": HASTE_S},
        "fixtures": {"episode": {"ep_id": str(uuid.uuid4()), "person_ids": [str(uuid.uuid4())]}},
    }
    test = "screenalytics/test_sync.py::test_seeds_are_imported[limit-4]"
    ran = run("SYNC-01", table, timeout_s=PATIENCE_S, test=test)
    assert ran.exit_code == (6 if "end" in line else 5), ran.output
