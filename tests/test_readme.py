"""Every command in the README does what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("  #")[0].split(" # ")[0].strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    if line.strip()
]
CLI = [sys.executable, "-m", "conformance"]


@dataclass(frozen=True)
class Served:
    """A running reference: its addresses, and the variables of its credentials."""

    backend_url: str
    states_url: str
    variables: dict[str, str]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The backend that the README's reader has started."""
    process = subprocess.Popen(
        [*CLI, "serve", "--only", "backend", "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    yield Served(ready["environment"]["backend_url"], ready["environment"]["backend_states_url"], ready["variables"])
    process.terminate()
    process.wait(20)


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in the checkout."""
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_readme_names_the_two_commands() -> None:
    assert COMMANDS[:2] == ["make conformance", "make test"]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_make_target_exists(command: str) -> None:
    """The targets themselves run in CI; here make only says what it would do."""
    done = run([*shlex.split(command), "--dry-run"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "target, clause, port", [("screenalytics", "FALL-01", 8001), ("app", "PRX-03", 3000)], ids=["screenalytics", "app"]
)
def test_consumer_command(target: str, clause: str, port: int, tmp_path: Path, free_port: int) -> None:
    """The README's file and command check a service that was started with `TRR_API_URL` at the stub."""
    (file,) = (block for language, block in BLOCKS if language == "toml" and f"{target}_url" in block)
    (command,) = (command for command in COMMANDS if f"--env-file {target}.toml" in command)
    stub = free_port
    start = [*CLI, "serve", "--only", target, "--trr-api-url", f"http://127.0.0.1:{stub}", "--json"]
    process = subprocess.Popen(start, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        here = ready["environment"][f"{target}_url"]
        file = file.replace(f"http://127.0.0.1:{port}", here).replace("127.0.0.1:8787", f"127.0.0.1:{stub}")
        path = tmp_path / f"{target}.toml"
        path.write_text(file, encoding="utf-8")
        words = [str(path) if word == f"{target}.toml" else word for word in shlex.split(command)[1:]]
        done = run([*CLI, *words, "--clause", clause, "-n", "0"], **ready["variables"])
    finally:
        process.terminate()
        process.wait(20)
    assert "conforming: 1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.startswith("trr-conformance run") and "toml" not in command]
)
def test_run_command(command: str, served: Served) -> None:
    """Each `run` of the README verifies a clause on a server that listens elsewhere."""
    words = [
        word.replace("http://127.0.0.1:8000", served.backend_url).replace(
            "http://127.0.0.1:8790/_states", served.states_url
        )
        for word in shlex.split(command)[1:]
    ]
    done = run([*CLI, *words, "--clause", "PHO-11", "-n", "0"], **served.variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conforming: 1 passed" in done.stdout


def test_states_command(served: Served) -> None:
    """The README's `states` serves provider states for a database with the deployed tables."""
    (command,) = (command for command in COMMANDS if command.startswith("trr-conformance states"))
    words = [
        word.replace("$TRR_DB_URL", served.variables["TRR_DB_URL"]).replace("8790", "0")
        for word in shlex.split(command)[1:]
    ]
    process = subprocess.Popen([*CLI, *words, "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["states_url"]
        arguments = ["run", "--target", "backend", "--backend-url", served.backend_url, "--backend-states-url", address]
        done = run([*CLI, *arguments, "--clause", "PHO-03", "-n", "0"], **served.variables)
    finally:
        process.terminate()
        process.wait(20)
    assert "conforming: 1 passed" in done.stdout, done.stdout + done.stderr


def test_backend_file(tmp_path: Path) -> None:
    """The README's file and command check the media workflow of a server whose vision service is at the stub."""
    (file,) = (block for language, block in BLOCKS if language == "toml" and "page_origin" in block)
    (command,) = (command for command in COMMANDS if "--env-file backend.toml" in command)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        origin, vision = (each.getsockname()[1] for each in (one, other))
    start = [*CLI, "serve", "--only", "backend", "--vision-url", f"http://127.0.0.1:{vision}", "--json"]
    process = subprocess.Popen(start, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        here = ready["environment"]
        for written, port in (("8791", origin), ("8788", vision)):
            assert f"127.0.0.1:{written}" in file
            file = file.replace(f"127.0.0.1:{written}", f"127.0.0.1:{port}")
        file = file.replace("http://127.0.0.1:8790/_states", here["backend_states_url"])
        file = file.replace("http://127.0.0.1:8000", here["backend_url"])
        path = tmp_path / "backend.toml"
        path.write_text(file, encoding="utf-8")
        words = [str(path) if word == "backend.toml" else word for word in shlex.split(command)[1:]]
        done = run([*CLI, *words, "--clause", "SSE-04,CNT-01", "-n", "0"], **ready["variables"])
    finally:
        process.terminate()
        process.wait(20)
    assert "conforming: 2 passed" in done.stdout, done.stdout + done.stderr


def test_drift_command(served: Served, tmp_path: Path) -> None:
    """The README's `drift` finds the reference's own document to promise what the contract does."""
    (command,) = (command for command in COMMANDS if command.startswith("trr-conformance drift"))
    path = tmp_path / "openapi.json"
    path.write_bytes(urlopen(f"{served.backend_url}/openapi.json").read())
    done = run([*CLI, *(str(path) if word == "openapi.json" else word for word in shlex.split(command)[1:])])
    assert done.returncode == 0, done.stdout + done.stderr


def test_trace_command(tmp_path: Path) -> None:
    """The README's `trace` names the person for whom the importer asked for all photos after seeds."""
    (command,) = (command for command in COMMANDS if command.startswith("trr-conformance trace"))
    person = "551c8e8f-9714-43ef-a93b-26400eeffb91"
    call = f"GET /api/v1/screenalytics/people/{person}/photos?seed_only"
    line = '10.0.0.1 - - [06/Feb/2026:12:00:0{0} +0000] "{1}={2} HTTP/1.1" 200 {3} "-" "screenalytics"\n'
    path = tmp_path / "access.log"
    path.write_text(line.format(1, call, "true", 512) + line.format(2, call, "false", 2048), encoding="utf-8")
    done = run([*CLI, *(str(path) if word == "access.log" else word for word in shlex.split(command)[1:])])
    assert done.returncode == 1, done.stdout + done.stderr
    assert person in done.stdout
    assert "FALL-02" in done.stdout


@pytest.mark.parametrize("smoke", [command for command in COMMANDS if command.startswith("pytest smoke")])
def test_smoke_command_stops_before_any_request_without_credentials(smoke: str) -> None:
    """`pytest smoke --env prod` names the first credential that is missing."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("TRR_", "SCREENALYTICS_"))}
    command = [sys.executable, "-m", *shlex.split(smoke)]
    done = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 4
    assert "TRR_CORE_SUPABASE_SERVICE_ROLE_KEY" in done.stdout + done.stderr


def test_every_command_is_tried() -> None:
    """A command that no test above knows fails here."""
    known = ("make ", *(f"trr-conformance {name}" for name in ("run", "states", "drift", "trace")), "pytest smoke")
    assert [command for command in COMMANDS if not command.startswith(known)] == []


def test_every_provider_state_is_told() -> None:
    """The table has the states that the suites ask for, and no others."""
    asked = {
        state
        for file in (ROOT / "conformance").rglob("*.py")
        for state in re.findall(r'\bgiven\(\s*"([a-z ]+)"', file.read_text(encoding="utf-8"))
    }
    assert set(re.findall(r"^\| (?:backend|app|screenalytics) \| `([a-z ]+)` \|", README, re.MULTILINE)) == asked
