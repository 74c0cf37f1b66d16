"""`trr-conformance` in a process of its own for each run, forked by one that has imported all: in a third of the time.

It reads an `Order` from each line of stdin, and writes the run's exit code and peak memory to stdout.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROFILE = "quick"
"""The one that runs have to name."""


@dataclass(frozen=True)
class Order:
    """The command line, the variables that differ from ours, the folder to be in, and the file for what is printed."""

    arguments: Sequence[str]
    variables: Mapping[str, str]
    folder: str
    output: str


class Ready:
    """The process that forks: it starts with the first order, and anew after a run that hung."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, order: Order, limit_s: float) -> tuple[int, int]:
        """The exit code and the peak memory in KiB (0 where the system does not tell it) of a run to its end."""
        if self._process is None:
            self._process = _started()
        told, answers = self._process.stdin, self._process.stdout
        assert told is not None
        assert answers is not None
        told.write(json.dumps(asdict(order)) + "\n")
        told.flush()
        if not select.select([answers], [], [], limit_s)[0]:
            self.stop()
            raise AssertionError(f"{order.arguments} hangs\n{Path(order.output).read_text(errors='replace')}")
        exit_code, peak = json.loads(answers.readline())
        return exit_code, peak

    def stop(self) -> None:
        """Ends it, and a run that is still at work."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None


def _started() -> subprocess.Popen[str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**ours, "PYTHONPATH": str(ROOT)},
        process_group=0,
    )


def peak_kib() -> int:
    """The most memory that this process has had since its fork; 0 where the system does not tell."""
    status = Path("/proc/self/status")  # getrusage tells of the parent, where that had more
    peak = re.search(r"VmHWM:\s*(\d+)", status.read_text()) if status.exists() else None
    return int(peak[1]) if peak else 0


def main() -> None:
    """Forks for each order, and tells how it ended."""
    from conformance import cli, html, plugin, profiles  # noqa: F401

    profiles.load(PROFILE)  # properties take their settings when they are imported
    for folder in (plugin.SUITES, plugin.SMOKE):
        for path in folder.rglob("test_*.py"):
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))

    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            order = Order(**json.loads(line))
            os.chdir(order.folder)
            os.environ.update(order.variables)
            output = os.open(order.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for number in (1, 2):
                os.dup2(output, number)
            try:
                sys.argv = ["trr-conformance", *order.arguments]
                exit_code = cli.main(order.arguments)
            except BaseException:  # as the interpreter would tell of it
                sys.excepthook(*sys.exc_info())
                exit_code = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(write, str(peak_kib()).encode())
            os._exit(exit_code)
        os.close(write)
        _, status = os.waitpid(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), int(os.read(read, 100) or b"0")]), flush=True)
        os.close(read)


if __name__ == "__main__":
    main()
