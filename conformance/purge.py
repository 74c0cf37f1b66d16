"""The purge script, as the environment's `purge.command` runs it: a dry run, and with `--execute` in earnest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformance import commands
from conformance.environment import Environment
from conformance.errors import NotVerified
from conformance.redaction import Redactor

TIME_LIMIT_S = 60.0
SHOWN_CHARS = 2000

_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What colours a terminal (ECMA-48), and some scripts write into pipes too."""


@dataclass(frozen=True)
class PurgeRun:
    """One run of the script, as its caller saw it; everything redacted."""

    command: str
    exit_code: int
    output: str
    """Both of its outputs as one text without colours, at most `commands.MAX_OUTPUT_BYTES` of them."""

    def __str__(self) -> str:
        """For messages: the command line, how it ended, and the head of what it said."""
        said = self.output.strip()
        shown = said if len(said) <= SHOWN_CHARS else f"{said[:SHOWN_CHARS]}…"
        return f"{self.command}\nexit {self.exit_code}\n{shown or '(it said nothing)'}"


class Purge:
    """The purge script of one environment; raises NotVerified where there is none, and on production.

    It runs with the variables of this process, and those that the environment itself brings along.
    """

    def __init__(
        self,
        environment: Environment,
        redactor: Redactor,
        variables: Mapping[str, str] | None = None,
        *,
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        self._words: Sequence[str] = environment.need("purge")["command"]
        if environment.production:
            raise NotVerified(f"{environment.name} is production: the purge is never run there")
        self._redactor = redactor
        self._variables = dict(variables or {})
        self._time_limit_s = time_limit_s

    def run(self, *, show_id: str, season_number: int, page_url: str, execute: bool = False) -> PurgeRun:
        """Runs the script for the imports of one season from one page, without a shell.

        Raises TargetBroken where it cannot be started or does not end within the time limit.
        """
        values = {"show_id": show_id, "season_number": str(season_number), "page_url": page_url}
        words = [_filled(word, values) for word in self._words] + (["--execute"] if execute else [])
        ended = commands.run("purge.command", words, time_limit_s=self._time_limit_s, variables=self._variables)
        output = _CONTROL_SEQUENCE.sub("", ended.output)
        return PurgeRun(self._redactor.text(" ".join(words)), ended.exit_code, self._redactor.text(output))


def _filled(word: str, values: Mapping[str, str]) -> str:
    """A word of the command with its placeholders filled, in one pass: an address may hold braces of its own."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), word)
