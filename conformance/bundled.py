"""The bundled reference, as a process of its own: started for a run, and reached over HTTP like any other target."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

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
    """A running `python -m reference`. It stops when `stop` is called, and by itself when this process is gone.

    With `prefork`, the socket of a `python -m reference --prefork`, it is a fork of that one, and quicker there.
    """

    def __init__(self, *, rogue: str | None = None, extra: Sequence[str] = (), prefork: str | None = None) -> None:
        arguments = ["--json", *(["--rogue", rogue] if rogue else []), *extra]
        self._running = _Process(arguments) if prefork is None else _Fork(prefork, arguments)
        try:
            ready = json.loads(self._running.output.readline())
            self.source = EnvironmentSource("reference", ready["environment"], ready["variables"])
        except (ValueError, KeyError, TypeError):
            self.stop()
            raise TargetUnreachable("the bundled reference did not start; what it said is above") from None

    def stop(self) -> None:
        """Tells the reference to stop; it takes what it started with it, within a second or so, and nobody waits."""
        self._running.stop()


class _Process:
    def __init__(self, arguments: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=variables()
        )
        self.output = cast(IO[str], self._process.stdout)

    def stop(self) -> None:
        self._process.terminate()
        self.output.close()


class _Fork:
    def __init__(self, path: str, arguments: Sequence[str]) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(path)
        self._connection.sendall(json.dumps(arguments).encode() + b"\n")
        self.output = self._connection.makefile("r", encoding="utf-8")

    def stop(self) -> None:
        self._connection.shutdown(socket.SHUT_RDWR)
        self.output.close()
        self._connection.close()
