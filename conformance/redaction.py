"""Keeps secrets out of everything that the run prints or writes, and what no file, pipe or terminal takes.

Every secret is registered with a name, also what is made from one (a prefix, another case, a tampered token). `redact`
replaces each of them, in any case and in the encodings in which HTTP and Python carry text, by `<redacted:NAME>`.
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

MAX_DEPTH = 50
"""How deep a value may be nested; what a hostile target sends can be deeper than Python recurses."""

MIN_LENGTH = 6
"""What is shorter is found in ordinary words, in base64 above all: such pieces are left, and so tell little."""

MIN_CUT = 12
"""How much of a secret's beginning tells it, where a text ends in the middle of one."""

T = TypeVar("T")


def _spellings(secret: str) -> set[str]:
    """How a secret looks as it is, in a URL, in JSON, in HTML, in a Python repr, and in base64."""
    raw = secret.encode("utf-8", "surrogateescape")
    encoded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    return (encoded if len(secret) >= MIN_LENGTH else set()) | {
        secret,
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        repr(secret)[1:-1],
        repr(raw)[2:-1],
        # among other quotes, its own are escaped
        repr(f'{secret}"')[1:-2],
        repr(raw + b'"')[2:-2],
        raw.decode("latin-1"),
    }


def _folded(text: str) -> str:
    """The text, so that what `re.IGNORECASE` takes for equal is equal; it knows two more forms of i than Unicode."""
    return text.replace("\u0130", "i").casefold().replace("\u0131", "i")


def _writable(text: str) -> str:
    """The text with a lone surrogate as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


class Redactor:
    """The secrets of one run, and the replacement of each."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()
        self._folded: set[str] = set()
        self._heads: dict[str, list[str]] = {}
        """How spellings begin that are long enough to be told when they are cut → these spellings."""
        self._names: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, name: str, secret: str) -> str:
        """Registers a secret under a name; returns it."""
        for spelling in _spellings(secret):
            if spelling and spelling not in self._spellings:
                self._spellings.add(spelling)
                self._folded.add(_folded(spelling))
                if len(spelling) > MIN_CUT:
                    self._heads.setdefault(spelling[:MIN_CUT], []).append(spelling)
                self._names.setdefault(spelling.casefold(), name)
                self._pattern = None
        return secret

    def add_derived(self, name: str, value: str) -> str:
        """Registers a value made from a secret, unless it is too short to tell anything; returns it."""
        return self.add(name, value) if len(value) >= MIN_LENGTH else value

    def text(self, text: str) -> str:
        """The text with every registered secret replaced by `<redacted:NAME>`, and a lone surrogate by its escape.

        A secret in whose middle the text ends is replaced too.
        """
        text = _writable(text)
        folded = _folded(text)
        # megabytes without a secret are common, and searching them by the pattern takes half a minute
        if any(spelling in folded for spelling in self._folded):
            text = self._compiled().sub(lambda found: self._mark(found[0]), text)
        return self._without_cut_secret(text)

    def beginning(self, text: str, size: int) -> str:
        """The first characters of a text, redacted; a secret that begins in them is replaced whole."""
        if self._spellings:
            longest = max(map(len, self._spellings))
            text = _writable(text[: size + longest])
            size = max([size, *(found.end() for found in self._compiled().finditer(text) if found.start() < size)])
        return self.text(text[:size])

    def _compiled(self) -> re.Pattern[str]:
        if self._pattern is None:
            # longest first, so that a doubled secret is not taken for two
            alternatives = sorted(self._spellings, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, alternatives)), re.IGNORECASE)
        return self._pattern

    def _mark(self, spelling: str) -> str:
        return f"<redacted:{self._names.get(spelling.casefold(), 'secret')}>"

    def _without_cut_secret(self, text: str) -> str:
        for head, spellings in self._heads.items():
            start = text.find(head, max(0, len(text) - max(map(len, spellings))))
            while start >= 0:
                for spelling in spellings:
                    if spelling.startswith(text[start:]):
                        return text[:start] + self._mark(spelling)
                start = text.find(head, start + 1)
        return text

    def value(self, value: T, depth: int = MAX_DEPTH) -> T:
        """The JSON-like value with every string below it redacted, cut where it is nested deeper than anyone reads."""
        redacted: Any = value
        if isinstance(value, str):
            redacted = self.text(value)
        elif isinstance(value, dict | list | tuple) and not depth:
            redacted = "…"
        elif isinstance(value, dict):
            redacted = {self.text(str(key)): self.value(item, depth - 1) for key, item in value.items()}
        elif isinstance(value, list | tuple):
            redacted = [self.value(item, depth - 1) for item in value]
        elif isinstance(value, float) and not math.isfinite(value):
            redacted = repr(value)  # 1e999 is JSON, Infinity is not
        return redacted  # type: ignore[no-any-return]
