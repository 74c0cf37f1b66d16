"""Assertions over exchanges; each raises `Violation` with what another team needs to see."""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Collection
from typing import Any

from conformance.backend import Snapshot
from conformance.core_tables import texts
from conformance.errors import PremiseBroken, Violation
from conformance.exchange import Exchange, Failure

SUCCESS = range(200, 300)
"""Any 2xx."""


def status(
    exchange: Exchange, allowed: Collection[int], *, clause: str | None = None, what: str = "the request"
) -> None:
    """The answer has one of the allowed statuses."""
    __tracebackhide__ = True
    if exchange.status not in allowed:
        raise Violation(
            f"{what} was answered {exchange.outcome()}",
            clause=clause,
            expected=_in_words(allowed),
            actual=exchange.outcome(),
            exchange=exchange,
        )


def _in_words(statuses: Collection[int]) -> str:
    """Statuses, a whole class of them as `a 4xx`."""
    classes = [n for n in range(1, 6) if set(statuses).issuperset(range(100 * n, 100 * n + 100))]
    single = sorted(status for status in statuses if status // 100 not in classes)
    return " or ".join([*map(str, single), *(f"a {n}xx" for n in classes)])


def client_error(
    exchange: Exchange, *, clause: str | None = None, what: str = "the request", may_close: bool = False
) -> None:
    """The answer is a 4xx, or where `may_close`, the connection was closed instead."""
    __tracebackhide__ = True
    if may_close and exchange.failure in (Failure.CLOSED, Failure.REFUSED):
        return
    if not 400 <= exchange.status < 500:
        raise Violation(
            f"{what} was answered {exchange.outcome()}",
            clause=clause,
            expected="a 4xx",
            actual=exchange.outcome(),
            exchange=exchange,
        )


def not_granted(exchange: Exchange, *, clause: str | None = None, what: str = "the request") -> None:
    """The answer is no success."""
    __tracebackhide__ = True
    if exchange.status < 300:
        raise Violation(
            f"{what} was granted",
            clause=clause,
            expected="a refusal",
            actual=exchange.outcome(),
            exchange=exchange,
        )


def unchanged(
    before: Snapshot, after: Snapshot, *, what: str, exchange: Exchange | None = None, clause: str | None = None
) -> None:
    """Two looks at the same person's photos show the same photos and seeds; how often a list has one is PHO-02's."""
    __tracebackhide__ = True
    if (set(before.every), set(before.seeds)) != (set(after.every), set(after.seeds)):
        raise Violation(
            f"{what} changed the photos: {difference(before, after)}",
            clause=clause,
            expected=before.as_lists(),
            actual=after.as_lists(),
            exchange=exchange or after.exchange,
        )


def difference(before: Snapshot, after: Snapshot) -> str:
    """What is gone from and what is new in either list, in one line."""
    parts = []
    for name, old, new in (
        ("seed_only=false", before.every, after.every),
        ("seed_only=true", before.seeds, after.seeds),
    ):
        parts += [f"{name} lost {url}" for url in (old - new).elements()]
        parts += [f"{name} gained {url}" for url in (new - old).elements()]
    return "; ".join(parts)


def same_photos(
    actual: Collection[str], expected: Collection[str], *, what: str, exchange: Exchange, clause: str | None = None
) -> None:
    """Two multisets of `served_url` are equal."""
    __tracebackhide__ = True
    missing, extra = Counter(expected) - Counter(actual), Counter(actual) - Counter(expected)
    if missing or extra:
        lines = [f"{url} is missing" for url in missing.elements()] + [f"{url} is too much" for url in extra.elements()]
        raise Violation(
            f"{what}: {'; '.join(lines)}",
            clause=clause,
            expected=sorted(expected),
            actual=sorted(actual),
            exchange=exchange,
        )


def known_addresses(actual: Collection[str], known: Collection[str], *, exchange: Exchange) -> None:
    """Premise: each address is one of the gallery's; else addresses are what is wrong (PHO-10), not flags."""
    __tracebackhide__ = True
    strange = Counter(actual) - Counter(dict.fromkeys(known, len(actual)))
    if strange:
        raise PremiseBroken(
            "PHO-10",
            "a photo's served_url is none of the gallery's addresses",
            expected=sorted(known),
            actual=sorted(strange),
            exchange=exchange,
        )


def no_secret(exchange: Exchange, secrets: dict[str, str]) -> None:
    """No part of the response repeats one of the secrets."""
    __tracebackhide__ = True
    response = exchange.answer
    parts: dict[str, Any] = {f"header {name}": value for name, value in response.headers}
    parts["the body"] = response.text
    for part, text in parts.items():
        for name, secret in secrets.items():
            if secret in text:
                raise Violation(
                    f"{part} of a {exchange.outcome()} repeats {name}",
                    expected=f"no {name} in it",
                    actual=f"{part} contains {name}",
                    exchange=exchange,
                )


def has_message(exchange: Exchange) -> bool:
    """Whether the answer says something: a text that is a message, in JSON a member or element."""
    text = exchange.answer.text
    try:
        return any(map(is_message, texts(json.loads(text))))
    except (ValueError, RecursionError):
        return is_message(_TAG.sub(" ", text))


def is_message(text: str) -> bool:
    """Whether a person could learn anything from a text: it has words, and is no mere `OK`, id, address or no-value."""
    said = text.strip()
    return (
        any(map(str.isalpha, said)) and said.rstrip(".!").lower() not in _EMPTY and not _ID_OR_ADDRESS.fullmatch(said)
    )


_EMPTY = frozenset({"ok", "null", "none", "undefined", "nan", "[object object]"})
"""What says nothing; all but the first are what languages write where somebody took no text for one."""
_TAG = re.compile(r"<[^>]*>")
_ID_OR_ADDRESS = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|https?://\S+|about:blank", re.IGNORECASE)


def same_uuid(actual: Any, expected: str) -> bool:
    """Whether a JSON value is this UUID, in any case and form."""
    try:
        return isinstance(actual, str) and uuid.UUID(actual) == uuid.UUID(expected)
    except ValueError:
        return False


def same_text(exchange: Exchange, expected: str, *, what: str) -> None:
    """The body is this text."""
    __tracebackhide__ = True
    if exchange.answer.text != expected:
        raise Violation(what, expected=expected, actual=exchange.answer.text, exchange=exchange)
