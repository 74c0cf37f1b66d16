"""The bundled reference, as a process of its own: started for a run, and reached over HTTP like any other target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from conformance.environment import EnvironmentSource
from conformance.errors import TargetUnreachable


def command(*arguments: str, module: str = "reference") -> list[str]:
    """The command line of `python -m reference`; -P keeps a folder of that name in the working directory out."""
    return [sys.executable, "-P", "-m", module, *arguments]


def variables() -> dict[str, str]:
    """The environment variables under which `command` finds the reference that stands next to this package."""
    root = str(Path(__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}


class BundledReference:
    """A running `python -m reference`. It stops when `stop` is called, and by itself when this process is gone."""

    def __init__(self, *, rogue: str | None = None, extra: Sequence[str] = ()) -> None:
        arguments = ["--json", *(["--rogue", rogue] if rogue else []), *extra]
        self._process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=variables()
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            ready = json.loads(line)
            self.source = EnvironmentSource("reference", ready["environment"], ready["variables"])
        except (ValueError, KeyError, TypeError):
            self.stop()
            raise TargetUnreachable("the bundled reference did not start; what it said is above") from None

    def stop(self) -> None:
        """Tells the reference to stop; it takes what it started with it, within a second or so, and nobody waits."""
        self._process.terminate()
        if self._process.stdout is not None:
            self._process.stdout.close()
