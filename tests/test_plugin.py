"""Whole runs, as a user starts them: exit codes, reports, waivers, workers, interruption, and no secret anywhere."""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4
from xml.etree import ElementTree

import jwt
import pytest

import contracts

ROOT = Path(__file__).parents[1]
SUITES = ROOT / "conformance" / "suites" / "backend"
AUTH = SUITES / "test_auth.py"
PHOTOS = SUITES / "test_photos.py"
DIFFERENT = ROOT / "tests" / "different" / "backend.py"
CLAUSES = contracts.load().clauses
LIMIT_S = 120


# --- runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """Something to run against: its environment table and the variables that the table names."""

    table: Mapping[str, Any]
    variables: Mapping[str, str]

    def without(self, *keys: str) -> Target:
        return Target({key: value for key, value in self.table.items() if key not in keys}, self.variables)

    def file(self, folder: Path) -> Path:
        path = folder / "environments.toml"
        path.write_text("[environments.test]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in self.table.items()))
        return path


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    exit_code: int
    output: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.folder / "report" / "report.json").read_text(encoding="utf-8"))
        return report

    @property
    def verdicts(self) -> dict[str, str]:
        return {clause["id"]: clause["verdict"] for clause in self.report["clauses"]}


def command(folder: Path, *arguments: str, suite: Path = AUTH) -> list[str]:
    return [
        *(sys.executable, "-P", "-m", "pytest", "-p", "conformance.plugin"),
        *("-c", str(ROOT / "conformance" / "run.ini"), "--rootdir", str(ROOT), "--confcutdir", str(SUITES)),
        *("--report-dir", str(folder / "report"), "--junitxml", str(folder / "junit.xml")),
        *(str(suite), *arguments),
    ]


def variables(target: Target | None) -> dict[str, str]:
    ours = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return {**ours, "PYTHONPATH": str(ROOT), **(target.variables if target else {})}


def run(folder: Path, target: Target | None, *arguments: str, suite: Path = AUTH) -> Run:
    if target is not None:
        arguments = ("--env-file", str(target.file(folder)), *arguments)
    done = subprocess.run(
        command(folder, *arguments, suite=suite),
        cwd=folder,
        env=variables(target),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Run(done.returncode, done.stdout, folder)


# --- targets ---------------------------------------------------------------------------------------------------------


@contextmanager
def different(personality: str) -> Iterator[Target]:
    """The second backend, in one of its personalities."""
    serve = [sys.executable, str(DIFFERENT), "--personality", personality]
    with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        described = json.loads(process.stdout.readline())
        yield Target(described["environment"], described["variables"])
        process.terminate()


@pytest.fixture(scope="module")
def opaque() -> Iterator[Target]:
    """Conforming, with tokens that are no JWTs: what needs one is not verified."""
    with different("opaque") as target:
        yield target


@pytest.fixture(scope="module")
def lenient() -> Iterator[Target]:
    """Conforming, but breaks every SHOULD."""
    with different("lenient") as target:
        yield target


SIGNING_KEY = f"signing-{secrets.token_urlsafe(24)}"
SERVICE_TOKEN = jwt.encode({"role": "service_role", "jti": secrets.token_hex(8)}, SIGNING_KEY, algorithm="HS256")
SECRETS = {
    "service_role_token": SERVICE_TOKEN,
    "internal_admin_secret": f"admin-{secrets.token_urlsafe(16)}/+'é",
    "screenalytics_token": f"reader-{secrets.token_urlsafe(24)}",
    "backend_admin_token": f"person-{secrets.token_urlsafe(24)}",
    "jwt_secret": SIGNING_KEY,
}
VARIABLE = {key: f"TEST_{key.upper()}" for key in SECRETS}
TELLTALE = [secret.rpartition(".")[2][:16].lower() for secret in SECRETS.values()]
"""The start of each secret (of a JWT: of its signature), so that half a secret is found too."""


class Handler(BaseHTTPRequestHandler):
    """A stand-in for a backend: the root and the states answer, subclasses do the rest."""

    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        for method in ("GET", "PATCH", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
            setattr(self, f"do_{method}", self.respond)
        super().handle_one_request()

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/":
            self.answer(404, "nothing here")
        elif self.path == "/_states":
            links = [
                {
                    "link_id": str(uuid4()),
                    "served_url": f"https://images.example/{uuid4()}",
                    "facebank_seed": number == 0,
                }
                for number in range(2)
            ]
            self.answer(200, json.dumps({"person_id": str(uuid4()), "links": links}))
        else:
            self.api(body)

    def api(self, body: bytes) -> None:
        raise NotImplementedError

    def answer(self, status: int, body: str, headers: Mapping[str, str] | None = None) -> None:
        content = body.encode("utf-8", "surrogatepass")
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Echoing(Handler):
    """Accepts the service, and answers everybody else 400 with all that they sent, in every spelling."""

    def api(self, body: bytes) -> None:
        sent = {name: value.encode("latin-1").decode("utf-8", "replace") for name, value in self.headers.items()}
        if (
            sent.get("Authorization") == f"Bearer {SERVICE_TOKEN}"
            and sent.get("X-TRR-Internal-Admin-Secret") == SECRETS["internal_admin_secret"]
        ):
            self.answer(200, json.dumps(sent))
            return
        text = "\n".join([*(f"{name}: {value}" for name, value in sent.items()), self.path, body.decode("latin-1")])
        spellings = [text, text.upper(), quote(text), repr(text), json.dumps(sent)]
        spellings += [base64.b64encode(value.rpartition(" ")[2].encode()).decode() for value in sent.values()]
        echo = {f"X-Echo-{name}": quote(value) for name, value in sent.items() if len(value) < 1000}
        self.answer(400, "\n".join(spellings), echo)


class Odd(Handler):
    """Answers toggles and photos with JSON that is hard to carry: lone surrogates, deep nesting, large numbers."""

    def api(self, body: bytes) -> None:
        deep = '{"\\ud800": "\\udfff", "n": 1e999, "m": -' + "9" * 4000 + ', "deep": ' + "[" * 500 + "]" * 500 + "}"
        self.answer(200, deep if self.command == "PATCH" else f"[{deep}]")


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[Target]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        table = {
            "production": False,
            "backend_url": url,
            "backend_states_url": f"{url}/_states",
            "credentials": {key: {"env": name} for key, name in VARIABLE.items()},
        }
        yield Target(table, {VARIABLE[key]: secret for key, secret in SECRETS.items()})
        server.shutdown()


@pytest.fixture(scope="module")
def echoing() -> Iterator[Target]:
    with serving(Echoing) as target:
        yield target


# --- usage (4) -------------------------------------------------------------------------------------------------------

CREDENTIAL = '[environments.x.credentials]\njwt_secret = { env = "SURELY_UNSET" }\n'
HEAD = '[environments.x]\nproduction = false\nbackend_url = "http://127.0.0.1:1"\n'
FILES = {
    "good.toml": HEAD,
    "key.toml": HEAD + "timeout = 1\n",
    "variable.toml": HEAD + CREDENTIAL,
    "waivers.toml": '[[waiver]]\nclause = "TOG-99"\nreason = "r"\nowner = "o"\nexpires = 2099-01-01\n',
}
USAGE = {
    "unknown key": (("--env-file", "key.toml"), "environments.x.timeout: unknown key"),
    "unset variable": (("--env-file", "variable.toml"), "credentials.jwt_secret: the variable SURELY_UNSET is not set"),
    "no file": (("--env-file", "none.toml"), "none.toml: cannot be read"),
    "no environment": (("--env-file", "good.toml", "--env", "y"), "has no environment 'y'"),
    "malformed URL": (("--backend-url", "localhost:8000"), "backend_url: must be an http(s) URL"),
    "unknown target": (("--env-file", "good.toml", "--target", "frontend"), "--target frontend"),
    "target without address": (("--env-file", "good.toml", "--target", "app"), "--target app: app_url is not set"),
    "unknown requirement": (("--env-file", "good.toml", "--require", "TOG-99"), "--require TOG-99: no clause matches"),
    "unknown end": (("--env-file", "good.toml", "--until", "TOG-99"), "--until TOG-99: is no clause"),
    "wrong waiver": (("--env-file", "good.toml", "--waivers", "waivers.toml"), "'TOG-99' is no clause"),
    "both ways": (("--env-file", "good.toml", "--app-url", "http://h"), "--env and --env-file exclude --backend-url"),
}


@pytest.mark.parametrize("arguments, message", USAGE.values(), ids=USAGE)
def test_a_usage_error_is_one_line_and_exit_4(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    ended = run(tmp_path, None, *arguments)
    assert ended.exit_code == 4, ended.output
    (line,) = (line for line in ended.output.splitlines() if message in line)
    assert line.startswith("ERROR: ")
    assert "Traceback" not in ended.output
    assert "INTERNALERROR" not in ended.output


# --- verdicts and exit codes -----------------------------------------------------------------------------------------


def test_an_unreachable_target_is_exit_6(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        port = server.server_address[1]
    ended = run(tmp_path, None, "--backend-url", f"http://127.0.0.1:{port}", "--clause", "AUTH-0*")
    assert ended.exit_code == 6, ended.output
    assert "Traceback" not in ended.output
    assert ended.report["verdict"] == "error"
    assert ended.verdicts["AUTH-01"] == "error"
    assert ended.verdicts["TOG-01"] == "not_selected"


def test_an_empty_selection_is_exit_5(tmp_path: Path, opaque: Target) -> None:
    ended = run(tmp_path, opaque, "--clause", "NOPE")
    assert ended.exit_code == 5, ended.output
    assert ended.report["verdict"] == "nothing_verified"
    assert set(ended.verdicts.values()) == {"not_selected"}


@pytest.mark.parametrize("required, exit_code", [((), 0), (("--require", "AUTH-01"), 0), (("--require", "all"), 1)])
def test_what_is_required_must_be_verified(
    tmp_path: Path, opaque: Target, required: tuple[str, ...], exit_code: int
) -> None:
    ended = run(tmp_path, opaque, "--clause", "AUTH-01,AUTH-07", *required)
    assert ended.exit_code == exit_code, ended.output
    assert (ended.verdicts["AUTH-01"], ended.verdicts["AUTH-07"]) == ("passed", "not_verified")


@pytest.mark.parametrize("strict, exit_code", [((), 0), (("--strict",), 1)])
def test_a_should_that_fails_is_a_warning_unless_strict(
    tmp_path: Path, lenient: Target, strict: tuple[str, ...], exit_code: int
) -> None:
    ended = run(tmp_path, lenient, "--clause", "AUTH-01", *strict)
    assert ended.exit_code == exit_code, ended.output
    assert ended.verdicts["AUTH-01"] == "warned"
    (failure,) = next(clause for clause in ended.report["clauses"] if clause["id"] == "AUTH-01")["failures"]
    assert (failure["level"], failure["expected"]) == ("SHOULD", "401")
    assert failure["reproduce"].startswith("curl ")


def test_clauses_are_left_once_the_first_of_them_has_failed(tmp_path: Path, echoing: Target) -> None:
    ended = run(tmp_path, echoing, "--clause", "AUTH-03,AUTH-08,AUTH-09", "--until", "AUTH-09,AUTH-03")
    assert ended.verdicts["AUTH-09"] == "failed", ended.output
    assert (ended.verdicts["AUTH-03"], ended.verdicts["AUTH-08"]) == ("not_verified", "failed")
    assert "AUTH-03: AUTH-09 has failed" in ended.output


def test_a_failure_is_accepted_by_its_waiver_alone(tmp_path: Path, echoing: Target, opaque: Target) -> None:
    """Drafted, in force, not needed by a target that conforms, expired."""
    waivers = tmp_path / "waivers.toml"
    clauses = ("--clause", "AUTH-01,AUTH-02")
    failed = run(tmp_path, echoing, *clauses, "--write-waivers", str(waivers))
    assert failed.exit_code == 1, failed.output
    drafted = tomllib.loads(waivers.read_text(encoding="utf-8"))["waiver"]
    assert [waiver["clause"] for waiver in drafted] == ["AUTH-01", "AUTH-02"]

    waived = run(tmp_path, echoing, *clauses, "--waivers", str(waivers))
    assert waived.exit_code == 0, waived.output
    assert (waived.verdicts["AUTH-01"], waived.verdicts["AUTH-02"]) == ("waived", "waived")

    unneeded = run(tmp_path, opaque, *clauses, "--waivers", str(waivers))
    assert unneeded.exit_code == 1, unneeded.output
    assert "AUTH-02: the waiver is not needed any more" in unneeded.output

    past = str(datetime.date.today() - datetime.timedelta(1))
    waivers.write_text(re.sub(r"(?<=expires = )\S+", past, waivers.read_text(encoding="utf-8")))
    expired = run(tmp_path, echoing, *clauses, "--waivers", str(waivers))
    assert expired.exit_code == 1, expired.output
    assert expired.verdicts["AUTH-01"] == "failed"
    assert f"expired on {past}" in expired.output


def test_workers_do_not_change_the_verdicts(tmp_path: Path, echoing: Target) -> None:
    runs = []
    for workers in ("0", "2"):
        folder = tmp_path / workers
        folder.mkdir()
        runs.append(run(folder, echoing, "--clause", "AUTH-01,AUTH-04,AUTH-08,AUTH-10", "-n", workers))
    alone, spread = runs
    assert (alone.exit_code, alone.verdicts) == (spread.exit_code, spread.verdicts), spread.output
    assert {"passed", "failed"} <= set(alone.verdicts.values())


@cache
def backend_clauses() -> frozenset[str]:
    return frozenset(clause.id for clause in CLAUSES.values() if "backend" in clause.targets)


def test_what_is_missing_is_named_for_each_clause(tmp_path: Path, opaque: Target) -> None:
    """An address and credentials, but neither states, fixtures nor the signing key: not one failure, and no guess."""
    ended = run(tmp_path, opaque.without("backend_states_url"), "--profile", "quick", suite=SUITES)
    unverified = {c["id"]: c["reason"] for c in ended.report["clauses"] if c["verdict"] == "not_verified"}
    assert unverified.keys() == backend_clauses() - {i for i, verdict in ended.verdicts.items() if verdict == "passed"}
    assert len(unverified) > len(backend_clauses()) / 2
    for clause, reason in unverified.items():
        assert re.search(
            r"backend_states_url|page_origin|stub_vision|database_url|purge|openapi\.json|fixtures\.\w+|credentials\.\w+",
            reason,
        ), (clause, reason)
        assert "Traceback" not in reason


@pytest.mark.parametrize("workers", ["0", "2"])
def test_answers_that_are_hard_to_carry_are_verdicts(tmp_path: Path, workers: str) -> None:
    with serving(Odd) as target:
        ended = run(tmp_path, target, "--clause", "PHO-01", "--profile", "quick", "-n", workers, suite=PHOTOS)
    assert ended.exit_code == 1, ended.output
    assert ended.verdicts["PHO-01"] == "failed"
    json.dumps(ended.report, allow_nan=False)
    assert "INTERNALERROR" not in ended.output
    assert "Traceback" not in ended.output


# --- reports ---------------------------------------------------------------------------------------------------------


def test_the_report_keeps_its_schema_and_lists_every_clause(tmp_path: Path, echoing: Target) -> None:
    ended = run(tmp_path, echoing, "--clause", "AUTH-01,AUTH-04,AUTH-08", "--seed", "7")
    report = ended.report
    contracts.load().validator("report").validate(report)
    assert [clause["id"] for clause in report["clauses"]] == list(CLAUSES)
    assert report["exit_code"] == ended.exit_code == 1
    assert (report["verdict"], report["environment"], report["seed"]) == ("failed", "test", 7)
    assert report["targets"] == {"backend": echoing.table["backend_url"]}
    failed = next(clause for clause in report["clauses"] if clause["id"] == "AUTH-01")
    assert failed["failures"][0]["exchange"]["response"]["status"] == 400
    assert failed["statement"] in ended.output

    suite = next(ElementTree.parse(tmp_path / "junit.xml").iter("testsuite"))
    outcomes = {test["nodeid"]: test["outcome"] for clause in report["clauses"] for test in clause["tests"]}
    assert int(suite.attrib["tests"]) == len(outcomes)
    assert int(suite.attrib["failures"]) == list(outcomes.values()).count("failed") > 0


def test_no_secret_is_in_any_output(tmp_path: Path, echoing: Target) -> None:
    ended = run(
        tmp_path,
        echoing,
        *("--clause", "AUTH-01,AUTH-03,AUTH-07,AUTH-09", "--profile", "quick", "-n", "2"),
        *("-rA", "-vv", "--tb=long", "--showlocals"),
        *("--write-waivers", str(tmp_path / "waivers.toml")),
    )
    assert ended.exit_code == 1, ended.output
    written = {str(path): path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()}
    assert {"report.json", "junit.xml", "waivers.toml"} <= {Path(name).name for name in written}
    assert "<redacted:internal_admin_secret>" in written[str(tmp_path / "report" / "report.json")]
    for name, text in {"the terminal": ended.output, **written}.items():
        found = [telltale for telltale in TELLTALE if telltale in text.lower()]
        lines = [line[:300] for line in text.splitlines() if any(telltale in line.lower() for telltale in found)]
        assert not found, (name, lines[:3])


# --- interruption ----------------------------------------------------------------------------------------------------


def test_an_interrupted_run_leaves_a_report(tmp_path: Path) -> None:
    asked, leave = threading.Event(), threading.Event()

    class Hanging(Handler):
        def api(self, body: bytes) -> None:
            asked.set()
            leave.wait(LIMIT_S)

    with serving(Hanging) as target:
        arguments = ("--env-file", str(target.file(tmp_path)), "--clause", "AUTH-01", "--request-timeout", str(LIMIT_S))
        process = subprocess.Popen(
            command(tmp_path, *arguments),
            cwd=tmp_path,
            env=variables(target),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert asked.wait(LIMIT_S), "no request came"
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
            leave.set()
    ended = Run(process.returncode, output, tmp_path)
    assert ended.exit_code == 2, output
    assert (ended.report["exit_code"], ended.report["verdict"]) == (2, "error")
    assert ended.verdicts["AUTH-01"] == "not_verified"
