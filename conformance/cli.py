"""`trr-conformance`: the command line. Each command imports what it needs: a trace is over before pytest is loaded."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import conformance
from conformance.arguments import Parser

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = os.path.dirname(os.path.abspath(__file__))
_PYTEST_VARIABLES = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD")


def workers() -> int:
    """How many xdist workers to use: one more than the cores that this process may use, at most four.

    Each waits for the target for half of its time.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, 4) if cores > 1 else 0


def run_pytest(folder: Path, arguments: Sequence[str]) -> int:
    """Runs a folder of ours under our own configuration, whatever folder and configuration we are called from."""
    import pytest

    for name in _PYTEST_VARIABLES:
        os.environ.pop(name, None)
    given = set(arguments)
    parallel = (
        [] if given & {"-n", "--numprocesses"} or any(a.startswith("-n") for a in given) else ["-n", str(workers())]
    )
    ours = [
        *("-p", "conformance.plugin"),
        *("-c", os.path.join(PACKAGE, "run.ini")),
        *("--rootdir", os.path.dirname(PACKAGE)),
        *("--confcutdir", str(folder)),
        *("-q", "--no-header"),
    ]
    return int(pytest.main([*ours, *parallel, str(folder), *arguments]))


def _run(arguments: Sequence[str]) -> int:
    from conformance.plugin import SUITES

    return run_pytest(SUITES, arguments)


def _smoke(arguments: Sequence[str]) -> int:
    from conformance.plugin import SMOKE

    return run_pytest(SMOKE, ["-n", "0", *arguments])


def _command(module: str) -> Callable[[Sequence[str]], int]:
    """A command of another module, in a process of its own; nothing here imports the reference."""

    def command(arguments: Sequence[str]) -> int:
        import subprocess

        from conformance import bundled

        try:
            return subprocess.run(
                bundled.command(*arguments, module=module), env=bundled.variables(), check=False
            ).returncode
        except KeyboardInterrupt:
            return 130

    return command


def _rogues(arguments: Sequence[str]) -> int:
    from conformance import rogues

    return rogues.main(arguments)


def _trace(arguments: Sequence[str]) -> int:
    from conformance.trace import cli

    return cli.main(arguments)


def _report(arguments: Sequence[str]) -> int:
    from conformance import report

    return report.main(arguments)


def _contracts(arguments: Sequence[str]) -> int:
    from conformance.compat import cli

    return cli.contracts_main(arguments)


def _drift(arguments: Sequence[str]) -> int:
    from conformance.compat import cli

    return cli.drift_main(arguments)


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "run": (_run, "check a target; without --env or --backend-url, the bundled reference"),
    "smoke": (_smoke, "check a live environment: --env NAME"),
    "serve": (_command("reference"), "run the bundled reference; prints its addresses and a ready environment file"),
    "states": (_command("reference.states"), "serve the backend's provider states by SQL: --database-url URL"),
    "stub": (_command("conformance.lab"), "play the backend, pages to scrape and the vision service by hand"),
    "report": (_report, "make report.html and evidence.md anew from DIR/report.json"),
    "trace": (_trace, "tell from access logs whether the importer kept the strict-fallback rule: FILE…"),
    "contracts": (_contracts, "for authors of the contracts: check, diff BASE, diff-schema OLD NEW"),
    "drift": (_drift, "hold a backend's own OpenAPI document against the contract, offline: OPENAPI"),
    "rogues": (_rogues, "list the rogues, or run each against the suite: --run"),
}


def _parser() -> Parser:
    """Reads the first word."""
    parser = Parser(
        prog="trr-conformance",
        description="Checks whether a system keeps the promises between TRR-Backend, TRR-APP and SCREENALYTICS.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n"
        + "\n".join(f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items())
        + "\n\nrun and smoke take pytest's options and those of its group 'conformance' (trr-conformance run --help).",
    )
    parser.add_argument("--version", action="version", version=f"trr-conformance {conformance.__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script: one command, the rest of the words are the command's own."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # to make the parser takes longer than to read many a log
        word = words[0] if words and words[0] in COMMANDS else _parser().parse_args(words[:1]).command
        command, _ = COMMANDS[word]
        return command(words[1:])
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
