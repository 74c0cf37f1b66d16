"""The command line of `trr-conformance trace`."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence

from conformance.arguments import USAGE, Parser
from conformance.fallback import DEFAULT_GAP_S
from conformance.trace.formats import FIELDS, FORMATS, field_named
from conformance.trace.judge import Options, Trace, trace_calls
from conformance.trace.scan import UnreadableLog, named

CONFORMING, VIOLATING, INTERRUPTED, NOTHING_VERIFIED = 0, 1, 2, 5
"""As in `conformance.verdict`, which takes longer to load than many a log to read."""

_SHOWN = 20


def _field(text: str) -> tuple[str, str]:
    name, _, key = text.partition("=")
    field = field_named(name)
    if field is None or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=KEY with a NAME of {', '.join(FIELDS)}")
    return field, key


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="trr-conformance trace",
        description="Tells from the backend's access logs whether the importer kept the strict-fallback rule.",
        epilog="Exit code: 0 conforming, 1 a person's calls break the rule, 5 nothing could be told, 4 usage.",
        allow_abbrev=False,
        # a width of its own: to ask the terminal for it is the dearest part of argparse
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=100),
    )
    parser.add_argument(
        "logs",
        nargs="+",
        metavar="FILE",
        help="plain or gzip, or a quoted pattern, the oldest first; - is standard input",
    )
    parser.add_argument("--format", choices=FORMATS, help="default: each line tells")
    fields = f"the key under which JSON lines have {', '.join(FIELDS)}; a.b is b in a"
    parser.add_argument("--field", type=_field, metavar="NAME=KEY", help=fields, action="append", default=[])
    for name, metavar, meaning in (
        ("--seeded", "ID", "a person known to have seeds"),
        ("--unseeded", "ID", "a person known to have none"),
        ("--client", "ADDRESS", "the importer's address (default: any)"),
        (
            "--user-agent",
            "TEXT",
            "part of the importer's User-Agent (default: any but the suite's own, tools' and browsers')",
        ),
        ("--ignore-client", "ADDRESS", "an address that is not the importer's"),
    ):
        parser.add_argument(name, metavar=metavar, help=meaning, action="append", default=[])
    parser.add_argument(
        "--gap",
        type=_seconds,
        default=DEFAULT_GAP_S,
        metavar="SECONDS",
        help="without a call for a person, after which a new import begins (default %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Traces; returns the exit code."""
    try:
        given = _parser().parse_intermixed_args(arguments)
        options = Options(
            format=given.format,
            fields=dict(given.field),
            seeded=frozenset(given.seeded),
            unseeded=frozenset(given.unseeded),
            clients=frozenset(given.client),
            user_agents=tuple(given.user_agent),
            ignore_clients=frozenset(given.ignore_client),
            gap_s=given.gap,
        )
        trace = trace_calls(named(given.logs), options)
        _print(json.dumps(trace.as_json()) if given.json else told(trace))
    except UnreadableLog as error:
        print(f"trr-conformance trace: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("trr-conformance trace: interrupted", file=sys.stderr)
        return INTERRUPTED
    return exit_code(trace)


def exit_code(trace: Trace) -> int:
    """The exit code that a trace deserves."""
    if trace.number("violating"):
        return VIOLATING
    return CONFORMING if trace.number("conforming") else NOTHING_VERIFIED


def told(trace: Trace) -> str:
    """The trace for a reader: who broke the rule and where, who may have, and the figures."""
    lines = []
    for person in trace.persons:
        if person.verdict == "violating":
            lines.append(f"{person.person_id}  violating {', '.join(person.clauses)}")
            lines += [f"    line {number} {text}" for number, text in person.timeline]
    undecided = [person for person in trace.persons if person.verdict == "undecided"]
    lines += [f"{person.person_id}  undecided: {person.reason}" for person in undecided[:_SHOWN]]
    if len(undecided) > _SHOWN:
        lines.append(f"… and {len(undecided) - _SHOWN} more undecided (--json lists them)")
    lines.append(
        f"{trace.number('violating')} violating, {trace.number('undecided')} undecided, "
        f"{trace.number('conforming')} conforming; "
        f"{trace.lines} lines, {trace.photo_calls} photos calls, {trace.broken_lines} broken lines"
    )
    return "\n".join(lines)


def _print(text: str) -> None:
    """Prints what any terminal takes; a reader that has seen enough is no error."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
