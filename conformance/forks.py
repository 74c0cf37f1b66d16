"""Many runs of the suite from one start: each is a fork of this process, and its reference a fork of a waiting one."""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from conformance import bundled
from conformance.errors import TargetUnreachable

LIMIT_S = 900
"""What one of them may take."""


class Work(Protocol):
    """Something to do in a fork."""

    @property
    def label(self) -> str:
        """What it is about, for messages."""

    def run(self, place: Path) -> int:
        """Does it, leaves `report.json` in the folder, and returns an exit code."""


AnyWork = TypeVar("AnyWork", bound=Work)


def preload() -> None:
    """Does once, before the forks, what every run does: it imports, and collects. No fork looks for garbage in that."""
    from conformance import cli, html

    for module in ("schemathesis", "psycopg"):  # which some tests import when they run
        importlib.import_module(module)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        cli.main(["run", "--collect-only", "-n", "0"])
    html.template("report")
    gc.collect()
    gc.freeze()


@contextmanager
def prefork() -> Iterator[str]:
    """A reference that the runs' own are forked from: the address of its socket."""
    with tempfile.TemporaryDirectory(prefix="trr-prefork-") as folder:
        path = str(Path(folder) / "socket")
        process = subprocess.Popen(
            bundled.command("--prefork", path),
            env=bundled.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where rogues crash, as some are to
            text=True,
        )
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise TargetUnreachable("the bundled reference did not start")
            yield path
        finally:
            process.terminate()
            process.wait()


class Forks(Generic[AnyWork]):
    """Work that waits for its turn, each in a fork of this process."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.waiting: deque[AnyWork] = deque()
        """May be added to while they run, as may `idle`."""
        self.idle: deque[AnyWork] = deque()
        """What does little but wait once it runs: it takes nobody's turn, and starts at once."""
        self._folder, self._jobs = folder, jobs
        self._started = 0

    def run(self) -> Iterator[tuple[AnyWork, dict[str, Any] | None, float]]:
        """Each when it is done, with its report (None where it left none) and its seconds."""
        running: dict[int, tuple[AnyWork, Path, float]] = {}
        at_work: set[int] = set()
        while self.waiting or self.idle or running:
            while self.idle:
                self._start(self.idle.popleft(), running)
            while self.waiting and len(at_work) < self._jobs:
                at_work.add(self._start(self.waiting.popleft(), running))
            pid, status = os.wait()
            if pid not in running:  # the preforking reference has ended: every run says so
                continue
            at_work.discard(pid)
            work, place, started = running.pop(pid)
            yield work, _read_report(work, place, os.waitstatus_to_exitcode(status)), time.monotonic() - started
            shutil.rmtree(place)

    def _start(self, work: AnyWork, running: dict[int, tuple[AnyWork, Path, float]]) -> int:
        self._started += 1
        place = self._folder / str(self._started)
        place.mkdir()
        pid = _fork(work, place)
        running[pid] = work, place, time.monotonic()
        return pid


def _fork(work: Work, place: Path) -> int:
    """Starts it in a fork; its output and its report come to lie at `place`."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = 3
    try:
        signal.alarm(LIMIT_S)  # ends a run that hangs
        output = os.open(place / "output.txt", os.O_WRONLY | os.O_CREAT)
        for number in (1, 2):
            os.dup2(output, number)
        code = work.run(place)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _read_report(work: Work, place: Path, code: int) -> dict[str, Any] | None:
    try:
        report: dict[str, Any] = json.loads((place / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        said = (place / "output.txt").read_text(encoding="utf-8", errors="replace")
        print(f"{work.label}: no report: {error!r} (exit {code})\n{said}", file=sys.stderr)
        return None
    return report
