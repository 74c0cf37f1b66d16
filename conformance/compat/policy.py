"""What a change asks of the version (breaking: a major step, else a minor one), and breaks that were accepted."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.compat.openapi import Finding
from conformance.compat.schemas import Verdict
from conformance.errors import UsageError

_KEYS: Final = ("fingerprint", "base", "reason", "owner")


@dataclass(frozen=True)
class Accepted:
    """A break that somebody answers for: `[[accepted]]` of accepted-breaks.toml."""

    fingerprint: str
    """Of the finding, as `contracts diff` prints it."""
    base: str
    """The version that it was accepted against; against others it says nothing."""
    reason: str
    owner: str


def read_accepted(path: Path) -> tuple[Accepted, ...]:
    """The accepted breaks of a file; none where there is no file. Raises UsageError."""
    if not path.exists():
        return ()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    unknown = data.keys() - {"accepted"}
    records = data.get("accepted", [])
    if unknown or not isinstance(records, list):
        raise UsageError(f"{path}: holds [[accepted]] tables and nothing else{_list(unknown)}")
    return tuple(_accepted(path, number, record) for number, record in enumerate(records, 1))


def _accepted(path: Path, number: int, record: object) -> Accepted:
    if not isinstance(record, dict) or set(record) != set(_KEYS):
        raise UsageError(f"{path}: accepted[{number}] needs {', '.join(_KEYS)} and nothing else")
    for key in _KEYS:
        if not isinstance(record[key], str) or not record[key].strip():
            raise UsageError(f"{path}: accepted[{number}].{key} is no text")
    return Accepted(**record)


def _list(names: set[str]) -> str:
    return f", not {', '.join(sorted(names))}" if names else ""


@dataclass(frozen=True)
class Outcome:
    """What the policy makes of the changes."""

    problems: tuple[str, ...]
    """What stands against a release, each in one line."""
    accepted: frozenset[str]
    """The fingerprints of accepted breaks that were found."""


def judge(base: str, version: str, findings: Sequence[Finding], accepted: Sequence[Accepted]) -> Outcome:
    """Holds the changes from one version to another against the step between them.

    What was not proved counts as breaking until somebody accepts it.
    """
    here = {one.fingerprint for one in accepted if one.base == base}
    found = {finding.fingerprint for finding in findings if finding.change.verdict is not Verdict.COMPATIBLE}
    problems = []
    old, new = _numbers(base), _numbers(version)
    if new < old:
        problems.append(f"version {version} is older than {base}")
    if new[0] <= old[0]:
        for verdict in (Verdict.BREAKING, Verdict.UNPROVEN):
            open_ = [one for one in findings if one.change.verdict is verdict and one.fingerprint not in here]
            if open_:
                what = f"{len(open_)} {verdict} change{'s need' if len(open_) > 1 else ' needs'}"
                problems.append(f"{what} a major version after {base}, or to be accepted; this is {version}")
    if findings and new <= old and not problems:
        problems.append(f"{len(findings)} changes need at least a minor version after {base}; this is {version}")
    if findings and new[:2] == old[:2] and new > old and not problems:
        problems.append(f"{len(findings)} changes need at least a minor step, and {base} → {version} is a patch")
    problems += [f"accepted break {one} was not found against {base}: remove it" for one in sorted(here - found)]
    return Outcome(tuple(problems), frozenset(here & found))


def _numbers(version: str) -> tuple[int, int, int]:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        raise UsageError(f"{version!r} is no semantic version")
    major, minor, patch = map(int, match.groups())
    return major, minor, patch
