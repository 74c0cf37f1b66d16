"""Waivers: failures that a team has accepted for a time, each with a reason, an owner and an end."""

from __future__ import annotations

import datetime
import getpass
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.errors import UsageError
from conformance.verdict import Judgement, Verdict
from contracts import Clause

DRAFT_DAYS = 30
_KEYS = ("clause", "reason", "owner", "expires")


@dataclass(frozen=True)
class Waiver:
    """One accepted failure; `expires` is the last day on which it holds."""

    clause: str
    reason: str
    owner: str
    expires: datetime.date


def read(path: Path, clauses: Mapping[str, Clause]) -> tuple[Waiver, ...]:
    """The waivers of a file: `[[waiver]]` tables with clause, reason, owner, expires. Raises UsageError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError, a number of too many digits
        raise UsageError(f"{path}: is not TOML: {error}") from None
    entries = document.pop("waiver", [])
    if document:
        raise UsageError(f"{path}: {next(iter(document))}: unknown key (known: waiver)")
    if not isinstance(entries, list):
        raise UsageError(f"{path}: waiver: must be a list of [[waiver]] tables")
    waivers = [_read_one(entry, f"{path}: waiver {number}", clauses) for number, entry in enumerate(entries, 1)]
    seen: set[str] = set()
    for waiver in waivers:
        if waiver.clause in seen:
            raise UsageError(f"{path}: {waiver.clause}: is waived twice")
        seen.add(waiver.clause)
    return tuple(waivers)


def _read_one(entry: object, where: str, clauses: Mapping[str, Clause]) -> Waiver:
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: must be a table")
    for key in entry:
        if key not in _KEYS:
            raise UsageError(f"{where}: {key}: unknown key (known: {', '.join(_KEYS)})")
    for key in _KEYS:
        if key not in entry:
            raise UsageError(f"{where}: {key}: is missing")
    for key in ("clause", "reason", "owner"):
        if not isinstance(entry[key], str) or not entry[key].strip():
            raise UsageError(f"{where}: {key}: must be a non-empty string")
    if entry["clause"] not in clauses:
        raise UsageError(f"{where}: clause: {entry['clause']!r} is no clause of the contract")
    expires = entry["expires"]
    if isinstance(expires, str):
        try:
            expires = datetime.date.fromisoformat(expires)
        except ValueError:
            raise UsageError(f"{where}: expires: {expires!r} is no date (YYYY-MM-DD)") from None
    elif isinstance(expires, datetime.datetime):
        expires = expires.date()
    if not isinstance(expires, datetime.date):
        raise UsageError(f"{where}: expires: must be a date (YYYY-MM-DD)")
    return Waiver(entry["clause"], entry["reason"], entry["owner"], expires)


def in_force(waivers: tuple[Waiver, ...], today: datetime.date) -> tuple[dict[str, str], tuple[str, ...]]:
    """The waivers that hold today (clause id → reason and owner), and one line for each that has expired."""
    held = {w.clause: f"{w.reason} ({w.owner}, until {w.expires})" for w in waivers if w.expires >= today}
    expired = [f"{w.clause}: the waiver of {w.owner} expired on {w.expires}" for w in waivers if w.expires < today]
    return held, tuple(expired)


def draft(judgement: Judgement, today: datetime.date) -> str:
    """A waivers file for everything that failed, to be edited by whoever accepts it."""
    expires = today + datetime.timedelta(days=DRAFT_DAYS)
    try:
        owner = getpass.getuser()
    except (KeyError, OSError):
        owner = "unknown"
    tables = [
        f"[[waiver]]\nclause = {_toml(failed.clause.id)}\nreason = {_toml(failed.reason or 'failed')}\n"
        f"owner = {_toml(owner)}\nexpires = {expires}\n"
        for failed in judgement.having(Verdict.FAILED)
    ]
    return "\n".join(["# Drafted: give each waiver its true reason and owner, or take it out.\n", *tables])


def _toml(text: str) -> str:
    # a JSON string is a TOML basic string, once DEL is escaped too; TOML has no word for a lone surrogate
    text = text.encode("utf-8", "backslashreplace").decode()
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
