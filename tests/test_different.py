"""Implementations that are built quite differently pass: the suite tests the contract and not our reference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DIFFERENT = Path(__file__).parent / "different"


@dataclass(frozen=True)
class Different:
    """An implementation, and what it may leave: clauses whose SHOULD it breaks, and what cannot be verified of it."""

    name: str
    target: str
    command: tuple[str, ...]
    warned: frozenset[str] = frozenset()
    not_verified: frozenset[str] = frozenset()
    has_database: bool = False


NEEDS_A_DATABASE = "CAST-02 CAST-04 CAST-05 EXC-01 EXC-05 PUR-01 PUR-02"
"""What only the tables, or a script that works on them, can show of a backend."""


def backend(personality: str, *, warned: str = "", not_verified: str = "", has_database: bool = False) -> Different:
    """A personality of the different backend; none publishes an OpenAPI document."""
    command = ("backend.py", "--personality", personality)
    unseen = f"OAS-01 {not_verified} {'' if has_database else NEEDS_A_DATABASE}"
    return Different(
        personality, "backend", command, frozenset(warned.split()), frozenset(unseen.split()), has_database
    )


IMPLEMENTATIONS = (
    backend("verbose", has_database=True),
    backend("slow-writer", has_database=True),
    backend(
        "terse",
        warned="AUTH-01 TOG-07 PHO-11 PRE-02 PRE-03 IMP-03 SSE-02 DEL-01 DEL-02",
        not_verified="TOG-10 CAST-03",
    ),
    backend(
        "lenient",
        warned="AUTH-01 AUTH-08 AUTH-09 AUTH-10 TOG-01 TOG-07 TOG-10 TOG-12 PHO-05 PHO-06 PHO-11"
        " PRE-02 PRE-03 PRE-10 IMP-03 SSE-02 SSE-08 CAST-05 DEL-01 DEL-02 EXC-06 CNT-02",
        has_database=True,
    ),
    backend("opaque", not_verified="AUTH-05 AUTH-06 AUTH-07 AUTH-09 AUTH-12 TOG-10"),
    Different("app", "app", ("app.py",), frozenset({"PRX-05", "PRX-07"}), frozenset({"BADGE-01"})),
    Different("consumer", "screenalytics", ("consumer.py",), has_database=True),
)


def toml(value: Any) -> str:
    """A JSON-like value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A Postgres for those that need one: the reference's."""
    command = [sys.executable, "-m", "conformance", "serve", "--only", "backend", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["variables"]["TRR_DB_URL"]
    process.terminate()
    process.wait(20)


@pytest.mark.parametrize("different", IMPLEMENTATIONS, ids=lambda different: different.name)
def test_no_false_alarm(different: Different, tmp_path: Path, free_port: int, request: pytest.FixtureRequest) -> None:
    """No MUST fails, no SHOULD but those that it breaks on purpose, and all else is verified."""
    stub = f"127.0.0.1:{free_port}"
    script, *options = different.command
    if different.target == "backend":
        options += ["--vision-url", f"http://{stub}"]
        listeners = {"stub_vision": {"bind": stub}, "page_origin": {"bind": "127.0.0.1:0"}}
    else:
        options += ["--trr-api-url", f"http://{stub}"]
        listeners = {"stub_backend": {"bind": stub}}
    if different.has_database:
        options += ["--database-url", request.getfixturevalue("database_url")]
    process = subprocess.Popen([sys.executable, str(DIFFERENT / script), *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        table = {**ready["environment"], **listeners}
        file = tmp_path / "different.toml"
        lines = "\n".join(f"{key} = {toml(value)}" for key, value in table.items())
        file.write_text(f"[environments.different]\n{lines}\n", encoding="utf-8")
        command = [sys.executable, "-m", "conformance", "run", "--target", different.target, "--env-file", str(file)]
        command += ["--profile", "quick", "-n", "0", "--report-dir", str(tmp_path)]
        variables = {**os.environ, **ready["variables"]}
        done = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=600
        )
    finally:
        process.terminate()
        process.wait(20)
    clauses = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["clauses"]
    by_verdict: dict[str, set[str]] = {}
    for clause in clauses:
        by_verdict.setdefault(clause["verdict"], set()).add(clause["id"])
    by_verdict.pop("not_selected", None)
    assert by_verdict.pop("passed", None), done.stdout
    assert by_verdict.pop("warned", set()) <= different.warned, done.stdout
    assert by_verdict.pop("not_verified", set()) == different.not_verified, done.stdout
    assert by_verdict == {}, done.stdout
    assert done.returncode == 0
