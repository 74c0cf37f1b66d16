"""The files that the three repositories copy, and the action that they use."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import contracts
from conformance import environment

ROOT = Path(__file__).parents[1]
ADOPT = ROOT / "examples" / "adopt"
REPOSITORIES = ("backend", "app", "screenalytics")
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def workflow(repository: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((ADOPT / repository / "conformance.yml").read_text(encoding="utf-8"))
    return data


def steps(repository: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workflow(repository)["jobs"]["conformance"]["steps"]
    return found


def make(folder: Path, *words: str, tool: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--silent", "-f", str(folder / "conformance.mk"), *words, f"TRR_CONFORMANCE={tool}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_environment_file_is_one_that_the_suite_takes(repository: str) -> None:
    source = environment.read_file(ADOPT / repository / "conformance.toml", None)
    assert source.name == "ci"
    assert f"{repository}_url" in source.table


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_job_sets_every_variable_that_its_environment_file_needs(repository: str) -> None:
    table = tomllib.loads((ADOPT / repository / "conformance.toml").read_text(encoding="utf-8"))["environments"]["ci"]
    needed = {
        value["env"]
        for value in (*table.values(), *table["credentials"].values())
        if isinstance(value, dict) and "env" in value and not value.get("optional")
    }
    assert needed <= workflow(repository)["jobs"]["conformance"]["env"].keys()


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_make_target_runs_the_suite_against_its_service(repository: str) -> None:
    done = make(ADOPT / repository, "conformance", "CONFORMANCE_ARGS=--profile quick", tool="echo")
    words = shlex.split(done.stdout)
    assert words == [
        *("run", "--target", repository, "--env-file", "conformance.toml"),
        *("--report-dir", "build/conformance", "--profile", "quick"),
    ]
    variables = dict.fromkeys(workflow(repository)["jobs"]["conformance"]["env"], "postgresql://x:x@127.0.0.1:1/x")
    listed = subprocess.run(
        [sys.executable, "-m", "conformance", *words, "-n", "0", "--help"],
        cwd=ADOPT / repository,
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert "--report-dir" in listed.stdout


def test_drift_target_checks_a_document_without_a_server(tmp_path: Path) -> None:
    tool = f"env PYTHONPATH={ROOT} {sys.executable} -m conformance"
    path = tmp_path / "openapi.json"
    document = contracts.load().openapi()
    path.write_text(json.dumps(document))
    done = make(ADOPT / "backend", "contract-drift", f"OPENAPI={path}", tool=tool)
    assert (done.returncode, done.stderr) == (0, "")
    document["paths"].popitem()
    path.write_text(json.dumps(document))
    done = make(ADOPT / "backend", "contract-drift", f"OPENAPI={path}", tool=tool)
    assert done.returncode != 0
    assert "the operation is gone" in done.stdout


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_job_uses_the_action_as_it_is(repository: str) -> None:
    [step] = [step for step in steps(repository) if step.get("uses", "").startswith("trr/trr-conformance@")]
    assert step["with"].keys() <= ACTION["inputs"].keys()
    required = {name for name, one in ACTION["inputs"].items() if one.get("required")}
    assert required <= step["with"].keys()
    assert step["with"]["target"] == repository
    assert step["with"]["env-file"] == "conformance.toml"


def test_action_is_whole() -> None:
    assert ACTION["runs"]["using"] == "composite"
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{\{ inputs\.([a-z-]+) \}\}", text)) | set(re.findall(r"if: inputs\.([a-z-]+)", text))
    assert used == ACTION["inputs"].keys()
    ids = {step["id"] for step in ACTION["runs"]["steps"] if "id" in step}
    assert set(re.findall(r"steps\.([a-z]+)\.outputs", text)) <= ids
    for step in ACTION["runs"]["steps"]:
        assert ("uses" in step) or step["shell"] == "bash"
        # what comes from outside goes through variables: text in a script would be run
        assert "${{" not in step.get("run", "")


def scripts() -> Iterator[Any]:
    for step in ACTION["runs"]["steps"]:
        if "run" in step:
            yield pytest.param(step["run"], id=f"action, {step['name']}")
    for repository in REPOSITORIES:
        for step in steps(repository):
            if "run" in step:
                yield pytest.param(step["run"], id=f"{repository}, {step['name']}")


@pytest.mark.parametrize("script", list(scripts()))
def test_script_is_sound_shell(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verdict", [0, 1, 6])
def test_action_hands_on_words_and_exit_code(tmp_path: Path, verdict: int) -> None:
    [step] = [step for step in ACTION["runs"]["steps"] if step.get("id") == "run"]
    tool = tmp_path / "tool"
    tool.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\necho evidence > {tmp_path}/evidence.md\nexit {verdict}\n'
    )
    tool.chmod(0o755)
    variables = {
        **os.environ,
        "ENV_NAME": "",
        "TOOL": str(tool),
        "TARGETS": "backend app",
        "ENV_FILE": "a file.toml",
        "ARGS": "--profile quick --clause 'TOG-*'",
        "REPORT_DIR": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    done = subprocess.run(["bash", "-c", step["run"]], env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (verdict, "")
    words = (tmp_path / "words").read_text().splitlines()
    assert words == [
        *("run", "--env-file", "a file.toml", "--report-dir", str(tmp_path), "--target", "backend", "--target", "app"),
        *("--profile", "quick", "--clause", "TOG-*"),
    ]
    assert (tmp_path / "summary").read_text() == "evidence\n"
    assert (tmp_path / "output").read_text() == f"report-dir={tmp_path}\n"
