"""A second conforming consumer that has nothing in common with the reference but the contract.

Standard library and psycopg only: threads instead of a loop, a connection for every call, retries, small pages, and the
pictures are fetched. The suite must find no failed MUST here; where it does, it tests an implementation and not the
contract.

``python tests/different/consumer.py --trr-api-url URL --database-url URL [--by http|command]`` makes a database of its
own on that server, prints one line of JSON, ``{"environment": {...}, "variables": {NAME: value}}``, and serves until
SIGTERM, SIGINT, or the end of its parent. ``--by http`` imports at an address of its own choice, for whoever has its
token. ``--by command`` has no HTTP API: the import is a command (this file with ``--import``), and what is served are
the provider states alone.

What it does as it likes:

- The cast is the backend's where it has one, and what the provider state said where not. Every person of it is stored
  before anything is imported.
- Person ids are in upper case in paths; pages hold two photos, and are read until one is not full; queries have more
  parameters, in another order.
- A 5xx, a timeout and a broken connection are tried once more with the same question, whatever the question was.
- An import takes three images of a person. Each is fetched; one that can't be is an error of its own and not stored.
- Tables have more columns, required ones among them, other defaults and no foreign key. The address is kept inside of
  a JSON document.
- What is already there is found under a lock per person, not by an index. A second import of an episode that is being
  imported is refused (409, or exit status 75).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

TOKEN_VARIABLE, SYNC_TOKEN_VARIABLE = "CONSUMER_TRR_TOKEN", "CONSUMER_SYNC_TOKEN"
DATABASE_VARIABLE = "CONSUMER_DB_URL"
IMPORT_PATH = "/v2/face-bank/imports/"
STATES_PATH = "/provider-states"

ATTEMPTS = 2
SILENCE_S = 1.5
PAGE = 2
IMPORT_LIMIT = 3
THREADS = 8
TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h

TABLES = """
create type provenance as enum ('trr', 'manual');

create table person (
    person_key bigint generated always as identity primary key,
    person_id uuid not null unique,
    canonical_name text not null default '',
    display_name text,
    aliases text[] not null default '{}',
    provenance provenance not null default 'trr',
    updated_at timestamptz not null default clock_timestamp()
);

create table face_bank_images (
    image_id uuid not null default gen_random_uuid(),
    person_id uuid not null,
    media_asset_id uuid,
    s3_original_key text not null,
    origin jsonb not null,
    sha256 bytea not null check (length(sha256) = 32),
    embedding real[],
    quality numeric(4, 3) not null default 0,
    tags text[] not null default '{unreviewed}',
    is_seed boolean not null default true,
    approved boolean default false,
    approved_at timestamptz,
    approved_by text,
    created_at timestamptz not null default clock_timestamp(),
    primary key (person_id, image_id)
);

create table announced_cast (ep_id text not null, person_id uuid not null);
"""


@dataclass(frozen=True)
class Config:
    """What an import needs to know."""

    trr_api_url: str
    token: str
    database_url: str


class Failed(Exception):
    """A call that did not bring what it should."""


class Busy(Exception):
    """The episode is being imported."""


# --- Calls ------------------------------------------------------------------------------------------------------------


def get(url: str, token: str | None) -> bytes:
    """The whole body of a 200, tried again where another attempt may help; raises Failed."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            status, body = get_once(url, token)
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS:
                raise Failed(f"{type(error).__name__}: {error}") from error
            continue
        if status == 200:
            return body
        if status < 500 or attempt == ATTEMPTS:
            raise Failed(f"status {status}")
    raise AssertionError("unreachable")


def get_once(url: str, token: str | None) -> tuple[int, bytes]:
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.netloc, timeout=SILENCE_S)
    try:
        headers = {"Connection": "close", "User-Agent": "face-bank-worker/7"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def get_list(config: Config, path: str) -> list[Any]:
    """The JSON array at a path of the backend; raises Failed."""
    body = get(config.trr_api_url + path, config.token)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Failed("not JSON") from None
    if not isinstance(value, list):
        raise Failed("no array")
    return value


def get_photos(config: Config, person_id: UUID, seeds: bool) -> list[Any]:
    """As many rows as an import takes, or all where there are fewer."""
    rows: list[Any] = []
    while True:
        query = f"offset={len(rows)}&limit={PAGE}&client=face-bank-worker&seed_only={'true' if seeds else 'false'}"
        page = get_list(config, f"/api/v1/screenalytics/people/{str(person_id).upper()}/photos?{query}")
        rows += page
        if len(page) < PAGE or len(rows) >= IMPORT_LIMIT:
            return rows[:IMPORT_LIMIT]


# --- The import -------------------------------------------------------------------------------------------------------


def import_episode(config: Config, ep_id: str) -> dict[str, Any]:
    """Import everyone in the episode and return the counts; raises Busy."""
    with psycopg.connect(config.database_url, autocommit=True) as connection:
        held = connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 1))", (ep_id,)).fetchone()
        if held != (True,):
            raise Busy(ep_id)
        people = cast(config, connection, ep_id)
        for person_id, name in people.items():
            connection.execute(
                "insert into person (person_id, canonical_name) values (%s, %s) on conflict do nothing",
                (person_id, name),
            )
        with ThreadPoolExecutor(THREADS) as threads:
            results = list(threads.map(lambda person_id: import_person(config, person_id), people))
    return {
        "job": str(uuid4()),
        "import_errors": sum(errors for _, errors in results),
        "imported_facebank_people": sum(images > 0 for images, _ in results),
        "imported_facebank_images": sum(images for images, _ in results),
        "skipped": {"count": sum(images == 0 for images, _ in results)},
    }


def cast(config: Config, connection: psycopg.Connection[Any], ep_id: str) -> dict[UUID, str]:
    """Each person of the episode with a name: the backend's cast, or the one that was announced."""
    people: dict[UUID, str] = {}
    with contextlib.suppress(Failed, ValueError, KeyError, TypeError):
        for row in get_list(config, f"/api/v1/screenalytics/episodes/{ep_id}/cast"):
            people[UUID(row["person_id"])] = str(row.get("full_name", ""))
    if not people:
        announced = connection.execute("select person_id from announced_cast where ep_id = %s", (ep_id,))
        people = {person_id: "" for (person_id,) in announced}
    return people


def import_person(config: Config, person_id: UUID) -> tuple[int, int]:
    """How many images are new, and how many errors there were."""
    try:
        rows = get_photos(config, person_id, seeds=True)
        if rows == []:
            rows = get_photos(config, person_id, seeds=False)
    except Failed:
        return 0, 1
    images = errors = 0
    for row in rows:
        try:
            images += import_image(config, person_id, row)
        except (Failed, ValueError, psycopg.Error):
            errors += 1
    return images, errors


def import_image(config: Config, person_id: UUID, row: Any) -> bool:
    """Whether the image was new; raises Failed, ValueError or psycopg.Error where it can't be had."""
    address = row.get("served_url") if isinstance(row, dict) else None
    if not isinstance(address, str) or urlsplit(address).scheme not in ("http", "https"):
        raise Failed("no address")
    # The pictures are public: they are asked for without the credential.
    digest = hashlib.sha256(get(address, None)).digest()
    with psycopg.connect(config.database_url) as connection:
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%s::text, 2))", (person_id,))
        inserted = connection.execute(
            "insert into face_bank_images (person_id, s3_original_key, origin, sha256)"
            " select %(person)s, %(key)s, %(origin)s, %(digest)s where not exists ("
            "select from face_bank_images where person_id = %(person)s and origin ->> 'address' = %(address)s)",
            {
                "person": person_id,
                "key": f"face-bank/{person_id}/{hashlib.md5(address.encode()).hexdigest()}",
                "origin": Jsonb({"system": "trr", "address": address, "row": row}),
                "digest": digest,
                "address": address,
            },
        )
        return inserted.rowcount == 1


# --- Over HTTP --------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """The provider states, and the import where it has an address."""

    protocol_version = "HTTP/1.1"
    config: Config
    sync_token: str | None

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == STATES_PATH:
            self.answer(*change_state(self.config, json.loads(body)))
        else:
            self.answer(404, {"error": "not found"})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.sync_token is None or not self.path.startswith(IMPORT_PATH):
            self.answer(404, {"error": "not found"})
        elif not hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {self.sync_token}"):
            self.answer(401, {"error": "who are you?"})
        else:
            try:
                self.answer(200, import_episode(self.config, unquote(self.path.removeprefix(IMPORT_PATH))))
            except Busy:
                self.answer(409, {"error": "the episode is being imported"})

    def answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value, indent=2).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def change_state(config: Config, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Set up a provider state, or tear it down: the status and the values."""
    name, params = body["state"], body.get("params", {})
    setup = body.get("action", "setup") == "setup"
    with psycopg.connect(config.database_url) as connection:
        match name:
            case "episode with cast" if setup:
                ep_id = f"S01-E{uuid4().int % 10**12}"
                for person_id in params["person_ids"]:
                    connection.execute("insert into announced_cast values (%s, %s)", (ep_id, person_id))
                return 200, {"ep_id": ep_id, "title": "Reunion, Part 1"}
            case "episode with cast":
                connection.execute("delete from announced_cast where ep_id = %s", (params["ep_id"],))
                return 200, {}
            case "approved face bank image" if setup:
                row = connection.execute(
                    "update face_bank_images set approved = true, approved_at = now(), approved_by = 'somebody'"
                    " where image_id = (select max(image_id::text)::uuid from face_bank_images where person_id = %s)"
                    " returning image_id::text",
                    (params["person_id"],),
                ).fetchone()
                return (409, {"error": "no image"}) if row is None else (200, {"image_id": row[0].upper()})
            case "approved face bank image":
                return 200, {}
    return 404, {"error": f"unknown state: {name}"}


# --- The process ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def database(server: str) -> Iterator[str]:
    """A database with the tables on the server, dropped at the end."""
    name = f"consumer_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    try:
        url = make_conninfo(server, dbname=name)
        with psycopg.connect(url) as connection:
            connection.execute(TABLES)
        yield url
    finally:
        # Whoever gave us the server may have taken it away.
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def describe(origin: str, by: str, config: Config, sync_token: str, config_file: Path) -> dict[str, Any]:
    """The environment table and the variables that it names."""
    sync: dict[str, Any] = {"import_limit": IMPORT_LIMIT, "timeout_s": 30}
    if by == "http":
        sync |= {
            "method": "PUT",
            "path": IMPORT_PATH + "{ep_id}",
            "json": {"why": "conformance"},
            "token": {"env": SYNC_TOKEN_VARIABLE},
        }
    else:
        sync["command"] = [sys.executable, str(Path(__file__).resolve()), "--import", str(config_file), "{ep_id}"]
    table = {
        "production": False,
        "targets": ["screenalytics"],
        "screenalytics_url": origin,
        "screenalytics_states_url": origin + STATES_PATH,
        "screenalytics_database_url": {"env": DATABASE_VARIABLE},
        "stub_backend": {"bind": urlsplit(config.trr_api_url).netloc},
        "sync": sync,
        "credentials": {"screenalytics_token": {"env": TOKEN_VARIABLE}},
    }
    variables = {
        TOKEN_VARIABLE: config.token,
        SYNC_TOKEN_VARIABLE: sync_token,
        DATABASE_VARIABLE: config.database_url,
    }
    return {"environment": table, "variables": variables}


def serve(trr_api_url: str, server: str, by: str) -> None:
    """Serve until told to stop, or until the parent has ended."""
    parent = os.getppid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with database(server) as database_url, tempfile.TemporaryDirectory() as folder:
        Handler.config = config = Config(trr_api_url.rstrip("/"), secrets.token_urlsafe(33), database_url)
        sync_token = secrets.token_urlsafe(24)
        Handler.sync_token = sync_token if by == "http" else None
        config_file = Path(folder) / "consumer.json"
        config_file.write_text(json.dumps(asdict(config)))
        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
            threading.Thread(target=listener.serve_forever, daemon=True).start()
            origin = f"http://127.0.0.1:{listener.server_address[1]}"
            print(json.dumps(describe(origin, by, config, sync_token, config_file)), flush=True)
            while os.getppid() == parent:
                time.sleep(0.2)


def run_import(config_file: Path, ep_id: str) -> int:
    """The command: some words, and the counts on the last line."""
    print(f"importing {ep_id}")
    try:
        counts = import_episode(Config(**json.loads(config_file.read_text())), ep_id)
    except Busy:
        print("the episode is being imported", file=sys.stderr)
        return TRY_LATER
    print(json.dumps(counts))
    return 0


def main() -> int:
    """Serve, or import one episode."""
    parser = argparse.ArgumentParser(description="A conforming consumer built as differently as possible.")
    parser.add_argument("--trr-api-url", metavar="URL", help="the backend, without /api/v1")
    parser.add_argument("--database-url", metavar="URL", help="a server to make a database on")
    parser.add_argument("--by", choices=("http", "command"), default="http", help="how an import is started")
    parser.add_argument("--import", dest="job", nargs=2, metavar=("CONFIG", "EPISODE"), help="import an episode")
    options = parser.parse_args()
    if options.job:
        return run_import(Path(options.job[0]), options.job[1])
    if not options.trr_api_url or not options.database_url:
        parser.error("--trr-api-url and --database-url are needed")
    serve(options.trr_api_url, options.database_url, options.by)
    return 0


if __name__ == "__main__":
    sys.exit(main())
