"""Many worlds from one start: modules and the Postgres cluster are had once, and each world is a fork.

`python -m reference --prefork SOCKET` listens on a Unix socket. A client sends the arguments of `python -m reference`
as one line, a JSON array of strings, and reads what that command would print. Its world ends with the connection.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from reference.serving import stop_with_parent
from reference.warden import Warden

Serve = Callable[[Sequence[str], Callable[[Sequence[str]], Mapping[str, str]]], int]
"""Serves the world that some arguments ask for, on the databases that a function makes for its services."""


def run(path: Path, services: Sequence[str], serve: Serve) -> int:
    """Serve worlds on the socket at `path` until told to stop; 4 for a database that can't be had."""
    stop_with_parent()
    with Warden() as warden:
        from reference import database, rogues, states, world  # noqa: F401  (so that no fork has to)

        try:
            templates = database.start(None, services, warden)
        except database.DatabaseError as error:
            print(f"python -m reference: {error.args[0]}", file=sys.stderr)
            return 4
        gc.collect()
        gc.freeze()  # no fork looks for garbage in what all have
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(16)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended worlds are waited for by nobody
            print(json.dumps({"prefork": str(path)}), flush=True)
            while True:
                connection, _ = listener.accept()
                if os.fork():
                    connection.close()
                else:
                    listener.close()
                    _serve(connection, templates, serve)


def _serve(connection: socket.socket, templates: Mapping[str, str], serve: Serve) -> NoReturn:
    """In a fork: serve the world that is asked for, until the connection ends."""
    from reference import database

    made: dict[str, str] = {}

    def copies(services: Sequence[str]) -> Mapping[str, str]:
        for owner in {database.USED[service] for service in services}:
            made[owner] = database.copy(templates[owner])
        return made

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        with connection.makefile("r", encoding="utf-8") as asked:
            arguments = json.loads(asked.readline())
            os.dup2(connection.fileno(), sys.stdout.fileno())

            def watch() -> None:
                connection.recv(1)
                os.kill(os.getpid(), signal.SIGTERM)

            threading.Thread(target=watch, name="client watch", daemon=True).start()
            code = serve(arguments, copies)
    except SystemExit:
        code = 0
    finally:
        for url in made.values():
            database.drop(url)
        os._exit(code)
