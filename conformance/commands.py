"""Commands of the environment's file: run without a shell, with a time limit, and with an end to what they may say."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from conformance.errors import TargetBroken

MAX_OUTPUT_BYTES = 1024 * 1024
"""How much of an output is kept."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    exit_code: int
    output: str
    """The head of both its outputs as one text; where they are apart, the tail of stdout."""
    errors: str = ""
    """Where the outputs are apart, the tail of stderr."""


def run(
    key: str,
    words: Sequence[str],
    *,
    time_limit_s: float,
    variables: Mapping[str, str] | None = None,
    apart: bool = False,
) -> Ended:
    """Runs a command to its end, with the variables of this process and some more.

    `key` is the environment's key that holds it. Raises TargetBroken where it cannot be started, or does not end within
    the time limit; then whatever it has started is ended with it.
    """
    try:
        # a session of its own, so that whatever it starts can be ended with it
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT,
            env={**os.environ, **(variables or {})},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TargetBroken(f"{key}: {words[0]}: {reason}") from None
    said = [(pipe, bytearray()) for pipe in (process.stdout, process.stderr) if pipe is not None]
    readers = [threading.Thread(target=_read, args=(*each, apart), daemon=True) for each in said]
    for reader in readers:
        reader.start()
    try:
        exit_code = process.wait(time_limit_s)
    except subprocess.TimeoutExpired:
        raise TargetBroken(f"{key}: did not end within {time_limit_s:g} s") from None
    finally:
        for reader in readers:
            reader.join(0 if process.returncode is None else 1)
        # where it still runs, or a child that it left behind holds a pipe open
        if process.returncode is None or any(reader.is_alive() for reader in readers):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for reader in readers:
                reader.join(1)
    return Ended(exit_code, *(bytes(output).decode("utf-8", "replace") for _, output in said))


def _read(pipe: IO[bytes], output: bytearray, tail: bool) -> None:
    """Keeps the head or the tail of what a pipe holds, and empties it."""
    with contextlib.suppress(OSError, ValueError), pipe:
        while chunk := os.read(pipe.fileno(), 65536):
            if tail:
                output += chunk
                del output[:-MAX_OUTPUT_BYTES]
            else:
                output += chunk[: MAX_OUTPUT_BYTES - len(output)]
