"""Mutants: a change to the reference's code is served and judged, and told unless it is known to survive."""

from __future__ import annotations

import json
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from conformance import bundled, forks, mutants
from reference import mutation

REFERENCE = Path(__file__).parents[1] / "reference"


def judged(file: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    """A run of one clause on the reference with this mutant: exit code, report, output."""
    folder = file.parent / "report"
    options = (
        "--target",
        "backend",
        "-n",
        "0",
        "--profile",
        "quick",
        "--clause",
        "AUTH-03",
        "--report-dir",
        str(folder),
    )
    command = bundled.command("run", "--mutant", str(file), *options, *more, module="conformance")
    done = subprocess.run(command, env=bundled.variables(), capture_output=True, text=True, check=False)
    report = folder / "report.json"
    return done.returncode, json.loads(report.read_text()) if report.exists() else {}, done.stdout + done.stderr


@pytest.mark.parametrize("forked", [False, True], ids=["started", "forked"])
def test_a_mutant_is_what_is_served(tmp_path: Path, forked: bool) -> None:
    true = (REFERENCE / "access.py").read_text(encoding="utf-8")
    changed = true.replace("given is not None and hmac", "given is not None or hmac")
    assert changed != true
    file = tmp_path / "mutant.json"
    file.write_text(json.dumps({"module": "access", "source": changed}), encoding="utf-8")
    with forks.prefork() if forked else nullcontext() as socket:
        code, report, _ = judged(file, *(("--prefork", socket) if socket else ()))
    assert code == 1
    assert [each["id"] for each in report["clauses"] if each["verdict"] == "failed"] == ["AUTH-03"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"module": "access", "source": "def ("}',
        '{"module": "access", "source": "true"}',
        '{"module": "os", "source": "1"}',
    ],
)
def test_what_is_no_mutant_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mutant.json"
    file.write_text(content, encoding="utf-8")
    command = bundled.command("--mutant", str(file), "--only", "backend")
    done = subprocess.run(command, env=bundled.variables(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, f"python -m reference: --mutant {file}: is no mutant\n")


def test_mutants_change_a_function_each() -> None:
    positions = mutation.positions(["fetching"])
    assert positions == mutation.positions(["fetching"])
    found = [each for each in map(mutation.mutant, positions[::9]) if each is not None]
    assert found
    for mutant in found:
        changed = [line for line in mutant.diff.splitlines() if not line.startswith("@@")]
        assert {line[0] for line in changed} == {"-", "+"}
        assert mutant.function


def test_a_survivor_is_told_and_what_was_tried_is_not_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {"target": "backend", "function": "Backend.photos", "diff": "@@ -1 +1 @@\n-one\n+two"}
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name, **made}), encoding="utf-8")
    rows = [{"name": name, "verdict": verdict, "clauses": []} for name, verdict in (("a", "killed"), ("b", "survived"))]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert mutants.main(["--folder", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "SURVIVED b in Backend.photos\n@@ -1 +1 @@\n-one\n+two\n" in said
    assert "SURVIVED a" not in said
    assert "2 mutants: 1 killed, 1 survived; 1 of them neither killed nor known" in said


@pytest.mark.parametrize("function, change", mutants.known_survivors())
def test_a_known_survivor_is_a_change_to_what_is_there(function: str, change: str) -> None:
    taken = [line[1:] for line in change.splitlines() if line.startswith("-")]
    sources = [path.read_text(encoding="utf-8").splitlines() for path in REFERENCE.glob("*.py")]
    assert taken, function
    assert any(set(taken) <= set(lines) for lines in sources)
