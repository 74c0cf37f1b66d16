"""Command lines: argparse, whose refusals end with our exit code for bad usage."""

from __future__ import annotations

import argparse
from typing import Final, NoReturn

USAGE: Final = 4
"""As in `conformance.verdict`, which takes longer to load than many a command to run."""


class Parser(argparse.ArgumentParser):
    """A parser that ends the process with the exit code 4, and no other, for a command line that it cannot read."""

    def error(self, message: str) -> NoReturn:
        """Says in one line what is wrong."""
        self.exit(USAGE, f"{self.prog}: {message}\n")
