"""A second conforming app that has nothing in common with the reference but the contract.

Standard library only: `socketserver` and HTTP/1.0 by hand, `http.client` towards the backend. The suite must find
no failed MUST here; where it does, it tests an implementation and not the contract.

`python tests/different/app.py --trr-api-url URL` prints one line of JSON, `{"environment": {...}, "variables":
{NAME: value}}`, whose `stub_backend` is bound where the URL points, and serves until SIGTERM, SIGINT or the end of
its parent.

The freedoms that it takes: it hangs under a path prefix. Sessions are random strings and travel as the `__session`
cookie, among others. Every answer ends with its connection, which alone delimits the body; errors are plain text or
a web page, 405 has no `Allow`, the status line no reason. The media proxies send strangers to a login page. Ids
that are no UUIDs lead nowhere (404), and what is a UUID is upper case from there on. A body that is no boolean is a
422, one with members that it does not know a 400 (S: PRX-05). Its own 200 has more members, the backend's statuses
come with its own words. A connection that breaks is tried once more; a backend that stays away is a 504 (S:
PRX-07). Header names go to the backend in lower case, the bearer scheme too.

An import's events are read line by line and written anew: in other bytes, with CRLF, ids, names of their own and
heartbeats, a few bytes at a time, after an event that says hello. The spelling of `exclude` is tidied, what is no
boolean refused. The backdrops are kept in memory, in one table for both of the deployed ones; its provider state
returns ids in upper case, and a bare id where a group has only one.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import socketserver
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

PREFIX = "/console"
UUID = r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
TOGGLE = re.compile(rf"{PREFIX}/api/admin/trr-api/people/{UUID}/gallery/{UUID}/facebank-seed")
ASSET = re.compile(rf"{PREFIX}/api/admin/trr-api/media-assets/{UUID}(/auto-count|/detect-text-overlay)?")
SCRAPE = re.compile(rf"{PREFIX}/api/admin/scrape/(preview|import/stream)")
BACKDROPS = re.compile(rf"{PREFIX}/api/admin/trr-api/seasons/{UUID}/unassigned-backdrops")
STATES = f"{PREFIX}/provider-states"

IDLE_TIMEOUT_S = 10.0
BACKEND_TIMEOUT_S = 2.0
ATTEMPTS = 2
MAX_LINES = 200
MAX_BODY_BYTES = 1024 * 1024
BYTES_AT_A_TIME = 7

LOGIN_PAGE = f"{PREFIX}/login"
WORDS: Mapping[int, str] = {
    400: "That is not how it is asked.",
    401: "Please sign in.",
    403: "This is not for you.",
    404: "There is nothing here.",
    405: "Not that way.",
    409: "This is somebody else's.",
    422: "That is neither yes nor no.",
    500: "This console is not set up.",
    502: "The backend failed.",
    504: "The backend is away.",
}


@dataclass(frozen=True)
class Request:
    """A request as it arrived; header names in lower case, of a repeated one the last value."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """A status, what is said at once or bit by bit, and where to go."""

    status: int
    body: bytes | Iterator[bytes] = b""
    media_type: str = "text/plain; charset=utf-8"
    location: str | None = None


class Refusal(Exception):
    """Ends a request with a status and our own words for it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.answer = in_own_words(status)


def refuse(status: int) -> NoReturn:
    raise Refusal(status)


def in_own_words(status: int) -> Answer:
    """Any failure, as a person reads it."""
    if status == 403:
        return Answer(403, f"<!doctype html><p>{WORDS[403]}</p>".encode(), "text/html")
    return Answer(status, WORDS.get(status, "It did not work.").encode())


@dataclass(frozen=True)
class Settings:
    """The app's secrets, new for each process, and where its backend is."""

    api_url: str
    service_token: str = field(default_factory=lambda: f"svc~{secrets.token_urlsafe(24)}")
    secret: str = field(default_factory=lambda: f"{secrets.token_hex(12)}/+=")
    admin: str = field(default_factory=lambda: secrets.token_urlsafe(20))
    user: str = field(default_factory=lambda: secrets.token_urlsafe(20))


@dataclass
class Picture:
    """An image, where it comes from, and who has it as what: (show or season, kind)."""

    source: str
    used: set[tuple[str, str]] = field(default_factory=set)


class Pictures:
    """All shows, seasons and images; ids in upper case."""

    def __init__(self) -> None:
        self.show_of: dict[str, str] = {}
        self.pictures: dict[str, Picture] = {}

    def offered(self, season_id: str) -> list[str] | None:
        """The TMDb backdrops of the season's show that none of its seasons has; None for an unknown season."""
        show_id = self.show_of.get(season_id)
        if show_id is None:
            return None
        taken = {(season, "backdrop") for season, show in list(self.show_of.items()) if show == show_id}
        return [
            asset_id
            for asset_id, picture in list(self.pictures.items())
            if picture.source == "tmdb" and (show_id, "backdrop") in picture.used and not taken & picture.used
        ]

    def season_backdrops(self) -> dict[str, Any]:
        """The provider state of that name."""
        show, season, other = (str(uuid.uuid4()).upper() for _ in range(3))
        self.show_of |= {season: show, other: show}

        def picture(source: str = "tmdb", **used: str) -> str:
            asset_id = str(uuid.uuid4()).upper()
            owners = {"here": season, "there": other}
            self.pictures[asset_id] = Picture(source, {(show, "backdrop"), *((owners[k], v) for k, v in used.items())})
            return asset_id

        return {
            "season_id": season,
            "unassigned": [picture(), picture(here="poster")],
            "assigned_by_link": picture(here="backdrop"),
            "assigned_by_legacy": [picture(there="backdrop")],
            "other_source": picture("fanart"),
        }

    def forget(self, values: Mapping[str, Any]) -> None:
        """Undo the state that returned these values."""
        self.show_of.pop(str(values.get("season_id")), None)
        for ids in values.values():
            for asset_id in ids if isinstance(ids, list) else [ids]:
                self.pictures.pop(str(asset_id), None)


class App:
    """What is answered to a request."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pictures = Pictures()

    def answer(self, request: Request) -> Answer:
        """The answer; raises Refusal."""
        if found := TOGGLE.fullmatch(request.path):
            self.only(request, "PATCH")
            return self.toggle(request, found[1].upper(), found[2].upper())
        if found := ASSET.fullmatch(request.path):
            self.only(request, "POST" if found[2] else "DELETE")
            return self.asset(request, found[1].upper(), found[2] or "")
        if found := SCRAPE.fullmatch(request.path):
            self.only(request, "POST")
            if stranger := self.sent_to_login(request):
                return stranger
            if found[1] == "import/stream":
                return self.streamed(request.body)
            return self.passed_on("POST", f"/admin/scrape/{found[1]}", request.body)
        if found := BACKDROPS.fullmatch(request.path):
            self.only(request, "GET")
            return self.sent_to_login(request) or self.backdrops(found[1].upper())
        if request.path == STATES:
            self.only(request, "POST")
            return self.state(json.loads(request.body))
        return refuse(404)

    def backdrops(self, season_id: str) -> Answer:
        """What can be added to a season."""
        offered = self.pictures.offered(season_id)
        if offered is None:
            return refuse(404)
        rows = [{"kind": "backdrop", "media_asset_id": asset_id} for asset_id in reversed(offered)]
        content = {"count": len(rows), "backdrops": rows, "season": {"id": season_id, "label": "A season"}}
        return Answer(200, json.dumps(content).encode(), "text/json")

    def state(self, change: Mapping[str, Any]) -> Answer:
        """Sets up or tears down the one provider state."""
        if change["state"] != "season backdrops":
            refuse(404)
        if change["action"] == "setup":
            return Answer(200, json.dumps(self.pictures.season_backdrops()).encode(), "application/json")
        self.pictures.forget(change["params"])
        return Answer(200, b"{}", "application/json")

    def only(self, request: Request, method: str) -> None:
        if request.method != method:
            refuse(405)

    def stranger(self, request: Request) -> int | None:
        """The refusal of whoever is no admin."""
        try:
            cookies = SimpleCookie(request.headers.get("cookie", ""))
        except CookieError:
            return 401
        token = cookies["__session"].value if "__session" in cookies else ""
        people = {self.settings.admin: None, self.settings.user: 403}
        return people.get(token, 401)

    def sent_to_login(self, request: Request) -> Answer | None:
        return Answer(302, location=LOGIN_PAGE) if self.stranger(request) else None

    def toggle(self, request: Request, person_id: str, link_id: str) -> Answer:
        """The signed toggle. A stranger hears so before anything is read."""
        if status := self.stranger(request):
            refuse(status)
        flag = self.flag(request.body)
        path = f"/admin/person/{person_id}/gallery/{link_id}/facebank-seed"
        body = json.dumps({"facebank_seed": flag}).encode()
        status, content = self.call("PATCH", path, body, {"x-trr-internal-admin-secret": self.settings.secret})
        if status != 200:
            return in_own_words(status if status >= 400 else 502)
        try:
            stored = json.loads(content)
        except ValueError:
            return refuse(502)
        more = {**stored, "ok": True, "by": "console"} if isinstance(stored, dict) else stored
        return Answer(200, json.dumps(more, indent=2).encode(), "text/json")

    def flag(self, body: bytes) -> bool:
        """The value asked for, of a body that holds nothing else."""
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return refuse(400)
        flag = asked.get("facebank_seed") if isinstance(asked, dict) else None
        if not isinstance(flag, bool):
            return refuse(422)
        return flag if len(asked) == 1 else refuse(400)

    def asset(self, request: Request, asset_id: str, action: str) -> Answer:
        """Delete, count and detect."""
        if stranger := self.sent_to_login(request):
            return stranger
        name = "force" if action else "exclude"
        value = request.query.get(name, ["false" if action else "true"])[-1].lower()
        if value not in ("true", "false"):
            refuse(400)
        path = f"/admin/media-assets/{asset_id}{action}?{name}={value}"
        return self.passed_on("POST" if action else "DELETE", path, None)

    def passed_on(self, method: str, path: str, body: bytes | None) -> Answer:
        """A media call, by service role."""
        status, content = self.call(method, path, body, {})
        return Answer(200, content, "application/json") if status == 200 else in_own_words(max(status, 400))

    def streamed(self, body: bytes) -> Answer:
        """An import, whose events are told in our own way."""
        connection, response = self.ask("POST", "/admin/scrape/import/stream", body, {})
        if response.status != 200:
            with contextlib.closing(connection):
                return in_own_words(max(response.status, 400))
        return Answer(200, self.events(connection, response), "Text/Event-Stream; charset=UTF-8")

    def events(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """The backend's events in other bytes, each as soon as its line of data is there."""
        with contextlib.closing(connection), response:
            yield b'retry: 1000\r\n\r\n:\r\n\r\ndata: {"status": "connected", "by": "console"}\r\n\r\n'
            for number in range(sys.maxsize):
                line = response.readline()
                if not line:
                    return
                if line.startswith(b"data:"):
                    text = json.dumps(json.loads(line[5:]), sort_keys=True, separators=(" ,", " : "))
                    event = f": number {number}\r\ndata: {text}\r\nid: {number}\r\nevent: note\r\n\r\n".encode()
                    yield from (event[at : at + BYTES_AT_A_TIME] for at in range(0, len(event), BYTES_AT_A_TIME))

    def call(self, method: str, path: str, body: bytes | None, more: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of the backend's answer; refuses with 504 where there is none."""
        for _ in range(ATTEMPTS):
            connection, response = self.ask(method, path, body, more)
            try:
                return response.status, response.read()
            except TimeoutError:
                break
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()
        return refuse(504)

    def ask(
        self, method: str, path: str, body: bytes | None, more: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The backend's answer as far as its head; refuses with 504 where there is none."""
        parts = urlsplit(self.settings.api_url)
        headers = {"authorization": f"bearer {self.settings.service_token}", "connection": "close", **more}
        if body is not None:
            headers["content-type"] = "application/json"
        base = parts.path.rstrip("/").removesuffix("/api/v1")
        for _ in range(ATTEMPTS):
            connection = http.client.HTTPConnection(parts.netloc, timeout=BACKEND_TIMEOUT_S)
            try:
                connection.request(method, f"{base}/api/v1{path}", body, headers)
                return connection, connection.getresponse()
            except TimeoutError:
                connection.close()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
        return refuse(504)


class Connection(socketserver.StreamRequestHandler):
    """One request and its answer; the end of the connection is the end of the body."""

    server: Server
    timeout = IDLE_TIMEOUT_S

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            try:
                answer = self.server.app.answer(self.receive())
            except Refusal as refusal:
                answer = refusal.answer
            head = [f"HTTP/1.0 {answer.status} "]
            if answer.body:
                head.append(f"content-type: {answer.media_type}")
            if answer.location:
                head.append(f"location: {answer.location}")
            start = "\r\n".join([*head, "", ""]).encode()
            if isinstance(answer.body, bytes):
                self.wfile.write(start + answer.body)
                return
            self.wfile.write(start)
            for piece in answer.body:
                self.wfile.write(piece)

    def receive(self) -> Request:
        """The request; refuses what is none with 400."""
        words = self.line().split(" ")
        headers: dict[str, str] = {}
        for _ in range(MAX_LINES):
            name, colon, value = self.line().partition(":")
            if not colon:
                break
            headers[name.lower()] = value.strip()
        length = headers.get("content-length", "0")
        if len(words) != 3 or not re.fullmatch("[0-9]{1,9}", length) or int(length) > MAX_BODY_BYTES:
            refuse(400)
        path, _, query = words[1].partition("?")
        return Request(words[0], path, parse_qs(query), headers, self.rfile.read(int(length)))

    def line(self) -> str:
        return self.rfile.readline(65_536).decode("latin-1").rstrip("\r\n")


class Server(socketserver.ThreadingTCPServer):
    """A thread per connection on a free port of the loopback interface."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, app: App) -> None:
        self.app = app
        super().__init__(("127.0.0.1", 0), Connection)

    def description(self) -> dict[str, object]:
        """The environment table and the variables that it names."""
        settings = self.app.settings
        credentials = {
            "service_role_token": ("DIFFERENT_SERVICE_ROLE_TOKEN", settings.service_token),
            "internal_admin_secret": ("DIFFERENT_INTERNAL_ADMIN_SECRET", settings.secret),
            "app_admin_token": ("DIFFERENT_APP_ADMIN_TOKEN", settings.admin),
            "app_user_token": ("DIFFERENT_APP_USER_TOKEN", settings.user),
        }
        return {
            "environment": {
                "production": False,
                "targets": ["app"],
                "app_url": f"http://127.0.0.1:{self.server_address[1]}{PREFIX}",
                "app_states_url": f"http://127.0.0.1:{self.server_address[1]}{STATES}",
                "app_timeout_s": 2 * BACKEND_TIMEOUT_S,
                "app_session_cookie": True,
                "stub_backend": {"bind": urlsplit(settings.api_url).netloc},
                "credentials": {key: {"env": name} for key, (name, _) in credentials.items()},
            },
            "variables": dict(credentials.values()),
        }


def main() -> None:
    """Serves in front of the backend that is named on the command line."""
    parent = os.getppid()  # before the line that lets the parent go on, and perhaps die
    parser = argparse.ArgumentParser(description="A conforming app built as differently as possible.")
    parser.add_argument("--trr-api-url", metavar="URL", required=True, help="the backend's address, with its port")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with Server(App(Settings(options.trr_api_url))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps(server.description()), flush=True)
        while os.getppid() == parent:
            time.sleep(0.2)


if __name__ == "__main__":
    main()
