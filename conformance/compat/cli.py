"""`trr-conformance contracts …` and `trr-conformance drift …`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

import contracts
from conformance.arguments import Parser
from conformance.compat import openapi, policy, report, versions
from conformance.compat.linking import SchemaUnusable, read_document
from conformance.compat.openapi import NotOpenAPI, OpenAPI
from conformance.compat.rules import DIRECTIONS
from conformance.compat.schemas import Verdict, compare
from conformance.errors import UsageError
from conformance.verdict import ExitCode
from contracts import ContractError

_ACCEPTED: Final = "accepted-breaks.toml"


def contracts_main(arguments: Sequence[str]) -> int:
    """`contracts check | diff | diff-schema`: 0 fine, 1 not, 4 usage."""
    parser = Parser(prog="trr-conformance contracts", description="For authors of the contracts.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="check | diff | diff-schema")
    check = commands.add_parser("check", help="all that is wrong with the contracts, with file and line")
    check.add_argument("--write-lock", action="store_true", help="write contracts.lock anew first")
    diff = commands.add_parser("diff", help="what changed since BASE, whom it breaks, and with which payload")
    diff.add_argument("base", metavar="BASE", help="a git revision, a folder, or a released version")
    for command in (check, diff):
        command.add_argument("--folder", type=Path, metavar="DIR", help="the contracts (default: ./contracts, or ours)")
        command.add_argument("--github", action="store_true", help="print annotations of a pull request")
    schema = commands.add_parser("diff-schema", help="compare two JSON Schema files")
    schema.add_argument("old", type=Path, metavar="OLD")
    schema.add_argument("new", type=Path, metavar="NEW")
    schema.add_argument("--direction", choices=DIRECTIONS, required=True, help="whether it is sent or read")
    for command in (diff, schema):
        command.add_argument("--json", action="store_true", help="print JSON")
    runs: dict[str, Callable[[argparse.Namespace], int]] = {
        "check": _check,
        "diff": _diff,
        "diff-schema": _diff_schema,
    }
    return _run(parser, arguments, lambda options: runs[options.command](options))


def drift_main(arguments: Sequence[str]) -> int:
    """`drift OPENAPI`: 0 where it promises no less than the contract, 1 where it does, 4 usage, 5 nothing described."""
    parser = Parser(
        prog="trr-conformance drift",
        description="Hold a backend's own OpenAPI document against the pinned contract (OAS-01), offline.",
    )
    parser.add_argument("openapi", metavar="OPENAPI", help="the document, JSON or YAML; - for standard input")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--github", action="store_true", help="print annotations of a pull request")
    return _run(parser, arguments, _drift)


def _run(
    parser: argparse.ArgumentParser, arguments: Sequence[str], command: Callable[[argparse.Namespace], int]
) -> int:
    try:
        return command(parser.parse_args(arguments))
    except (UsageError, ContractError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except (SchemaUnusable, NotOpenAPI) as error:
        print(f"{parser.prog}: the contracts: {error}", file=sys.stderr)
        return ExitCode.USAGE


def _folder(options: argparse.Namespace) -> Path:
    """The contracts that are meant: those named, those of the working folder, or the installed ones."""
    if options.folder is not None:
        folder: Path = options.folder
    else:
        here = Path("contracts")
        folder = here if (here / "VERSION").is_file() else Path(contracts.__file__).parent
    if not (folder / "VERSION").is_file():
        raise UsageError(f"{folder} holds no contracts: there is no VERSION")
    return folder


def _check(options: argparse.Namespace) -> int:
    folder = _folder(options).resolve()
    if options.write_lock:
        try:
            contracts.write_lock(folder)
        except ContractError as refusal:
            print(f"contracts.lock is not written: {refusal}", file=sys.stderr)
    findings = contracts.check(folder)
    for finding in findings:
        print(_annotation(finding) if options.github else finding)
    if not findings and not options.github:
        print(f"{folder.name}: version {contracts.load(folder).version} can be released")
    return ExitCode.FAILED if findings else ExitCode.CONFORMING


def _annotation(finding: contracts.Finding) -> str:
    line = "" if finding.line is None else f",line={finding.line}"
    return f"::error file={finding.file}{line}::{finding.message.replace('%', '%25')}"


def _diff(options: argparse.Namespace) -> int:
    folder = _folder(options).resolve()
    new = contracts.load(folder)
    accepted = policy.read_accepted(folder / _ACCEPTED)
    with versions.base(options.base, new) as old:
        findings = versions.changes(old, new)
        outcome = policy.judge(old.version, new.version, findings, accepted)
        if options.json:
            _print_json(report.diff_json(findings, outcome, old.version, new.version))
        elif options.github:
            shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
            print("\n".join(report.workflow_commands(findings, outcome, shown)))
        else:
            print(report.diff_text(findings, outcome, old.version, new.version))
    return ExitCode.FAILED if outcome.problems else ExitCode.CONFORMING


def _diff_schema(options: argparse.Namespace) -> int:
    documents = []
    for path in (options.old, options.new):
        try:
            document = read_document(path)
            document.validator()
        except SchemaUnusable as error:
            raise UsageError(f"{path}: {error}") from None
        documents.append(document)
    try:
        examples = [*_examples(documents[0].schema), *_examples(documents[1].schema)]
        comparison = compare(documents[0], documents[1], options.direction, examples=examples)
    except SchemaUnusable as error:
        raise UsageError(f"{options.old} or {options.new}: {error}") from None
    if options.json:
        _print_json(comparison.as_json())
    else:
        print(report.comparison_text(comparison))
    return ExitCode.CONFORMING if comparison.verdict is Verdict.COMPATIBLE else ExitCode.FAILED


def _examples(schema: Any) -> list[Any]:
    examples = schema.get("examples", []) if isinstance(schema, dict) else []
    return examples if isinstance(examples, list) else []


def _drift(options: argparse.Namespace) -> int:
    try:
        document = _read(options.openapi)
        published, contract = OpenAPI(document, published=True), OpenAPI(contracts.load().openapi())
        is_typed = openapi.describes_answers(contract, document)
        findings = [
            finding
            for finding in openapi.drift(contract, published)
            if is_typed or not finding.change.rule.startswith("response-")
        ]
    except (NotOpenAPI, SchemaUnusable) as error:
        raise UsageError(f"{options.openapi}: {error}") from None
    pinned = contracts.load()
    findings = [versions.with_consumers(finding, pinned) for finding in findings]
    if options.json:
        _print_json(report.drift_json(findings))
    elif options.github:
        coarse = [finding for finding in findings if not openapi.is_finer(finding.change)]
        for command in report.workflow_commands(coarse, None, Path(options.openapi)):
            print(command)
    else:
        print(report.drift_text(findings))
    if not findings and not is_typed:
        print(f"{options.openapi}: describes no answer of a pinned endpoint: not verified", file=sys.stderr)
        return ExitCode.NOTHING_VERIFIED
    broken = any(finding.change.verdict is Verdict.BREAKING for finding in findings)
    return ExitCode.FAILED if broken else ExitCode.CONFORMING


def _read(name: str) -> Any:
    """The value of a JSON or YAML file."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is not UTF-8") from None
    except ValueError as error:  # no name of a file
        raise UsageError(f"{name}: cannot be read: {error}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        contracts.require_shallow_yaml(text)
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"{name}: is neither JSON nor YAML: {error}") from None


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
