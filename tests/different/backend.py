"""A second conforming backend that has nothing in common with the reference but the contract.

Standard library only: sockets and HTTP/1.1 by hand, JWTs by ``hmac``, galleries in memory. The suite must find no
failed MUST here in any personality; where it does, it tests an implementation and not the contract.

``python tests/different/backend.py --personality NAME`` prints one line of JSON, ``{"environment": {...}, "variables":
{NAME: value}}`` (an environment table and the values of the variables that its credentials name), and serves until
SIGTERM, SIGINT, or the end of its parent or of the pipe on its standard input.

One server, and a table of freedoms (``PERSONALITIES``):

``verbose``
    Breaks no SHOULD. The API hangs under a path prefix. UUIDs in upper case, many more members and headers, members in
    alphabetical order, pretty-printed JSON with CRLF and a charset, bodies in chunks that start with single bytes,
    header names in odd case, cookies. Errors are HTML (401), XML (403) or problem+json. Photos behind the primary come
    in falling position; of a repeated query parameter the last counts.
``terse``
    Breaks three SHOULDs (AUTH-01, TOG-07, PHO-11): statuses are the bluntest permitted, 403 for 401, 404 for every
    link that can't be toggled and every malformed id, 400 for 422. Errors have no body and no media type, 405 has no
    Allow, the status line no reason. Every response ends with its connection, which alone delimits the body. JSON is
    ASCII with escaped slashes. Photo fields are null or missing, nothing is primary, seeds come first, addresses have
    non-ASCII characters, queries and escapes. Pages hold at most 50 rows, unknown and repeated query parameters are
    refused, JSON must be declared. A secret that is not ASCII or is thousands of characters long closes the connection
    without an answer (AUTH-03). No storage-failure state (TOG-10).
``lenient``
    Breaks every SHOULD. 403 without a token (AUTH-01), the allowlisted person needs the secret too (AUTH-08), a missing
    and a wrong secret are told apart (AUTH-09), links are looked up before the secret (AUTH-10), other methods are a
    404 (TOG-01), refused links get 410 and 400 (TOG-07), storage failure is a 503 (TOG-10), ``"yes"`` and 1 are
    booleans (TOG-12), seeds come in reverse order (PHO-05), an absent ``seed_only`` means true (PHO-06), an unknown
    person is a 404 and a malformed id a 400 (PHO-11). Also: any content type, any spelling of a boolean query, the
    first of repeats.
``slow-writer``
    Breaks no SHOULD. Random delays of milliseconds around each read and write and a lock per link, so that answers on
    different connections overtake each other; photos behind the primary come in the order of their random ids.
``opaque``
    Breaks no SHOULD. Tokens are random strings and not JWTs, so there is no ``jwt_secret`` and nothing to forge
    or expire (AUTH-07). No storage-failure state (TOG-10).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import functools
import hashlib
import hmac
import itertools
import json
import os
import random
import re
import secrets
import select
import signal
import socket
import socketserver
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from http import HTTPStatus
from typing import NoReturn
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

JsonObject = dict[str, object]
ErrorBody = tuple[str | None, bytes]  # media type and body

IDLE_TIMEOUT_S = 75.0
REQUEST_TIMEOUT_S = 3.0
LINGER_TIMEOUT_S = 1.0
MAX_LINE_BYTES = 64 * 1024
MAX_HEAD_BYTES = 256 * 1024
MAX_BODY_BYTES = 1024 * 1024
MAX_SECRET_CHARS = 1000
MAX_PAGE_ROWS = 500
DEFAULT_PAGE_ROWS = 200


# --- Refusals ---------------------------------------------------------------------------------------------------------


class Fault(Enum):
    """Every reason to refuse, with the status of a personality that does not choose another."""

    MALFORMED_HTTP = 400, "The request is not well-formed HTTP."
    REQUEST_TIMEOUT = 408, "The request did not arrive in time."
    BODY_TOO_LARGE = 413, "The body is too large."
    HEAD_TOO_LARGE = 431, "The request line or a header is too large."
    NO_ROUTE = 404, "There is nothing at this path."
    METHOD_NOT_ALLOWED = 405, "The resource does not take this method."
    NO_TOKEN = 401, "The request carries no token."
    BAD_TOKEN = 401, "The token is not valid."
    NOT_ADMIN = 403, "The token's owner is no admin."
    SECRET_MISSING = 403, "The internal secret is missing."
    SECRET_WRONG = 403, "The internal secret is wrong."
    SECRET_UNREADABLE = 403, "The internal secret is no short ASCII text."
    BAD_ID = 422, "An id is no UUID."
    BAD_MEDIA_TYPE = 415, "The body is not declared as JSON."
    BAD_BODY = 422, "The body is no JSON object with a boolean facebank_seed."
    BAD_QUERY = 422, "A query parameter is malformed."
    UNKNOWN_LINK = 404, "The link does not exist."
    OTHER_PERSONS_LINK = 409, "The link belongs to another person."
    NOT_A_GALLERY_LINK = 409, "The link is no person gallery image."
    UNKNOWN_PERSON = 404, "The person does not exist."
    STORAGE_FAILED = 502, "The flag could not be stored."
    UNKNOWN_STATE = 404, "There is no such provider state."
    BAD_STATE = 400, "The provider state's action or params are malformed."


class Refusal(Exception):
    """Ends the handling of a request with a fault's answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.name)
        self.fault = fault


class HangUp(Exception):
    """Ends the handling of a request by closing the connection without an answer."""


def refuse(fault: Fault) -> NoReturn:
    raise Refusal(fault)


# --- Galleries in memory ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asset:
    """A photo; ``hosted_url`` is None where there is no hosted copy."""

    source_url: str
    hosted_url: str | None
    id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def served_url(self) -> str:
        return self.source_url if self.hosted_url is None else self.hosted_url


@dataclass(slots=True, eq=False)
class Link:
    """An asset's place with a person; ``facebank_seed`` is written under ``lock`` only."""

    person_id: str
    asset: Asset
    position: int = 0
    is_primary: bool = False
    facebank_seed: bool = False
    kind: str = "gallery"
    id: str = field(default_factory=lambda: str(uuid4()))
    lock: threading.Lock = field(default_factory=threading.Lock)


class Store:
    """People, their links, and whose toggles cannot be stored; ids are lower-case UUIDs.

    Each method is one step for other threads: people come and go whole, and a flag is a single word.
    """

    def __init__(self) -> None:
        self.people: dict[str, tuple[Link, ...]] = {}
        self.links: dict[str, Link] = {}
        self.failing: set[str] = set()

    def add_person(self, person_id: str, links: tuple[Link, ...] = ()) -> None:
        self.links.update((link.id, link) for link in links)
        self.people[person_id] = links

    def remove_person(self, person_id: str) -> None:
        for link in self.people.pop(person_id, ()):
            self.links.pop(link.id, None)

    def gallery(self, person_id: str) -> list[Link]:
        return [link for link in self.people.get(person_id, ()) if link.kind == "gallery"]


# --- Personalities ----------------------------------------------------------------------------------------------------

BOOLEANS: Mapping[str, bool] = {"true": True, "false": False}
MANY_BOOLEANS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}


def plain_url(asset_id: str, *, hosted: bool) -> str:
    return f"https://media.example.test/{'hosted' if hosted else 'source'}/{asset_id}.jpg"


def intricate_url(asset_id: str, *, hosted: bool) -> str:
    copy = "h%2Fosted" if hosted else "quelle%20ü"
    return f"https://médias.example.test/{copy}/{asset_id}/写真.JPG?w=1200&sig=a+b%2B%3D&next=https://x.example.test/?a=1#top"


def plain_photo(link: Link) -> JsonObject:
    return {
        "served_url": link.asset.served_url,
        "hosted_key": None if link.asset.hosted_url is None else f"people/{link.asset.id}.jpg",
        "is_primary": link.is_primary,
        "width": 1200,
        "height": 800,
        "kind": link.kind,
    }


def rich_photo(link: Link) -> JsonObject:
    return plain_photo(link) | {
        "media_asset_id": link.asset.id.upper(),
        "link_id": link.id.upper(),
        "source_url": link.asset.source_url,
        "hosted_url": link.asset.hosted_url,
        "thumbnail": {"url": link.asset.served_url + "?w=64", "width": 64, "height": None},
        "selection_reasons": ["gallery", "Größe", "\u2028\U0001f4f7"],
        "sharpness": 0.75,
        "position": link.position,
    }


def sparse_photo(link: Link) -> JsonObject:
    row = plain_photo(link)
    del row["is_primary"]
    for number, name in enumerate(("hosted_key", "width", "height", "kind")):
        match (link.position + number) % 3:
            case 0:
                row[name] = None
            case 1:
                del row[name]
    return row


def pretty_json(value: object) -> bytes:
    return (json.dumps(value, indent=3, sort_keys=True, ensure_ascii=False) + "\n").replace("\n", "\r\n").encode()


def compact_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def escaped_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).replace("/", "\\u002f").encode()


def detail_error(fault: Fault, status: int) -> ErrorBody:
    return "application/json", compact_json({"detail": HTTPStatus(status).phrase})


def explaining_error(fault: Fault, status: int) -> ErrorBody:
    return "text/plain; charset=utf-8", fault.value[1].encode()


def empty_error(fault: Fault, status: int) -> ErrorBody:
    return None, b""


def documented_error(fault: Fault, status: int) -> ErrorBody:
    title = HTTPStatus(status).phrase
    match status:
        case 401:
            return "text/html; charset=utf-8", f"<!doctype html><title>{escape(title)}</title><h1>Sorry</h1>".encode()
        case 403:
            return "application/xml", f'<?xml version="1.0"?><error><title>{escape(title)}</title></error>'.encode()
        case _:
            return "application/problem+json", pretty_json({"type": "about:blank", "title": title, "status": status})


@dataclass(frozen=True, slots=True, kw_only=True)
class Personality:
    """One choice among the freedoms that the clauses leave.

    ``order`` sorts a gallery, ``statuses`` replaces those of ``Fault``, ``max_delay_s`` bounds each pause around a read
    or write. Every other member says one freedom by its name.
    """

    # HTTP
    base_path: str = ""
    closes_connections: bool = False
    sends_small_chunks: bool = False
    odd_header_case: bool = False
    extra_headers: tuple[tuple[str, str], ...] = ()
    json_type: str = "application/json"
    encode: Callable[[object], bytes] = compact_json
    error_body: Callable[[Fault, int], ErrorBody] = detail_error
    statuses: Mapping[Fault, int] = field(default_factory=dict)
    sends_allow: bool = True
    max_delay_s: float = 0.0
    # Auth
    opaque_tokens: bool = False
    hangs_up_on_unreadable_secret: bool = False
    looks_up_links_before_secret: bool = False
    wants_secret_of_people: bool = False
    # Toggle
    reads_any_media_type: bool = False
    coerces_body_booleans: bool = False
    upper_case_ids: bool = False
    more_toggle_members: bool = False
    fails_storage_on_demand: bool = True
    # Photos
    query_booleans: Mapping[str, bool] = field(default_factory=lambda: BOOLEANS)
    refuses_odd_queries: bool = False
    first_of_repeats: bool = False
    default_seed_only: bool = False
    max_rows: int = MAX_PAGE_ROWS
    knows_who_exists: bool = False
    has_primaries: bool = True
    order: Callable[[Link], tuple[object, ...]] = lambda link: (not link.is_primary, link.position)
    reverses_seeds: bool = False
    photo: Callable[[Link], JsonObject] = plain_photo
    url: Callable[..., str] = plain_url

    def status(self, fault: Fault) -> int:
        return self.statuses.get(fault, fault.value[0])


PERSONALITIES: Mapping[str, Personality] = {
    "verbose": Personality(
        base_path="/gateway/trr",
        sends_small_chunks=True,
        odd_header_case=True,
        extra_headers=(
            ("Server", "different/1.0 (verbose)"),
            ("Cache-Control", "no-store, max-age=0"),
            ("Vary", "Accept, Authorization"),
            ("Set-Cookie", "visit=1; Path=/; HttpOnly"),
            ("Set-Cookie", "theme=dark; Path=/"),
            ("X-Request-Cost", "0"),
            ("X-Empty", ""),
        ),
        json_type="application/json; charset=utf-8",
        encode=pretty_json,
        error_body=documented_error,
        upper_case_ids=True,
        more_toggle_members=True,
        order=lambda link: (not link.is_primary, -link.position),
        photo=rich_photo,
    ),
    "terse": Personality(
        closes_connections=True,
        encode=escaped_json,
        error_body=empty_error,
        statuses={
            Fault.NO_TOKEN: 403,
            Fault.BAD_TOKEN: 403,
            Fault.BAD_ID: 404,
            Fault.BAD_MEDIA_TYPE: 400,
            Fault.BAD_BODY: 400,
            Fault.BAD_QUERY: 400,
            Fault.OTHER_PERSONS_LINK: 404,
            Fault.NOT_A_GALLERY_LINK: 404,
        },
        sends_allow=False,
        hangs_up_on_unreadable_secret=True,
        fails_storage_on_demand=False,
        refuses_odd_queries=True,
        max_rows=50,
        has_primaries=False,
        order=lambda link: (link.position,),
        photo=sparse_photo,
        url=intricate_url,
    ),
    "lenient": Personality(
        error_body=explaining_error,
        statuses={
            Fault.NO_TOKEN: 403,
            Fault.SECRET_UNREADABLE: 400,
            Fault.METHOD_NOT_ALLOWED: 404,
            Fault.BAD_ID: 400,
            Fault.UNKNOWN_LINK: 410,
            Fault.OTHER_PERSONS_LINK: 400,
            Fault.NOT_A_GALLERY_LINK: 400,
            Fault.STORAGE_FAILED: 503,
        },
        looks_up_links_before_secret=True,
        wants_secret_of_people=True,
        reads_any_media_type=True,
        coerces_body_booleans=True,
        query_booleans=MANY_BOOLEANS,
        first_of_repeats=True,
        default_seed_only=True,
        knows_who_exists=True,
        reverses_seeds=True,
    ),
    "slow-writer": Personality(
        max_delay_s=0.004,
        order=lambda link: (not link.is_primary, link.id),
    ),
    "opaque": Personality(opaque_tokens=True, fails_storage_on_demand=False),
}


# --- Tokens -----------------------------------------------------------------------------------------------------------


class Caller(Enum):
    SERVICE = "service role"
    ADMIN = "allowlisted person"
    USER = "any other person"


ADMIN_EMAIL = "Admin@Example.Test"
ALLOWLIST = frozenset({"admin@example.test"})
TOKEN_LIFE_S = 24 * 3600


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signature(signed: str, key: str) -> str:
    return base64url(hmac.digest(key.encode(), signed.encode("latin-1"), hashlib.sha256))


def make_jwt(claims: JsonObject, key: str) -> str:
    signed = ".".join(base64url(compact_json(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{signature(signed, key)}"


def read_jwt(token: str, key: str) -> JsonObject | None:
    """The claims of an HS256 token signed with ``key`` and valid now, else None."""
    signed, _, claimed = token.rpartition(".")
    # The text of the signature is compared, so that no second spelling of the same bytes passes.
    if not hmac.compare_digest(signature(signed, key).encode(), claimed.encode("latin-1")):
        return None
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in signed.split("."))
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or header.get("alg") != "HS256" or "crit" in header or not isinstance(claims, dict):
        return None
    now = time.time()
    expires, not_before = claims.get("exp", now + 1), claims.get("nbf", now)
    if not isinstance(expires, int | float) or not isinstance(not_before, int | float):
        return None
    return claims if not_before <= now < expires else None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Fresh secrets of one run; ``jwt_secret`` is None where tokens are opaque."""

    service_role: str
    internal_secret: str
    screenalytics: str
    admin: str
    user: str
    jwt_secret: str | None

    @classmethod
    def fresh(cls, *, opaque: bool) -> Credentials:
        draw = secrets.token_urlsafe
        if opaque:
            return cls(draw(32), draw(24), draw(32), draw(32), draw(32), None)
        key = draw(48)
        life: JsonObject = {"iat": int(time.time()), "exp": int(time.time()) + TOKEN_LIFE_S}

        def person(email: str) -> str:
            return make_jwt({"role": "authenticated", "sub": str(uuid4()), "email": email, **life}, key)

        service_role = make_jwt({"role": "service_role", **life}, key)
        return cls(service_role, draw(24), draw(32), person(ADMIN_EMAIL), person("user@example.test"), key)

    def variables(self) -> dict[str, tuple[str, str]]:
        """Environment variable and value of each credential, by the environment file's key."""
        named = {
            "service_role_token": ("TRR_CORE_SUPABASE_SERVICE_ROLE_KEY", self.service_role),
            "internal_admin_secret": ("TRR_INTERNAL_ADMIN_SHARED_SECRET", self.internal_secret),
            "screenalytics_token": ("SCREENALYTICS_SERVICE_TOKEN", self.screenalytics),
            "backend_admin_token": ("TRR_ADMIN_JWT", self.admin),
            "backend_user_token": ("TRR_USER_JWT", self.user),
        }
        if self.jwt_secret is not None:
            named["jwt_secret"] = ("SUPABASE_JWT_SECRET", self.jwt_secret)
        return named

    def caller(self, token: str) -> Caller | None:
        """Whose token this is, or None for an invalid one."""
        if self.jwt_secret is None:
            known = {self.service_role: Caller.SERVICE, self.admin: Caller.ADMIN, self.user: Caller.USER}
            return next((caller for text, caller in known.items() if same_text(text, token)), None)
        claims = read_jwt(token, self.jwt_secret)
        if claims is None:
            return None
        match claims.get("role"), claims.get("email"):
            case "service_role", _:
                return Caller.SERVICE
            case "authenticated", str(email) if email.lower() in ALLOWLIST:
                return Caller.ADMIN
            case _:
                return Caller.USER


def same_text(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode("latin-1"))


# --- The application --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request; header names in lower case, repeated headers joined by commas, text as Latin-1."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool
    takes_chunks: bool


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    content_type: str | None
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
BEARER = re.compile(r"Bearer +(\S+)", re.IGNORECASE)
JSON_TYPE = re.compile(r"application/json[ \t]*(?:;.*)?", re.IGNORECASE)
WHOLE_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
TOGGLE_PATH = re.compile(r"/api/v1/admin/person/([^/]+)/gallery/([^/]+)/facebank-seed")
PHOTOS_PATH = re.compile(r"/api/v1/screenalytics/people/([^/]+)/photos")
STATES_PATH = "/_states"


def parse_json(body: bytes, otherwise: Fault) -> object:
    """The value of a UTF-8 JSON text; anything else, also what is nested too deeply, is refused as ``otherwise``."""
    try:
        return json.loads(body.decode(), parse_constant=lambda name: refuse(otherwise))
    except (ValueError, RecursionError):
        refuse(otherwise)


def parse_id(segment: str) -> str:
    text = unquote(segment)
    return text.lower() if UUID.fullmatch(text) else refuse(Fault.BAD_ID)


class Backend:
    """The toggle, the photos and the provider states for one personality."""

    def __init__(self, personality: Personality) -> None:
        self.personality = personality
        self.credentials = Credentials.fresh(opaque=personality.opaque_tokens)
        self.store = Store()
        self._states: Mapping[str, Callable[[JsonObject], JsonObject]] = {
            "person": self._set_up_person,
            "person with gallery": self._set_up_gallery,
            "media link outside a person gallery": self._set_up_other_link,
            "shared photo": self._set_up_shared_photo,
            "media asset": self._set_up_asset,
        }
        if personality.fails_storage_on_demand:
            self._states = {**self._states, "storage failure": self._set_up_storage_failure}

    # Answers

    def answer(self, request: Request) -> Response:
        """The response to a request; HangUp where the personality answers by closing the connection."""
        try:
            return self._route(request)
        except Refusal as refusal:
            return self.refusal(refusal.fault)

    def refusal(self, fault: Fault, allow: str | None = None) -> Response:
        status = self.personality.status(fault)
        content_type, body = self.personality.error_body(fault, status)
        headers: list[tuple[str, str]] = []
        if status == 401:
            headers.append(("WWW-Authenticate", "Bearer"))
        if status == 405 and allow is not None and self.personality.sends_allow:
            headers.append(("Allow", allow))
        return Response(status, content_type, body, tuple(headers))

    def _ok(self, value: object) -> Response:
        return Response(200, self.personality.json_type, self.personality.encode(value))

    def _route(self, request: Request) -> Response:
        if request.path == STATES_PATH:
            return self._change_state(request) if request.method == "POST" else self._method_not_allowed("POST")
        if not request.path.startswith(self.personality.base_path):
            refuse(Fault.NO_ROUTE)
        path = request.path.removeprefix(self.personality.base_path)
        if found := TOGGLE_PATH.fullmatch(path):
            return (
                self._toggle(request, *found.groups())
                if request.method == "PATCH"
                else self._method_not_allowed("PATCH")
            )
        if found := PHOTOS_PATH.fullmatch(path):
            return (
                self._photos(request, *found.groups()) if request.method == "GET" else self._method_not_allowed("GET")
            )
        refuse(Fault.NO_ROUTE)

    def _method_not_allowed(self, allow: str) -> Response:
        return self.refusal(Fault.METHOD_NOT_ALLOWED, allow)

    def _id(self, text: str) -> str:
        return text.upper() if self.personality.upper_case_ids else text

    def _pause(self) -> None:
        if self.personality.max_delay_s:
            time.sleep(random.uniform(0, self.personality.max_delay_s))

    # Toggle

    def _toggle(self, request: Request, person: str, link: str) -> Response:
        caller = self.credentials.caller(bearer_token(request))
        if caller is None:
            refuse(Fault.BAD_TOKEN)
        if caller is Caller.USER:
            refuse(Fault.NOT_ADMIN)
        if self.personality.looks_up_links_before_secret:
            self._find_link(parse_id(person), parse_id(link))
        if caller is Caller.SERVICE or self.personality.wants_secret_of_people:
            self._check_secret(request)
        found = self._find_link(parse_id(person), parse_id(link))
        value = self._read_flag(request)
        self._store_flag(found, value)
        answer: JsonObject = {
            "link_id": self._id(found.id),
            "person_id": self._id(found.person_id),
            "facebank_seed": value,
        }
        if self.personality.more_toggle_members:
            answer |= {
                "media_asset_id": self._id(found.asset.id),
                "kind": found.kind,
                "warnings": [],
                "person": {"person_id": self._id(found.person_id), "full_name": None},
                "message": "Gespeichert – \U0001f4be",
            }
        return self._ok(answer)

    def _check_secret(self, request: Request) -> None:
        secret = request.headers.get("x-trr-internal-admin-secret")
        if secret is None:
            refuse(Fault.SECRET_MISSING)
        if not secret.isascii() or len(secret) > MAX_SECRET_CHARS:
            if self.personality.hangs_up_on_unreadable_secret:
                raise HangUp
            refuse(Fault.SECRET_UNREADABLE)
        if not same_text(self.credentials.internal_secret, secret):
            refuse(Fault.SECRET_WRONG)

    def _find_link(self, person_id: str, link_id: str) -> Link:
        link = self.store.links.get(link_id)
        if link is None:
            refuse(Fault.UNKNOWN_LINK)
        if link.person_id != person_id:
            refuse(Fault.OTHER_PERSONS_LINK)
        if link.kind != "gallery":
            refuse(Fault.NOT_A_GALLERY_LINK)
        return link

    def _read_flag(self, request: Request) -> bool:
        if not self.personality.reads_any_media_type and not JSON_TYPE.fullmatch(
            request.headers.get("content-type", "")
        ):
            refuse(Fault.BAD_MEDIA_TYPE)
        body = parse_json(request.body, Fault.BAD_BODY)
        value = body.get("facebank_seed") if isinstance(body, dict) else None
        if self.personality.coerces_body_booleans and isinstance(value, str | int | float):
            value = MANY_BOOLEANS.get(str(value).lower())
        return value if isinstance(value, bool) else refuse(Fault.BAD_BODY)

    def _store_flag(self, link: Link, value: bool) -> None:
        if link.person_id in self.store.failing:
            refuse(Fault.STORAGE_FAILED)
        self._pause()
        with link.lock:
            self._pause()
            link.facebank_seed = value
        self._pause()

    # Photos

    def _photos(self, request: Request, person: str) -> Response:
        if not same_text(self.credentials.screenalytics, bearer_token(request)):
            refuse(Fault.BAD_TOKEN)
        person_id = parse_id(person)
        query = self._read_query(request.query)
        seed_only = self._read_seed_only(query.get("seed_only"))
        limit = whole_number(query.get("limit", str(DEFAULT_PAGE_ROWS)))
        offset = whole_number(query.get("offset", "0"))
        if not 1 <= limit <= MAX_PAGE_ROWS:
            refuse(Fault.BAD_QUERY)
        if self.personality.knows_who_exists and person_id not in self.store.people:
            refuse(Fault.UNKNOWN_PERSON)
        self._pause()
        links = self._ordered(person_id, seed_only=seed_only)
        self._pause()
        page = links[offset : offset + min(limit, self.personality.max_rows)]
        return self._ok([self.personality.photo(link) for link in page])

    def _ordered(self, person_id: str, *, seed_only: bool) -> list[Link]:
        links = sorted(self.store.gallery(person_id), key=self.personality.order)
        if not seed_only:
            return links
        seeds = [link for link in links if link.facebank_seed]
        return seeds[::-1] if self.personality.reverses_seeds else seeds

    def _read_query(self, text: str) -> dict[str, str]:
        pairs = parse_qsl(text, keep_blank_values=True)
        names = [name for name, _ in pairs]
        odd = len(set(names)) < len(names) or not {"seed_only", "limit", "offset"}.issuperset(names)
        if odd and self.personality.refuses_odd_queries:
            refuse(Fault.BAD_QUERY)
        return dict(reversed(pairs) if self.personality.first_of_repeats else pairs)

    def _read_seed_only(self, text: str | None) -> bool:
        if text is None:
            return self.personality.default_seed_only
        value = self.personality.query_booleans.get(text.lower())
        return refuse(Fault.BAD_QUERY) if value is None else value

    # Provider states

    def _change_state(self, request: Request) -> Response:
        body = parse_json(request.body, Fault.BAD_STATE)
        if not isinstance(body, dict) or not isinstance(params := body.get("params") or {}, dict):
            refuse(Fault.BAD_STATE)
        name = body.get("state")
        if not isinstance(name, str) or name not in self._states:
            refuse(Fault.UNKNOWN_STATE)
        match body.get("action", "setup"):
            case "setup":
                values = self._states[name](params)
            case "teardown":
                values = self._tear_down(name, params)
            case _:
                refuse(Fault.BAD_STATE)
        return self._ok(values)

    def _tear_down(self, name: str, params: JsonObject) -> JsonObject:
        people = {str(params[key]).lower() for key in ("person_id", "other_person_id") if key in params}
        if name == "storage failure":
            self.store.failing -= people
        else:
            for person_id in people:
                self.store.remove_person(person_id)
        return {}

    def _new_asset(self, *, hosted: bool = True) -> Asset:
        asset_id = str(uuid4())
        url = self.personality.url
        return Asset(url(asset_id, hosted=False), url(asset_id, hosted=True) if hosted else None, asset_id)

    def _set_up_person(self, params: JsonObject) -> JsonObject:
        if not isinstance(params.get("full_name", ""), str):
            refuse(Fault.BAD_STATE)
        person_id = str(uuid4())
        self.store.add_person(person_id)
        return {"person_id": self._id(person_id)}

    def _set_up_gallery(self, params: JsonObject) -> JsonObject:
        person_id = str(uuid4())
        seeded, unseeded, unhosted = (count(params, name) for name in ("seeded", "unseeded", "unhosted"))
        groups = ([(True, True)] * seeded, [(False, True)] * unseeded, [(False, False)] * unhosted)
        if self.personality.has_primaries:
            mixed = [each for row in itertools.zip_longest(*groups) for each in row if each is not None]
        else:
            mixed = [each for group in groups for each in group]
        links = tuple(
            Link(
                person_id,
                self._new_asset(hosted=hosted),
                position=position,
                is_primary=self.personality.has_primaries and position == len(mixed) // 2,
                facebank_seed=seed,
            )
            for position, (seed, hosted) in enumerate(mixed)
        )
        self.store.add_person(person_id, links)
        return {
            "person_id": self._id(person_id),
            "links": [
                {
                    "link_id": self._id(link.id),
                    "media_asset_id": self._id(link.asset.id),
                    "facebank_seed": link.facebank_seed,
                    "served_url": link.asset.served_url,
                    "source_url": link.asset.source_url,
                }
                for link in self._ordered(person_id, seed_only=False)
            ],
            "summary": {"links": len(links)},
        }

    def _set_up_other_link(self, params: JsonObject) -> JsonObject:
        person_id = str(uuid4())
        link = Link(person_id, self._new_asset(), kind="banner")
        self.store.add_person(person_id, (link,))
        return {"person_id": self._id(person_id), "link_id": self._id(link.id), "kind": link.kind}

    def _set_up_shared_photo(self, params: JsonObject) -> JsonObject:
        asset = self._new_asset()
        one, other = (Link(str(uuid4()), asset, is_primary=self.personality.has_primaries) for _ in range(2))
        for link in (one, other):
            self.store.add_person(link.person_id, (link,))
        return {
            "person_id": self._id(one.person_id),
            "link_id": self._id(one.id),
            "other_person_id": self._id(other.person_id),
            "other_link_id": self._id(other.id),
            "served_url": asset.served_url,
            "media_asset_id": self._id(asset.id),
        }

    def _set_up_asset(self, params: JsonObject) -> JsonObject:
        hosted = params.get("hosted", True)
        if not isinstance(hosted, bool):
            refuse(Fault.BAD_STATE)
        asset = self._new_asset(hosted=hosted)
        return {"media_asset_id": self._id(asset.id), "source_url": asset.source_url, "hosted_url": asset.hosted_url}

    def _set_up_storage_failure(self, params: JsonObject) -> JsonObject:
        person_id = str(params.get("person_id")).lower()
        if params.get("operation", "toggle") != "toggle" or person_id not in self.store.people:
            refuse(Fault.BAD_STATE)
        self.store.failing.add(person_id)
        return {"person_id": self._id(person_id)}


def bearer_token(request: Request) -> str:
    header = request.headers.get("authorization")
    if header is None:
        refuse(Fault.NO_TOKEN)
    found = BEARER.fullmatch(header)
    return found[1] if found else refuse(Fault.BAD_TOKEN)


def whole_number(text: str) -> int:
    return int(text) if WHOLE_NUMBER.fullmatch(text) else refuse(Fault.BAD_QUERY)


def count(params: JsonObject, name: str) -> int:
    value = params.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10_000:
        refuse(Fault.BAD_STATE)
    return value


# --- HTTP/1.1 ---------------------------------------------------------------------------------------------------------

REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/1\.([0-9])")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTENT_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
SINGLE_BYTE_CHUNKS = 48
LARGER_CHUNK_BYTES = 1021


class Connection(socketserver.BaseRequestHandler):
    """One client connection: requests in, responses out, until either side has had enough."""

    request: socket.socket
    server: Server

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.request.makefile("rb")

    def finish(self) -> None:
        self.reader.close()

    def handle(self) -> None:
        with contextlib.suppress(HangUp, OSError):
            while self._exchange():
                pass
            self._linger()

    def _exchange(self) -> bool:
        """Answers one request; False when the connection is to be closed."""
        backend, request = self.server.backend, None
        self.request.settimeout(IDLE_TIMEOUT_S)
        if not self.reader.peek(1):
            return False
        self.request.settimeout(REQUEST_TIMEOUT_S)
        try:
            request = self._read_request()
            response = backend.answer(request)
        except TimeoutError:
            response = backend.refusal(Fault.REQUEST_TIMEOUT)
        except Refusal as refusal:
            response = backend.refusal(refusal.fault)
        keep_alive = request is not None and request.keep_alive and not backend.personality.closes_connections
        self.request.settimeout(IDLE_TIMEOUT_S)
        self.request.sendall(render(response, request, backend.personality, keep_alive=keep_alive))
        return keep_alive

    def _linger(self) -> None:
        """Lets the client read the answer before its unread bytes make the kernel reset the connection."""
        self.request.shutdown(socket.SHUT_WR)
        self.request.settimeout(LINGER_TIMEOUT_S)
        deadline = time.monotonic() + 5 * LINGER_TIMEOUT_S
        while self.request.recv(65536) and time.monotonic() < deadline:
            pass

    def _read_line(self) -> bytes:
        line = self.reader.readline(MAX_LINE_BYTES + 1)
        if not line.endswith(b"\n"):
            refuse(Fault.HEAD_TOO_LARGE if len(line) > MAX_LINE_BYTES else Fault.MALFORMED_HTTP)
        return line.rstrip(b"\r\n")

    def _read_request(self) -> Request:
        first = self._read_line() or self._read_line()
        found = REQUEST_LINE.fullmatch(first.decode("latin-1"))
        if not found:
            refuse(Fault.MALFORMED_HTTP)
        method, target, minor = found.groups()
        headers = self._read_headers()
        options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
        is_1_0 = minor == "0"
        if not is_1_0 and headers.get("expect", "").lower() == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._read_body(headers)
        path, _, query = target.partition("#")[0].partition("?")
        return Request(
            method=method,
            path=re.sub(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/]*", "", path),
            query=query,
            headers=headers,
            body=body,
            keep_alive="keep-alive" in options if is_1_0 else "close" not in options,
            takes_chunks=not is_1_0,
        )

    def _read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        size = 0
        while line := self._read_line():
            size += len(line)
            if size > MAX_HEAD_BYTES:
                refuse(Fault.HEAD_TOO_LARGE)
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not HEADER_NAME.fullmatch(name):
                refuse(Fault.MALFORMED_HTTP)
            name, value = name.lower(), value.strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers

    def _read_body(self, headers: Mapping[str, str]) -> bytes:
        length = headers.get("content-length")
        if (coding := headers.get("transfer-encoding")) is not None:
            if coding.lower() != "chunked" or length is not None:
                refuse(Fault.MALFORMED_HTTP)
            return b"".join(self._read_chunks())
        if length is None:
            return b""
        if not CONTENT_LENGTH.fullmatch(length):
            refuse(Fault.MALFORMED_HTTP)
        return self._read_exactly(int(length))

    def _read_chunks(self) -> Iterator[bytes]:
        total = 0
        while True:
            found = CHUNK_SIZE.fullmatch(self._read_line())
            if not found:
                refuse(Fault.MALFORMED_HTTP)
            size = int(found[1], 16)
            if not size:
                self._read_headers()
                return
            total += size
            if total > MAX_BODY_BYTES:
                refuse(Fault.BODY_TOO_LARGE)
            yield self._read_exactly(size)
            if self._read_line():
                refuse(Fault.MALFORMED_HTTP)

    def _read_exactly(self, size: int) -> bytes:
        if size > MAX_BODY_BYTES:
            refuse(Fault.BODY_TOO_LARGE)
        data = self.reader.read(size)
        return data if len(data) == size else refuse(Fault.MALFORMED_HTTP)


def render(response: Response, request: Request | None, personality: Personality, *, keep_alive: bool) -> bytes:
    """The bytes of a response; ``request`` is None where it could not be read."""
    chunked = personality.sends_small_chunks and request is not None and request.takes_chunks
    headers = [*response.headers, *personality.extra_headers]
    if response.content_type is not None:
        headers.append(("Content-Type", response.content_type))
    if chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    elif not (personality.closes_connections and response.body):
        headers.append(("Content-Length", str(len(response.body))))
    headers.append(("Connection", "keep-alive" if keep_alive else "close"))
    reason = "" if personality.closes_connections else HTTPStatus(response.status).phrase
    lines = [f"HTTP/1.1 {response.status} {reason}"]
    lines += [f"{odd_case(name) if personality.odd_header_case else name}: {value}" for name, value in headers]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if request is not None and request.method == "HEAD":
        return head
    return head + (chunks(response.body) if chunked else response.body)


@functools.cache
def odd_case(name: str) -> str:
    return "".join(letter.upper() if number % 2 else letter.lower() for number, letter in enumerate(name))


def chunks(body: bytes) -> bytes:
    """The chunked coding of a body: single bytes at first, then larger pieces so that readers stay fast."""
    head, tail = body[:SINGLE_BYTE_CHUNKS], body[SINGLE_BYTE_CHUNKS:]
    pieces = [head[at : at + 1] for at in range(len(head))]
    pieces += [tail[at : at + LARGER_CHUNK_BYTES] for at in range(0, len(tail), LARGER_CHUNK_BYTES)]
    return b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


class Server(socketserver.ThreadingTCPServer):
    """A thread per connection on a free port of the loopback interface."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        super().__init__(("127.0.0.1", 0), Connection)

    def description(self) -> JsonObject:
        """The environment table and the variables that it names."""
        origin = f"http://127.0.0.1:{self.server_address[1]}"
        credentials = self.backend.credentials.variables()
        return {
            "environment": {
                "production": False,
                "targets": ["backend"],
                "backend_url": origin + self.backend.personality.base_path,
                "backend_states_url": origin + STATES_PATH,
                "credentials": {key: {"env": name} for key, (name, _) in credentials.items()},
            },
            "variables": dict(credentials.values()),
        }


# --- The process ------------------------------------------------------------------------------------------------------


def wait_for_orphanhood(parent: int) -> None:
    """Returns when the parent process has ended, or whoever holds the other end of the pipe on standard input."""
    poller = select.poll()
    mode = os.fstat(0).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        # No events are asked for: a hang-up is always told, and input is left to whom it belongs.
        poller.register(0, 0)
        if poller.poll(0):  # Nobody held the other end from the start, so its end means nothing.
            poller.unregister(0)
    while os.getppid() == parent and not poller.poll(200):
        pass


def main() -> None:
    """Serves the personality named on the command line."""
    parent = os.getppid()  # before the line that lets the parent go on, and perhaps die
    parser = argparse.ArgumentParser(description="A conforming backend built as differently as possible.")
    parser.add_argument("--personality", choices=PERSONALITIES, required=True)
    personality = PERSONALITIES[parser.parse_args().personality]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with Server(Backend(personality)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps(server.description()), flush=True)
        wait_for_orphanhood(parent)


if __name__ == "__main__":
    main()
