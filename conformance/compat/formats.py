"""The formats that are judged: those with one meaning everywhere, checked without optional packages.

JSON Schema 2020-12 leaves it to the application whether `format` asserts. Here a proof has to hold under both
readings, and a witness under the asserting one, which is how the suite itself reads the contracts.
"""

from __future__ import annotations

import datetime
import re
from typing import Final

from jsonschema import FormatChecker

CHECKER: Final = FormatChecker(("date", "email", "ipv4", "ipv6", "regex", "uuid"))

_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt](\d{2}:\d{2}:\d{2})(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII)


@CHECKER.checks("date-time")
def _is_date_time(value: object) -> bool:
    """RFC 3339, section 5.6, without leap seconds."""
    if not isinstance(value, str):
        return True
    match = _DATE_TIME.fullmatch(value)
    if match is None:
        return False
    try:
        datetime.datetime.fromisoformat(f"{value[:10]}T{match[1]}")
    except ValueError:
        return False
    return True


SAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "date": ("2026-02-06", "1999-12-31"),
    "date-time": ("2026-02-06T12:00:00Z", "1999-12-31T23:59:59+01:00"),
    "email": ("a@example.com", "b@example.org"),
    "ipv4": ("192.0.2.1", "198.51.100.7"),
    "ipv6": ("2001:db8::1", "2001:db8::2"),
    "regex": ("^a+$", "b"),
    "uuid": ("1b3cb751-e6d0-594c-acdb-57958c463495", "551C8E8F-9714-43EF-A93B-26400EEFFB91"),
}
"""Strings that are of the format beyond doubt."""

OUTSIDERS: Final = ("not of any format (", "")
"""Strings that are of no format above."""

KNOWN: Final = frozenset(SAMPLES)
