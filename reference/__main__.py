"""`python -m reference`: the reference in one process, and a warden that removes every trace of it afterwards."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from reference.warden import Warden

if TYPE_CHECKING:
    from reference.rogues import Rogue

SERVICES = ("backend", "app", "screenalytics")


MakeDatabases = Callable[[Sequence[str]], Mapping[str, str]]
"""Makes a database for each of the services that has one: service → URL."""


class Files(NamedTuple):
    """What a world writes and reads, if anything."""

    trace: Path | None
    """Which methods are called."""
    access_log: Path | None
    """The backend's requests."""
    mutant: Path | None
    """What it does otherwise."""


def main(arguments: Sequence[str] | None = None, make_databases: MakeDatabases | None = None) -> int:
    """Serve until told to stop (0); 4 for bad usage, and for a database or a rogue that can't be had.

    The databases are this process's own, removed at its end, unless somebody else makes them.
    """
    parser = argparse.ArgumentParser(prog="python -m reference", description="Run the reference system.")
    parser.add_argument("--rogue", metavar="NAME", help="run it with this one fault")
    parser.add_argument("--mutant", metavar="FILE", type=Path, help="run it with this change, of reference.mutation")
    parser.add_argument("--list-rogues", action="store_true", help="print the rogues and stop")
    parser.add_argument(
        "--only", metavar="SERVICE", action="append", choices=SERVICES, help="run this service only (repeatable)"
    )
    parser.add_argument("--trr-api-url", metavar="URL", help="the backend of the app and Screenalytics is this one")
    parser.add_argument(
        "--vision-url", metavar="URL", help="the backend counts people at this one's /vision/people-count"
    )
    parser.add_argument(
        "--database-url", metavar="URL", help="create databases on this server, and drop them at the end"
    )
    parser.add_argument(
        "--access-log", metavar="FILE", type=Path, help="append the backend's requests there, in the combined format"
    )
    parser.add_argument("--json", action="store_true", help="print JSON on one line instead of an environment file")
    parser.add_argument("--trace", metavar="FILE", type=Path, help="write down which methods are called, and when")
    parser.add_argument("--prefork", metavar="SOCKET", help="serve worlds as they are asked for on this Unix socket")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has said why
        return 4 if stop.code else 0
    if options.list_rogues:
        return list_rogues(options.json)
    if options.prefork:
        from reference import prefork

        return prefork.run(Path(options.prefork), SERVICES, main)
    services = [service for service in SERVICES if service in (options.only or SERVICES)]
    try:
        trr_api_url = http_url("--trr-api-url", options.trr_api_url)
        vision_url = http_url("--vision-url", options.vision_url)
        if trr_api_url is None and "backend" not in services:
            raise ValueError(f"--only {services[0]} needs --trr-api-url: no backend is started")
        if options.access_log is not None and "backend" not in services:
            raise ValueError("--access-log is the backend's, which --only leaves out")
    except ValueError as error:
        return usage_error(str(error))
    files = Files(options.trace, options.access_log, options.mutant)
    serve = partial(serve_world, services, options.rogue, trr_api_url, vision_url, options.json, files)
    return run(services, options.database_url, serve) if make_databases is None else serve(make_databases)


def http_url(option: str, text: str | None) -> str | None:
    """The http(s) URL that an option gives, without a slash at its end; raises ValueError."""
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    # urlsplit forgives what stands between an IPv6 address and its port
    if not is_one or not re.fullmatch(
        r"[a-z]+://(\[[0-9a-f:.]+\]|[!-.0-Z^-~]+?)(:[0-9]+)?(/[!-~]*)?", text, re.IGNORECASE
    ):
        raise ValueError(f"{option}: {text!r} is no http(s) URL")
    return text.rstrip("/")


def usage_error(message: str) -> int:
    """Say what is wrong, and return the exit code for it."""
    print(f"python -m reference: {message}", file=sys.stderr)
    return 4


def list_rogues(as_json: bool) -> int:
    """Print every rogue: its name, target, clauses and what it does."""
    from reference import app, backend, screenalytics
    from reference.rogues import ROGUES
    from reference.tracing import overridden

    if as_json:
        true = {"backend": backend.Backend, "app": app.App, "screenalytics": screenalytics.Screenalytics}
        rows = [
            {
                "name": rogue.name,
                "target": rogue.target,
                "breaks": rogue.breaks,
                "summary": rogue.summary,
                "profile": rogue.profile,
                "overrides": overridden(rogue.implementation, true[rogue.target]),
            }
            for rogue in ROGUES.values()
        ]
        print(json.dumps(rows))
    else:
        width = max(map(len, ROGUES), default=0)
        for rogue in ROGUES.values():
            print(f"{rogue.name:{width}}  {rogue.target}  {', '.join(rogue.breaks):24}  {rogue.summary}")
    return 0


def run(services: Sequence[str], database_url: str | None, serve: Callable[[MakeDatabases], int]) -> int:
    """Start the databases, serve on them, and remove them."""
    from reference.serving import stop_with_parent

    stop_with_parent()
    # Left in this order: the warden ends whatever still starts, and the background task with it.
    with ThreadPoolExecutor(1) as background, Warden() as warden:
        from reference import database

        # The databases start while the services are imported.
        starting = background.submit(database.start, database_url, services, warden)
        return serve(lambda services: starting.result())


def serve_world(
    services: Sequence[str],
    rogue_name: str | None,
    trr_api_url: str | None,
    vision_url: str | None,
    as_json: bool,
    files: Files,
    make_databases: MakeDatabases,
) -> int:
    """Print the environment once all services answer, and serve until told to stop."""
    from reference.database import DatabaseError
    from reference.serving import serve
    from reference.tracing import notebook
    from reference.world import World

    try:
        rogue = find_rogue(rogue_name, services)
        if files.mutant is not None:
            from reference import mutation

            mutation.apply(files.mutant)
        databases = make_databases(services)
    except (KeyError, DatabaseError) as error:
        return usage_error(error.args[0])
    note = None if files.trace is None else notebook(files.trace)
    world = World(services, databases, trr_api_url, vision_url, rogue, note)
    if files.access_log is not None:
        world.keep_access_log(files.access_log)
    text = world.environment.json() if as_json else world.environment.toml()
    serve(world.services, lambda: print(text, end="", flush=True))
    return 0


def find_rogue(name: str | None, services: Sequence[str]) -> Rogue | None:
    """The rogue of that name; raises KeyError with a clear message where there is none, or its service does not run."""
    if name is None:
        return None
    from reference import rogues

    rogue = rogues.find(name)
    if rogue.target not in services:
        raise KeyError(f"the rogue {name} is of the {rogue.target}, which --only leaves out")
    return rogue


if __name__ == "__main__":
    sys.exit(main())
