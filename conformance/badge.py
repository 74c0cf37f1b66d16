"""BADGE-01: what a JUnit file says of a run over the badge vectors.

The app's badge is a function of its own language, so its own test runner runs the vectors, each as a test case of the
vector's name. Runners lay JUnit files out differently; here a name may stand anywhere in the test case's name, in its
class name or in the names of the suites around it, as a word of its own.
"""

from __future__ import annotations

import enum
import html
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from xml.parsers import expat

from conformance.errors import NotVerified, TargetBroken, Violation

_NAME = re.compile(r"(?<![A-Za-z0-9-])badge(?:-[a-z0-9]+)+(?![A-Za-z0-9-])")
_SUITES = ("testsuites", "testsuite")
_CHUNK = 1 << 16
_TEXT_LIMIT = 2000
_SHOWN = 5


class Outcome(enum.IntEnum):
    """What became of a test case, the worst last."""

    PASSED = 0
    SKIPPED = 1
    FAILED = 2


# elements within a test case, and the words of some runners in its `status` or `result`
_OUTCOMES = {
    "failure": Outcome.FAILED,
    "error": Outcome.FAILED,
    "failed": Outcome.FAILED,
    "skipped": Outcome.SKIPPED,
    "notrun": Outcome.SKIPPED,
    "disabled": Outcome.SKIPPED,
    "suppressed": Outcome.SKIPPED,
    "pending": Outcome.SKIPPED,
    "todo": Outcome.SKIPPED,
}


@dataclass(frozen=True)
class Case:
    """A test case that bears the name of a vector."""

    vector: str
    outcome: Outcome
    message: str = ""
    """What its failure says, in one line; empty where there is none."""


def judge(path: Path, vectors: Sequence[Mapping[str, Any]]) -> None:
    """Judge a run over the vectors (``contracts/vectors/badge.json``) by its JUnit file.

    Raises Violation where a vector's test case failed; NotVerified where the file cannot be read, or where a vector has
    no test case that passed (a run over an older set of vectors, a filtered run); TargetBroken where the file is no
    JUnit XML.
    """
    expected = {vector["name"]: vector["expected"] for vector in vectors}
    cases = [case for case in read(path) if case.vector in expected]
    failed = {case.vector: case.message for case in cases if case.outcome is Outcome.FAILED}
    if failed:
        shown = list(failed)[:_SHOWN]
        raise Violation(
            f"the badge of {len(failed)} of {len(expected)} vectors is another: {_listed(list(failed))}",
            expected={name: expected[name] for name in shown},
            actual={name: failed[name] for name in shown},
        )
    passed = {case.vector for case in cases if case.outcome is Outcome.PASSED}
    if unproven := [name for name in expected if name not in passed]:
        raise NotVerified(
            f"badge_junit: {path}: has no test case that passed for {len(unproven)} of {len(expected)} vectors: "
            f"{_listed(unproven)}"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:_SHOWN], *(["…"] if len(names) > _SHOWN else [])])


def read(path: Path) -> list[Case]:
    """The test cases of a JUnit file that bear the name of a vector, in order; raises as `judge` does."""
    reader = _Reader()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                reader.feed(chunk)
        reader.feed(b"", final=True)
    except OSError as error:
        raise NotVerified(f"badge_junit: {path}: cannot be read: {error.strerror}") from None
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise TargetBroken(f"badge_junit: {path}: is no JUnit XML: {error}") from None
    return reader.cases


class _Reader:
    """Reads JUnit XML piece by piece; raises ExpatError, LookupError or ValueError for anything else."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self._depth = 0
        self._suites: list[str] = []
        self._labels: list[str] | None = None
        """Where a test case is open: the words in which it may name its vector."""
        self._case_depth = 0
        self._outcome = Outcome.PASSED
        self._messages: list[str] = []
        self._text: str | None = None
        """Where an element that tells a failure is open: its text."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = self._start
        parser.CharacterDataHandler = self._character_data
        parser.EndElementHandler = self._end
        self._parser = parser

    def feed(self, chunk: bytes, *, final: bool = False) -> None:
        self._parser.Parse(chunk, final)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1 and tag not in _SUITES:
            raise ValueError(f"its root is <{textwrap.shorten(tag, 40)}>")
        if self._labels is None and tag in _SUITES:
            self._suites.append(attributes.get("name", ""))
        elif self._labels is None and tag == "testcase":
            self._case_depth = self._depth
            self._labels = [*self._suites, attributes.get("classname", ""), attributes.get("name", "")]
            words = (attributes.get(key, "").lower() for key in ("status", "result"))
            self._outcome = max(_OUTCOMES.get(word, Outcome.PASSED) for word in words)
            self._messages = []
        elif self._labels is not None and self._depth == self._case_depth + 1 and tag in _OUTCOMES:
            self._outcome = max(self._outcome, _OUTCOMES[tag])
            # some runners escape it twice
            self._messages.append(html.unescape(attributes.get("message", "")))
            self._text = ""

    def _character_data(self, text: str) -> None:
        if self._text is not None and len(self._text) < _TEXT_LIMIT:
            self._text += text[:_TEXT_LIMIT]

    def _end(self, tag: str) -> None:
        if self._labels is not None and self._depth == self._case_depth:
            message = textwrap.shorten(next(filter(str.strip, self._messages), ""), 200, placeholder=" …")
            vectors = dict.fromkeys(name for label in self._labels for name in _NAME.findall(label))
            self.cases += [Case(vector, self._outcome, message) for vector in vectors]
            self._labels = None
        elif self._text is not None and self._depth == self._case_depth + 1:
            self._messages.append(self._text)
            self._text = None
        elif self._labels is None and tag in _SUITES:
            self._suites.pop()
        self._depth -= 1


def _refuse_doctype(*_: object) -> NoReturn:
    # JUnit files have none, and entities are how a small file becomes a large one
    raise ValueError("it has a document type")
