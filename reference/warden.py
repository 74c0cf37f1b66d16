"""The one clean-up path of a reference: a process that outlives it, waits for its end, and removes what it made.

Standard input carries one JSON object per line: `{"folder": path}`, a temporary folder and the Postgres in it, or
`{"database_url": url, "drop_database": name}`. When the input ends, for whatever reason its writer ended, the warden
undoes every line, the last one first. Nothing is made before its line is written, so nothing is left behind.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, cast


class Warden:
    """A running warden; leaving the context closes its input and waits until everything is gone."""

    def __enter__(self) -> Warden:
        # By path, so that it imports nothing of the package; in a session of its own, out of the terminal's reach.
        command = [sys.executable, "-P", __file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True, text=True
        )
        self._input = cast(IO[str], self._process.stdin)
        self._turn = threading.Lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._input.close()
        self._process.wait()

    def remove_folder(self, folder: Path) -> None:
        """Have `folder` removed at the end, with the Postgres whose data is in it."""
        self._tell(folder=str(folder))

    def drop_database(self, url: str, name: str) -> None:
        """Have database `name` of the server at `url` dropped at the end."""
        self._tell(database_url=url, drop_database=name)

    def _tell(self, **line: str) -> None:
        with self._turn:
            self._input.write(json.dumps(line) + "\n")
            self._input.flush()


def _stop_processes(folder: str) -> bool:
    """End Postgres, and whatever else names or works in `folder` (initdb, pg_ctl); whether there was any."""
    import psutil  # type: ignore[import-untyped, unused-ignore]

    def end(process: psutil.Process, number: int) -> None:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
            deadline = time.monotonic() + 1
            # A zombie that nobody collects has ended too.
            while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
                time.sleep(0.005)

    # A cluster that is shut down, even at once, gives back its shared memory; a killed one does not.
    for pid_file in Path(folder).glob("*/postmaster.pid"):
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            end(psutil.Process(int(pid_file.read_text().split("\n", 1)[0])), signal.SIGQUIT)
    found = False
    for process in psutil.process_iter(["cmdline", "cwd"]):
        # The working directory tells what was forked a moment ago and has not got its command line yet.
        if any(folder in word for word in [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]):
            found = True
            end(process, signal.SIGKILL)
    return found


def _remove_folder(folder: str) -> None:
    import shutil

    # Until a sweep finds nothing: a process that was starting may have left children and files behind the last one.
    deadline = time.monotonic() + 5
    while _stop_processes(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _drop_database(url: str, name: str) -> None:
    import psycopg
    from psycopg import sql

    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
    except psycopg.Error as error:
        reason = str(error).split("\n", 1)[0]
        print(f"reference: could not drop database {name}: {reason}", file=sys.stderr)


def main() -> None:
    """Collect what is to be undone until the input ends, then undo it."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    lines = [json.loads(line) for line in sys.stdin if line.endswith("\n")]
    for line in reversed(lines):
        if "folder" in line:
            _remove_folder(line["folder"])
        else:
            _drop_database(line["database_url"], line["drop_database"])


if __name__ == "__main__":
    main()
