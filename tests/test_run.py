"""Whole runs: the order of tests, the seed, the core count, and a run that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parent.parent
CLI = [sys.executable, "-m", "conformance", "run"]
# clauses of each kind of test: a matrix, properties, concurrency
SOME = "AUTH-02,AUTH-08,TOG-05,TOG-09,PHO-09,FALL-06,SYNC-04,PRX-04"


def verdicts(folder: Path, *arguments: str, clauses: str = SOME) -> dict[str, str]:
    """The verdicts of a run with these arguments."""
    done = subprocess.run(
        [*CLI, "--profile", "quick", "--clause", clauses, "--report-dir", str(folder), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {clause["id"]: clause["verdict"] for clause in report["clauses"]}


def test_workers_and_order_do_not_matter(tmp_path: Path) -> None:
    """`-n 0`, `-n 2` and a shuffled order agree."""
    plain = verdicts(tmp_path / "plain", "-n", "0")
    assert verdicts(tmp_path / "parallel", "-n", "2") == plain
    assert verdicts(tmp_path / "shuffled", "-n", "0", "-p", "tests.shuffle") == plain


def test_seeds_agree_and_differ(tmp_path: Path) -> None:
    """Three seeds give the same verdicts from other galleries; the same seed gives the same ones."""
    drawn, judged = [], []
    for number, seed in enumerate(("1", "2", "3", "1")):
        folder = tmp_path / str(number)
        folder.mkdir()
        judged.append(verdicts(folder, "-n", "0", "--seed", seed, "--record-requests", str(folder), clauses="PHO-03"))
        lines = [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]
        drawn.append([line["body"] for line in lines if line["body"] and '"setup"' in line["body"]])
    assert len({json.dumps(each) for each in judged}) == 1
    assert len({json.dumps(each) for each in drawn[:3]}) == 3
    assert drawn[0] == drawn[3]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits for a condition, looking again whenever a process comes or goes; gives up when the time limit kills us."""
    while not condition():
        assert process.poll() is None or process.returncode < 0, "the run ended by itself"
        os.sched_yield()


def started_by(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The reference, its server and its Postgres, below a run."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_killed_run_leaves_nothing(tmp_path: Path) -> None:
    """After `kill -9` of the run: no server, no Postgres, no temporary folder."""
    process = subprocess.Popen(
        [*CLI, "--profile", "thorough", "-n", "2"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_until(lambda: any("postgres" in name for name in _names(started_by(process))), process)
    children = started_by(process)
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert alive == [], [child.cmdline() for child in alive]
    assert gone
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and "pytest-of" not in path.name] == []


def _names(processes: list[psutil.Process]) -> Iterator[str]:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it may end at any moment
            yield process.name()
