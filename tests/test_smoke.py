"""The smoke checks and live safety, on a bundled world that stands behind TLS for staging and for production."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from conformance import __version__, environment
from conformance.errors import NotVerified, Violation
from conformance.plugin import PRODUCTION_RATE
from conformance.trace import Options, trace_calls
from smoke.test_screenalytics import Observed
from tests.edge import Edge, Forward, Lost, Received, Reply, Rule, edge

ROOT = Path(__file__).parent.parent
TARGETS = ("backend", "app", "screenalytics")
PREFIX = "/api/v1/screenalytics/people"


# --- a live world ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A running reference, with an edge before each service, and the CA that has signed for them."""

    table: dict[str, Any]
    variables: dict[str, str]
    edges: dict[str, Edge]
    ca: Path
    log: Path

    def state(self, target: str, name: str, **params: Any) -> dict[str, Any]:
        body = {"state": name, "action": "setup", "params": params}
        values: dict[str, Any] = httpx.post(self.table[f"{target}_states_url"], json=body).raise_for_status().json()
        return values

    def photos(self, person_id: str, *, seed_only: bool) -> list[str]:
        """As Screenalytics reads them, by the back door."""
        url = f"{self.table['backend_url']}{PREFIX}/{person_id}/photos"
        headers = {"Authorization": f"Bearer {self.variables['SCREENALYTICS_SERVICE_TOKEN']}", "User-Agent": "curl/8"}
        rows = httpx.get(url, params={"seed_only": str(seed_only).lower()}, headers=headers).json()
        return [row["served_url"] for row in rows]

    def set_flag(self, person_id: str, link_id: str, value: bool) -> None:
        """Another admin at work, by the back door."""
        url = f"{self.table['backend_url']}/api/v1/admin/person/{person_id}/gallery/{link_id}/facebank-seed"
        headers = {
            "Authorization": f"Bearer {self.variables['TRR_CORE_SUPABASE_SERVICE_ROLE_KEY']}",
            "X-TRR-Internal-Admin-Secret": self.variables["TRR_INTERNAL_ADMIN_SHARED_SECRET"],
        }
        httpx.patch(url, json={"facebank_seed": value}, headers=headers).raise_for_status()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def context(authority: trustme.CA) -> ssl.SSLContext:
    """Of a server whose certificate is for `localhost`, not for its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA, context: ssl.SSLContext) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    ca, log = folder / "ca.pem", folder / "access.log"
    authority.cert_pem.write_to_path(str(ca))
    command = [sys.executable, "-P", "-m", "reference", "--json", "--access-log", str(log)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    with ExitStack() as stack:
        edges = {
            target: stack.enter_context(edge(ready["environment"][f"{target}_url"], context)) for target in TARGETS
        }
        yield World(ready["environment"], ready["variables"], edges, ca, log)
    process.terminate()
    process.wait(20)


@dataclass(frozen=True)
class Live:
    """The world as one test has it: people and an episode of its own, and a folder for what runs leave."""

    world: World
    folder: Path
    seeded: dict[str, Any]
    unseeded: dict[str, Any]
    ep_id: str

    @property
    def link(self) -> dict[str, Any]:
        """The seeded person's one flagged link."""
        (link,) = (link for link in self.seeded["links"] if link["facebank_seed"])
        return dict(link)

    @property
    def backend(self) -> Edge:
        return self.world.edges["backend"]

    def is_on(self) -> bool:
        """Whether the fixture's link is flagged."""
        return self.link["served_url"] in self.world.photos(self.seeded["person_id"], seed_only=True)

    def environment(self, *, production: bool, **changed: Any) -> dict[str, Any]:
        """The table of an environment; `None` takes a key out."""
        table = self.world.table
        kept = ("credentials", "sync", "screenalytics_database_url", "access_log")
        person = {"person_id": self.seeded["person_id"], "link_id": self.link["link_id"]}
        ids = [self.seeded["person_id"], self.unseeded["person_id"]]
        whole = {
            "production": production,
            **{f"{target}_url": self.world.edges[target].url for target in TARGETS},
            **{key: table[key] for key in kept},
            "fixtures": {
                "seeded_person": {**person, "served_url": self.link["served_url"]},
                "unseeded_person": {"person_id": self.unseeded["person_id"]},
                "episode": {"ep_id": self.ep_id, "person_ids": ids},
            },
            **changed,
        }
        return {key: value for key, value in whole.items() if value is not None}

    def command(self, table: dict[str, Any], *arguments: str, module: str = "conformance") -> list[str]:
        path = self.folder / "live.toml"
        path.write_text(f"[environments]\nlive = {toml(table)}\n", encoding="utf-8")
        ours = ["-m", module, "smoke", "--env", "live", "--env-file", str(path)]
        return [sys.executable, *ours, "--report-dir", str(self.folder / "report"), *arguments]

    @property
    def variables(self) -> dict[str, str]:
        more = {"SSL_CERT_FILE": str(self.world.ca), "XDG_STATE_HOME": str(self.folder / "state")}
        return {**os.environ, **self.world.variables, **more}

    def start(self, *arguments: str, table: dict[str, Any] | None = None) -> subprocess.Popen[str]:
        """A run that writes, on production."""
        more = ("--request-timeout", "120")  # none of those that a test holds
        command = self.command(table or self.environment(production=True), *TOGGLE, *more, *arguments)
        # who is started in the background ignores SIGINT, and so do its children
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(
                command, cwd=ROOT, env=self.variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        finally:
            signal.signal(signal.SIGINT, before)

    def smoke(self, table: dict[str, Any], *arguments: str, module: str = "conformance", **variables: str) -> Ran:
        """A run to its end, by `trr-conformance` or by plain pytest."""
        done = subprocess.run(
            self.command(table, *arguments, module=module),
            cwd=ROOT,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        return self.ran(done.returncode, done.stdout + done.stderr)

    def ran(self, code: int, output: str) -> Ran:
        """What a run that has ended left; no secret of the world is anywhere in it."""
        folder = self.folder / "report"
        report, evidence = folder / "report.json", folder / "evidence.md"
        texts = [output] + [path.read_text(encoding="utf-8") for path in (report, evidence) if path.exists()]
        secrets = [value for name, value in self.world.variables.items() if not name.endswith("DB_URL")]
        assert not any(secret in text for secret in secrets for text in texts)
        clauses = json.loads(texts[1])["clauses"] if report.exists() else []
        return Ran(code, output, {c["id"]: c for c in clauses if c["verdict"] != "not_selected"}, texts[-1])

    def rule(self, rule: Rule) -> None:
        """How the edge of the backend answers this test's run."""
        self.backend.rule = rule


@dataclass(frozen=True)
class Ran:
    """What a run has left."""

    code: int
    output: str
    clauses: dict[str, dict[str, Any]]
    evidence: str

    @property
    def verdicts(self) -> dict[str, str]:
        return {clause_id: clause["verdict"] for clause_id, clause in self.clauses.items()}

    def having(self, verdict: str) -> set[str]:
        return {clause_id for clause_id, each in self.verdicts.items() if each == verdict}

    def has_evidence(self, *lines: str) -> None:
        missing = [line for line in lines if line not in self.evidence]
        assert not missing, self.evidence + self.output


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture
def live(world: World, tmp_path: Path) -> Iterator[Live]:
    seeded = world.state("backend", "person with gallery", seeded=1, unseeded=4)
    unseeded = world.state("backend", "person with gallery", seeded=0, unseeded=3)
    ids = [seeded["person_id"], unseeded["person_id"]]
    ep_id = world.state("screenalytics", "episode with cast", person_ids=ids)["ep_id"]
    for each in world.edges.values():
        each.received.clear()
    live = Live(world, tmp_path, seeded, unseeded, ep_id)
    yield live
    live.rule(lambda request, forward: forward(request))
    live.backend.turn_away(0)


# --- what is checked -------------------------------------------------------------------------------------------------

READ = {"AUTH-01", "AUTH-02", "AUTH-03", "AUTH-11", "PHO-02", "PHO-03", "PHO-04", "PRX-02"}
WRITTEN = {"AUTH-04", "TOG-05", "PRX-01"}
IMPORTED = {"SYNC-01", "SYNC-02", "SYNC-04"}
CALLS = {"FALL-01", "FALL-02", "FALL-03", "FALL-06", "FALL-11"}
ROWS = {"SYNC-03"}

GUARD = (
    "`403` without internal secret header",
    "`403` with wrong internal secret",
)
TOGGLED = (
    "`200` with correct internal secret (toggle succeeded",
    "Proxy returned `200` for toggle OFF then ON",
)
COUNTED = (
    "Seeded person: `seed_only=true` returned `1` row; `seed_only=false` returned `5` rows (superset)",
    "Unseeded person: `seed_only=true` returned `0` rows; `seed_only=false` returned `3` rows",
)
FALLBACK = (
    "Seeded person: only `seed_only=true` request",
    "Unseeded person: `seed_only=true` then `seed_only=false`",
)
IMPORTED_COUNTS = (
    "Seeded and unseeded run: `imported_facebank_images=4`, `imported_facebank_people=2`, `import_errors=0`",
    "Seeded and unseeded rerun: `imported_facebank_images=0` (dedupe confirmed)",
    "Seeded person: `1` `face_bank_images` row inserted",
    "Unseeded person: `3` `face_bank_images` rows inserted",
)
INSERTED = "Inserted `face_bank_images` rows have `is_seed=true`, `approved=false`"


def test_a_rollout_from_staging_to_production(live: Live) -> None:
    """Staging has every figure of the plan; then production, with the log and rows of that import, has all it may."""
    staging = live.smoke(live.environment(production=False))
    assert staging.code == 0, staging.output
    assert staging.having("passed") == READ | WRITTEN | IMPORTED | CALLS | ROWS == set(staging.verdicts)
    staging.has_evidence(*GUARD, *TOGGLED, *COUNTED, *FALLBACK, *IMPORTED_COUNTS, INSERTED)
    staging.has_evidence("Rerun did not create duplicates")
    assert live.is_on()

    production = live.smoke(live.environment(production=True), "--allow-writes")
    assert production.code == 0, production.output
    assert production.having("not_verified") == IMPORTED
    assert production.having("passed") == READ | WRITTEN | CALLS | ROWS
    production.has_evidence(*GUARD, *TOGGLED, *COUNTED, *FALLBACK, INSERTED)
    assert live.is_on()

    again = live.smoke(live.environment(production=False), module="pytest")
    assert (again.code, again.having("passed") >= READ) == (0, True), again.output
    assert again.having("not_verified") == {"SYNC-01", "SYNC-02"}, "everything was there before the first import"
    again.has_evidence("rerun: `imported_facebank_images=0`", *FALLBACK)


def test_requests_to_production(live: Live) -> None:
    """Without `--allow-writes` nothing is written, nor said that could; one User-Agent; never too many at once."""
    (live.folder / "access.log").touch()
    ran = live.smoke(live.environment(production=True, access_log={"path": str(live.folder / "access.log")}))
    assert ran.code == 0, ran.output
    assert ran.having("passed") == READ
    assert ran.having("not_verified") == WRITTEN | IMPORTED | CALLS | ROWS
    assert only_reads(live)
    requests = [request for each in live.world.edges.values() for request in each.received]
    agents = {request.headers["user-agent"] for request in requests}
    assert len(agents) == 1
    assert agents.pop().startswith(f"trr-conformance/{__version__} (run ")
    times = sorted(request.at for request in requests)
    limit = int(PRODUCTION_RATE)
    assert all(later - sooner > 0.9 for sooner, later in zip(times, times[limit:], strict=False))


def only_reads(live: Live) -> bool:
    """Whether all that came to the services reads, or says what is so already."""
    requests = [request for each in live.world.edges.values() for request in each.received]
    writes = [request for request in requests if request.method != "GET"]
    assert {request.method for request in writes} == {"PATCH"}
    return all(json.loads(request.body) == {"facebank_seed": True} for request in writes)


def test_an_open_door_is_told_and_nothing_changes(live: Live) -> None:
    """A guard that does not look at the secret: the probes say what is so already."""
    secret = live.world.variables["TRR_INTERNAL_ADMIN_SHARED_SECRET"]

    def let_in(request: Received, forward: Forward) -> Reply:
        return forward(replace(request, headers={**request.headers, "x-trr-internal-admin-secret": secret}))

    live.rule(let_in)
    ran = live.smoke(live.environment(production=True))
    assert ran.code == 1
    assert {"AUTH-02", "AUTH-03"} <= ran.having("failed")
    assert "the backend stage, which comes before, failed" in ran.clauses["PRX-02"]["reason"]
    assert ran.having("passed") & {"PRX-01", "PRX-02", *CALLS, *ROWS} == set()
    assert only_reads(live)
    assert live.is_on()


def test_a_refusal_that_changes_something_is_put_back_by_restore(live: Live) -> None:
    """A guard that turns flags off: nothing is written without `--allow-writes`, and exit 7 says what is left."""
    secret = live.world.variables["TRR_INTERNAL_ADMIN_SHARED_SECRET"]

    def turn_off(request: Received, forward: Forward) -> Reply:
        if request.method == "PATCH" and "x-trr-internal-admin-secret" not in request.headers:
            headers = {**request.headers, "x-trr-internal-admin-secret": secret, "content-length": "24"}
            forward(replace(request, headers=headers, body=b'{"facebank_seed": false}'))
            return Reply(403)
        return forward(request)

    live.rule(turn_off)
    table = live.environment(production=True)
    ran = live.smoke(table, "--clause", "AUTH-02,AUTH-05")
    assert (ran.code, ran.verdicts["AUTH-05"]) == (7, "failed")
    assert "--restore puts it back" in ran.evidence
    assert not live.is_on()
    assert live.smoke(table, "--restore").code == 0
    assert live.is_on()


@pytest.mark.parametrize("name", ["local", "staging", "prod"])
def test_the_environments_that_come_with_it(name: str) -> None:
    """Each has all targets, and credentials by the names of their variables alone."""
    source = environment.read_file(ROOT / "smoke" / "environments.toml", name)
    values = dict.fromkeys(environment.DEFAULT_VARIABLES.values(), "a-value-of-no-file")
    found = environment.resolve(replace(source, variables=values))
    assert found.targets == TARGETS
    assert found.production is (name == "prod")
    assert set(found.credentials.values()) == {"a-value-of-no-file"}


def test_no_probes_sends_none(live: Live) -> None:
    ran = live.smoke(live.environment(production=True), "--no-probes")
    assert {"AUTH-01", "AUTH-02", "AUTH-03", "PRX-02"} <= ran.having("not_verified")
    assert {request.method for each in live.world.edges.values() for request in each.received} == {"GET"}


def test_a_fixture_that_is_none_is_never_written(live: Live) -> None:
    """An address that no photo has: there is no telling what was to be put back."""
    table = live.environment(production=True)
    table["fixtures"]["seeded_person"]["served_url"] = "https://elsewhere.invalid/photo.jpg"
    ran = live.smoke(table, "--allow-writes")
    assert ran.code == 1
    assert ran.verdicts["PHO-04"] == "failed"
    assert {"AUTH-02", "AUTH-04", "TOG-05"} <= ran.having("not_verified")
    assert not live.backend.having("PATCH")


def test_a_link_of_another_photo_is_put_back_too(live: Live) -> None:
    """The fixture names one photo's link and another's address: the flag that was changed is found."""
    person_id = live.seeded["person_id"]
    other = next(link for link in live.seeded["links"] if not link["facebank_seed"])
    live.world.set_flag(person_id, other["link_id"], True)
    table = live.environment(production=True)
    table["fixtures"]["seeded_person"]["link_id"] = other["link_id"]
    ran = live.smoke(table, "--allow-writes", "--no-probes")
    assert ran.code == 1
    assert "another photo did" in ran.clauses["TOG-05"]["reason"]
    assert other["served_url"] in live.world.photos(person_id, seed_only=True)


TOGGLE = ("--allow-writes", "--clause", "AUTH-04,TOG-05")
"""Only the toggle, and quicker."""


# --- what is put back ------------------------------------------------------------------------------------------------


def test_an_unflagged_link_is_unflagged_afterwards(live: Live) -> None:
    """The first value is put back, not the last of OFF and ON; the person has another seed."""
    person_id = live.seeded["person_id"]
    other = next(link for link in live.seeded["links"] if not link["facebank_seed"])
    table = live.environment(production=True)
    fixture = {"person_id": person_id, "link_id": other["link_id"], "served_url": other["served_url"]}
    table["fixtures"]["seeded_person"] = fixture
    ran = live.smoke(table, "--allow-writes")
    assert ran.code == 0, ran.output
    assert ran.having("passed") >= WRITTEN
    assert live.world.photos(person_id, seed_only=True) == [live.link["served_url"]]


def writes(request: Received) -> bool:
    """Whether it is a toggle OFF."""
    return request.method == "PATCH" and b"false" in request.body


def test_put_back_after_a_failure(live: Live) -> None:
    """OFF is accepted, ON is not: the check fails, and the flag is ON again once the backend takes it."""
    refused = threading.Event()

    def fail_once(request: Received, forward: Forward) -> Reply:
        if request.method == "PATCH" and b"true" in request.body and is_written(live.backend) and not refused.is_set():
            refused.set()
            return Reply(500)
        return forward(request)

    live.rule(fail_once)
    ran = live.smoke(live.environment(production=True), *TOGGLE)
    assert refused.is_set()
    assert (ran.code, ran.verdicts["AUTH-04"]) == (1, "failed")
    assert live.is_on()


@pytest.fixture
def held(live: Live) -> Iterator[threading.Event]:
    """The answer to the first toggle OFF, which was carried out, comes when this is set."""
    go, first = threading.Event(), threading.Lock()

    def hold(request: Received, forward: Forward) -> Reply:
        reply = forward(request)
        if writes(request) and first.acquire(blocking=False):
            go.wait(120)
        return reply

    live.rule(hold)
    yield go
    go.set()


def is_written(edge: Edge) -> bool:
    return any(map(writes, edge.received))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_put_back_after_a_signal(live: Live, held: threading.Event, number: signal.Signals) -> None:
    with live.start() as process:
        live.backend.wait_for(is_written)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    ran = live.ran(process.returncode, output)
    assert ran.code == 2, output
    assert live.is_on()
    assert not list((live.folder / "state").rglob("*.json"))


def test_put_back_after_a_kill_by_restore(live: Live, held: threading.Event) -> None:
    """SIGKILL leaves the flag as it is, and the journal: later runs refuse, until `--restore` puts it back."""
    with live.start() as process:
        live.backend.wait_for(is_written)
        process.kill()
        process.communicate(timeout=60)
    held.set()
    assert not live.is_on()
    table = live.environment(production=True)
    ran = live.smoke(table)
    assert ran.code == 7
    assert "--restore" in ran.evidence
    assert ran.having("passed") == set()
    restored = live.smoke(table, "--restore")
    assert restored.code == 0, restored.output
    assert live.is_on()


def test_put_back_once_the_backend_is_there_again(live: Live) -> None:
    """The connection is lost when the toggle is carried out, and the next ones are not even taken."""
    lost = threading.Lock()

    def lose(request: Received, forward: Forward) -> Reply:
        reply = forward(request)
        if writes(request) and lost.acquire(blocking=False):
            live.backend.turn_away(6)
            raise Lost
        return reply

    live.rule(lose)
    ran = live.smoke(live.environment(production=True), *TOGGLE)
    assert live.backend.turned_away >= 6
    assert ran.code in (0, 6), ran.output
    assert ran.having("failed") == set()
    assert live.is_on()


def test_what_cannot_be_put_back_is_the_loudest_line(live: Live) -> None:
    """The backend stays away: exit 7; what is left is put back by `--restore`."""

    def lose(request: Received, forward: Forward) -> Reply:
        reply = forward(request)
        if writes(request):
            live.backend.turn_away(10**9)
            raise Lost
        return reply

    live.rule(lose)
    ran = live.smoke(live.environment(production=True), *TOGGLE, "--patience", "0.5")
    assert ran.code == 7, ran.output
    assert "SOMETHING ON A LIVE SYSTEM COULD NOT BE PUT BACK" in ran.output
    assert live.link["link_id"] in ran.evidence.split("##")[0]
    assert not live.is_on()
    live.backend.turn_away(0)
    live.rule(lambda request, forward: forward(request))
    assert live.smoke(live.environment(production=True), "--restore").code == 0
    assert live.is_on()


# --- others at work --------------------------------------------------------------------------------------------------


def test_two_runs_exclude_each_other(live: Live, held: threading.Event) -> None:
    """While one is at work on a backend, by whatever name, another one stops before any request, with one line."""
    with live.start() as process:
        live.backend.wait_for(is_written)
        sent = len(live.backend.received)
        for option in ("--allow-writes", "--restore"):
            second = live.smoke(live.environment(production=True), option)
            assert second.code == 4
            assert "another run is at work on it" in second.output.strip().splitlines()[-1]
        assert len(live.backend.received) == sent
        held.set()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert live.is_on()


def test_somebody_else_is_told_from_a_backend_that_does_not_follow(live: Live) -> None:
    """An admin turns the flag on when we have turned it off: nothing more is written, and it is as it was."""
    person_id, link_id, first = live.seeded["person_id"], live.link["link_id"], threading.Lock()

    def meddle(request: Received, forward: Forward) -> Reply:
        reply = forward(request)
        if writes(request) and first.acquire(blocking=False):
            live.world.set_flag(person_id, link_id, True)
        return reply

    live.rule(meddle)
    ran = live.smoke(live.environment(production=True), "--allow-writes", "--clause", "TOG-05,PRX-01")
    assert "somebody else is at work" in ran.clauses["TOG-05"]["reason"]
    assert ran.verdicts["PRX-01"] == "not_verified", "the app's toggle would be another write"
    assert live.world.edges["app"].having("PATCH") == []
    assert ran.having("failed") == set()
    assert live.is_on()


def test_a_backend_that_does_not_follow_fails(live: Live) -> None:
    def pretend(request: Received, forward: Forward) -> Reply:
        if not writes(request):
            return forward(request)
        ids = {"link_id": live.link["link_id"], "person_id": live.seeded["person_id"]}
        return Reply(200, json.dumps({**ids, "facebank_seed": False}).encode())

    live.rule(pretend)
    ran = live.smoke(live.environment(production=True), *TOGGLE)
    assert (ran.code, ran.verdicts["TOG-05"]) == (1, "failed")
    assert live.is_on()


# --- whom the credentials reach --------------------------------------------------------------------------------------


def test_a_redirect_gets_no_credentials(live: Live, context: ssl.SSLContext) -> None:
    with edge(live.world.table["backend_url"], context) as elsewhere:
        moved = Reply(307, b"", (("Location", f"{elsewhere.url}/"),))
        live.rule(lambda request, forward: moved)
        ran = live.smoke(live.environment(production=True), "--allow-writes")
        assert ran.code == 1
        assert elsewhere.received == []


@pytest.mark.parametrize(
    "case, words",
    [
        ("unknown CA", "unable to get local issuer certificate"),
        ("wrong name", "certificate is not valid for '127.0.0.1'"),
        ("no such host", "the host name could not be resolved"),
        ("no such CA file", "SSL_CERT_FILE: cannot be used"),
    ],
)
def test_nobody_else_is_believed(live: Live, case: str, words: str) -> None:
    """One clear line says that it is TLS, or the name; no credential is sent."""
    url, ca = live.backend.url, str(live.world.ca)
    if case == "unknown CA":
        other = live.folder / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(other))
        ca = str(other)
    elif case == "no such CA file":
        ca = str(live.folder / "none.pem")
    elif case == "wrong name":
        url = url.replace("localhost", "127.0.0.1")
    else:
        url = "https://nowhere.invalid"
    table = live.environment(production=True, backend_url=url, app_url=None, access_log=None)
    ran = live.smoke({k: v for k, v in table.items() if not k.startswith("screen")}, SSL_CERT_FILE=ca)
    assert ran.code == (4 if "CA file" in case else 6)
    assert words in ran.output
    assert "Traceback" not in ran.output
    assert live.backend.received == []


# --- access logs -----------------------------------------------------------------------------------------------------


def log_line(person_id: str, seed_only: str, size: int, *, agent: str | None = "screenalytics") -> str:
    target = f"{PREFIX}/{person_id}/photos?seed_only={seed_only}"
    if agent is None:
        return f'INFO:     10.0.0.7:52324 - "GET {target} HTTP/1.1" 200 OK\n'
    return f'10.0.0.7 - - [06/Feb/2026:12:00:00 +0000] "GET {target} HTTP/1.1" 200 {size} "-" "{agent}"\n'


EARLIER = '10.0.0.1 - - [06/Feb/2026:10:00:00 +0000] "GET /healthz HTTP/1.1" 200 15 "-" "probe"\n'
SEEDED, UNSEEDED, SOMEBODY = (str(uuid.uuid4()) for _ in range(3))

LOGS: dict[str, tuple[list[str], dict[str, str]]] = {
    "both": (
        [log_line(SEEDED, "true", 300), log_line(UNSEEDED, "true", 2), log_line(UNSEEDED, "false", 900)],
        {"FALL-01": "kept", "FALL-02": "kept", "FALL-03": "kept"},
    ),
    "a breach by somebody": (
        [log_line(SOMEBODY, "false", 4000), log_line(SEEDED, "true", 300)],
        {"FALL-01": "broken", "FALL-02": "kept", "FALL-03": "unknown"},
    ),
    "a fallback after seeds": (
        [log_line(SEEDED, "true", 300), log_line(SEEDED, "false", 4000)],
        {"FALL-01": "unknown", "FALL-02": "broken", "FALL-03": "unknown"},
    ),
    "somebody of unknown kind": (
        [log_line(SOMEBODY, "true", 300)],
        {"FALL-01": "kept", "FALL-02": "kept", "FALL-03": "unknown"},
    ),
    "our own calls and curl's": (
        [log_line(SEEDED, "false", 900, agent=agent) for agent in ("trr-conformance/1 (run x)", "curl/8")],
        {"FALL-01": "unknown", "FALL-02": "unknown", "FALL-03": "unknown"},
    ),
    "lines that may be our own": (
        [log_line(SEEDED, "true", 0, agent=None), log_line(SEEDED, "false", 0, agent=None)],
        {"FALL-01": "unknown", "FALL-02": "unknown", "FALL-03": "unknown"},
    ),
}


@pytest.mark.parametrize("lines, verdicts", LOGS.values(), ids=LOGS)
def test_what_a_log_of_production_tells(lines: list[str], verdicts: dict[str, str]) -> None:
    """Whoever broke the rule fails it; what the log does not tell is not verified."""
    options = Options(seeded=frozenset({SEEDED}), unseeded=frozenset({UNSEEDED}), suite_called=True)
    trace = trace_calls([line.encode() for line in (EARLIER, *lines)], options)
    observed = Observed("access.log", trace, {SEEDED: "Seeded", UNSEEDED: "Unseeded"})

    def verdict(clause: str) -> str:
        try:
            observed.keeps(clause)
            observed.conforming(fell_back={"FALL-02": False, "FALL-03": True}.get(clause))
        except Violation as broken:
            return "broken" if broken.clause == clause else "another"
        except NotVerified:
            return "unknown"
        return "kept"

    assert {clause: verdict(clause) for clause in verdicts} == verdicts
