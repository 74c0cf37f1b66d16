"""A second conforming backend that has nothing in common with the reference but the contract.

Standard library only: sockets and HTTP/1.1 by hand, JWTs by ``hmac``, pages by ``html.parser``, everything in memory.
(psycopg only where the deployed tables are to be seen: tables.py.) The suite must find no failed MUST here in any
personality; where it does, it tests an implementation and not the contract.

``python tests/different/backend.py --personality NAME [--vision-url URL] [--database-url URL]`` prints one line of
JSON, ``{"environment": {...}, "variables": {NAME: value}}`` (an environment table and the values of the variables that
its credentials name), and serves until SIGTERM, SIGINT, or the end of its parent or of the pipe on its standard input.

One server, and a table of freedoms (``PERSONALITIES``; those of the media workflow are in media.py):

``verbose``
    Breaks no SHOULD. The API hangs under a path prefix. UUIDs in upper case, many more members and headers, members in
    alphabetical order, pretty-printed JSON with CRLF and a charset, bodies in chunks that start with single bytes,
    header names in odd case, cookies. Errors are HTML (401), XML (403) or problem+json. Photos behind the primary come
    in falling position; of a repeated query parameter the last counts. The media workflow wants the secret too.
    Candidates come last first, with other ids and canonical addresses, dates in UTC; a lost page is a 200 that says so.
    Streams have a byte order mark, CRLF, ids, heartbeats of three sorts, four steps on the way to an image's end, and
    single bytes as chunks; errors say ``message``. A season's images are also its show's. What is no text is tidied.
``terse``
    Breaks SHOULDs: statuses are the bluntest permitted, 403 for 401, 404 for every link that can't be toggled and every
    malformed id, 400 for 422 (AUTH-01, TOG-07, PHO-11). Errors have no body unless they owe a message, and no media
    type, 405 has no Allow, the status line no reason. Every response ends with its connection, which alone delimits the
    body. JSON is ASCII with escaped slashes. Photo fields are null or missing, nothing is primary, seeds come first,
    addresses have non-ASCII characters, queries and escapes. Pages hold at most 50 rows, unknown and repeated query
    parameters are refused, JSON must be declared. A secret that is not ASCII or is thousands of characters long closes
    the connection without an answer (AUTH-03). No storage-failure state (TOG-10). Previews have no dates and no sizes
    (PRE-02, PRE-03) and next to no members; imports remember them. Duplicates are not linked (IMP-03). Streams end
    their lines with CR, have no event names, no totals, nothing but ends, and no status on errors (SSE-02). Every
    delete is a 204 (DEL-01, DEL-02).
``lenient``
    Breaks every SHOULD that can be broken in peace. 403 without a token (AUTH-01), the allowlisted person needs the
    secret too (AUTH-08), a missing and a wrong secret are told apart (AUTH-09), links are looked up before the secret
    (AUTH-10), other methods are a 404 (TOG-01), refused links get 410 and 400 (TOG-07), storage failure is a 503
    (TOG-10), ``"yes"`` and 1 are booleans (TOG-12), seeds come in reverse order (PHO-05), an absent ``seed_only`` means
    true (PHO-06), an unknown person is a 404 and a malformed id a 400 (PHO-11). Also: any content type, any spelling of
    a boolean query, the first of repeats. Dates in words (PRE-02), no sizes (PRE-03), an entity that nobody knows is
    everybody (PRE-10), a known address is a duplicate unseen and unlinked (IMP-03), streams come all at once, at the
    end (SSE-08), and without a status on errors (SSE-02), every kind is tagged (CAST-05), what is gone is a 410
    (DEL-01, DEL-02), exclusions hold for one spelling (EXC-06), the source is always what is counted (CNT-02), each
    time anew.
``slow-writer``
    Breaks no SHOULD. Random delays of milliseconds around each read and write and a lock per link, so that answers on
    different connections overtake each other; photos behind the primary come in the order of their random ids. Images
    are fetched four at a time, the last first, a second time where the first fails, and told of in the order in which
    they are done; lines end in all three ways in turn. Contexts have the alternative text too.
``opaque``
    Breaks no SHOULD. Tokens are random strings and not JWTs, so there is no ``jwt_secret`` and nothing to forge
    or expire (AUTH-07). A toggle is a 409 while another one of its link is under way. No storage-failure state
    (TOG-10). Previews read the head of each image with a GET, for its dimensions too; imports send a HEAD first, and go
    on when nobody reads their stream, which is cut anywhere. A stream that is refused says so in an event.
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
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

from catalog import Asset, Catalog, Entity, Link, Record, Season
from faults import Fault, HangUp, Refusal, refuse
from media import (
    Caption,
    Dates,
    JsonObject,
    Media,
    MediaStyle,
    Nobody,
    Probe,
    StreamStyle,
    address_id,
    is_named_by_words,
    place_id,
)

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
    return ("application/json", escaped_json(fault.value[1])) if fault.owes_a_message else (None, b"")


def documented_error(fault: Fault, status: int) -> ErrorBody:
    title = HTTPStatus(status).phrase
    match status:
        case 401:
            return "text/html; charset=utf-8", f"<!doctype html><title>{escape(title)}</title><h1>Sorry</h1>".encode()
        case 403:
            return "application/xml", f'<?xml version="1.0"?><error><title>{escape(title)}</title></error>'.encode()
        case _:
            return "application/problem+json", pretty_json(
                {"type": "about:blank", "title": title, "status": status, "detail": fault.value[1]}
            )


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
    refuses_while_another_writes: bool = False
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
    # Media
    media: MediaStyle = field(default_factory=MediaStyle)
    media_wants_secret: bool = False
    tidies_text: bool = False
    refuses_streams_with_events: bool = False

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
        media_wants_secret=True,
        tidies_text=True,
        media=MediaStyle(
            dates=Dates.IN_UTC,
            nobody=Nobody.EVERYTHING,
            reverses_candidates=True,
            candidate_id=address_id,
            canonical_best_url=True,
            tells_of_lost_pages_in_a_200=True,
            more_members=True,
            stores_hosted_copies=True,
            links_show_of_season=True,
            answers_duplicates=True,
            excludes_by_default=True,
            stream=StreamStyle(
                media_type="Text/Event-Stream;charset=UTF-8",
                line_ends=("\r\n",),
                start="\ufeff: welcome\n\nretry: 2500\n\n",
                between=(": still at it\n\n", "event: ping\ndata: {}\n\n", ":\n"),
                names=lambda role: f"trr.import/{role}",
                ids=True,
                encode=lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False),
                on_the_way=("queued", "downloading", "hashing", "storing"),
                error_member="message",
                more_members=True,
                bytes_at_a_time=1,
            ),
        ),
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
        media=MediaStyle(
            probe=Probe.NEVER,
            dates=Dates.ABSENT,
            candidate_id=place_id,
            sparse_candidates=True,
            remembers_previews=True,
            links_duplicates=False,
            skips_excluded=False,
            caption=Caption.WITHOUT_NAME,
            deletes_silently=True,
            refuses_hopeless_imports=True,
            vision_mode=None,
            stream=StreamStyle(
                line_ends=("\r",),
                names=lambda role: None,
                encode=json.dumps,
                on_the_way=(),
                total=False,
                error_status=False,
            ),
        ),
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
            Fault.NO_PAGE: 404,
            Fault.NO_HTML: 415,
            Fault.BAD_ADDRESS: 400,
            Fault.BAD_PREVIEW: 400,
            Fault.BAD_IMPORT: 400,
            Fault.UNKNOWN_ASSET: 410,
            Fault.ASSET_GONE: 410,
            Fault.VISION_FAILED: 504,
            Fault.OVERLAY_FAILED: 424,
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
        media=MediaStyle(
            probe=Probe.ABSENT,
            dates=Dates.IN_WORDS,
            nobody=Nobody.ANYBODYS,
            remembers_previews=True,
            knows_addresses=True,
            links_duplicates=False,
            one_link_for_all_kinds=True,
            caption=Caption.ONE_LINE,
            matches_names=is_named_by_words,
            tags_all_kinds=True,
            excludes_by=lambda url: url,
            counts_hosted_copy=False,
            recounts_always=True,
            stream=StreamStyle(names=lambda role: "message", error_status=False, at_once=True),
        ),
    ),
    "slow-writer": Personality(
        max_delay_s=0.004,
        order=lambda link: (not link.is_primary, link.id),
        statuses={Fault.NO_PAGE: 422, Fault.NO_HTML: 422, Fault.VISION_FAILED: 503, Fault.OVERLAY_FAILED: 500},
        media=MediaStyle(
            dates=Dates.DAY,
            one_link_for_all_kinds=True,
            matches_names=is_named_by_words,
            stores_hosted_copies=True,
            fetches=2,
            contexts_have_alt=True,
            stream=StreamStyle(
                media_type="text/event-stream; charset=utf-8",
                line_ends=("\r\n", "\n", "\r"),
                between=("", ": \n", "\n", "event: ping\ndata:\n\n"),
                names=lambda role: "update",
                parallel=True,
                error_member="detail",
            ),
        ),
    ),
    "opaque": Personality(
        opaque_tokens=True,
        max_delay_s=0.002,
        refuses_while_another_writes=True,
        fails_storage_on_demand=False,
        statuses={Fault.BAD_ADDRESS: 400, Fault.NO_PAGE: 424, Fault.NO_HTML: 415},
        refuses_streams_with_events=True,
        media=MediaStyle(
            probe=Probe.GET,
            nobody=Nobody.EVERYTHING,
            reads_dimensions=True,
            links_show_of_season=True,
            skips_excluded=False,
            caption=Caption.ONE_LINE,
            vision_mode="fast",
            asks_vision_in_chunks=True,
            looks_before_fetching=True,
            stream=StreamStyle(
                start="retry: 1000\nid: 0\n\n",
                end="\n: bye\n\n",
                survives_its_reader=True,
                bytes_at_a_time=5,
            ),
        ),
    ),
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
    body: bytes | Iterator[bytes]
    """Whole, or in pieces that are sent as they come."""
    headers: tuple[tuple[str, str], ...] = ()


UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
BEARER = re.compile(r"Bearer +(\S+)", re.IGNORECASE)
JSON_TYPE = re.compile(r"application/json[ \t]*(?:;.*)?", re.IGNORECASE)
WHOLE_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
TOGGLE_PATH = re.compile(r"/api/v1/admin/person/([^/]+)/gallery/([^/]+)/facebank-seed")
PHOTOS_PATH = re.compile(r"/api/v1/screenalytics/people/([^/]+)/photos")
MEDIA_PATH = re.compile(r"/api/v1/admin/scrape/(preview|import|import/stream)")
ASSET_PATH = re.compile(r"/api/v1/admin/media-assets/([^/]+)(?:/(auto-count|detect-text-overlay))?")
UNTEXT = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000|[\ud800-\udfff]")
STATES_PATH = "/_states"
PURGE_PATH = "/_purge"


def parse_json(body: bytes, otherwise: Fault, *, tidies: bool = False) -> object:
    """The value of a UTF-8 JSON text; anything else, also what is nested too deeply, is refused as ``otherwise``.

    So are strings that are no text, with NULs or half a surrogate pair, unless these ``tidies`` away.
    """
    try:
        value = json.loads(body.decode(), parse_constant=lambda name: refuse(otherwise))
        text = json.dumps(value, ensure_ascii=False)
        if not UNTEXT.search(text):
            return value
        return json.loads(UNTEXT.sub("\\1\ufffd", text)) if tidies else refuse(otherwise)
    except (ValueError, RecursionError):
        return refuse(otherwise)


def parse_id(segment: str) -> str:
    text = unquote(segment)
    return text.lower() if UUID.fullmatch(text) else refuse(Fault.BAD_ID)


class Backend:
    """The toggle, the photos, the media workflow and the provider states for one personality."""

    def __init__(
        self, personality: Personality, *, vision_url: str | None = None, record: Record | None = None
    ) -> None:
        self.personality = personality
        self.credentials = Credentials.fresh(opaque=personality.opaque_tokens)
        self.store = Catalog(record)
        self.media = Media(personality.media, self.store, vision_url=vision_url, shown=self._id)
        self._states: Mapping[str, Callable[[JsonObject], JsonObject]] = {
            "person": self._set_up_person,
            "person with gallery": self._set_up_gallery,
            "media link outside a person gallery": self._set_up_other_link,
            "shared photo": self._set_up_shared_photo,
            "media asset": self._set_up_asset,
            "show with season": self._set_up_show,
            "text overlay failure": self._set_up_overlay_failure,
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
        if request.path == PURGE_PATH:
            return self._purge(request) if request.method == "POST" else self._method_not_allowed("POST")
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
        if found := MEDIA_PATH.fullmatch(path):
            return self._scrape(request, found[1]) if request.method == "POST" else self._method_not_allowed("POST")
        if found := ASSET_PATH.fullmatch(path):
            asset, action = found.groups()
            method = "POST" if action else "DELETE"
            return self._asset(request, asset, action) if request.method == method else self._method_not_allowed(method)
        return refuse(Fault.NO_ROUTE)

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
            "person_id": self._id(found.owner.id),
            "facebank_seed": value,
        }
        if self.personality.more_toggle_members:
            answer |= {
                "media_asset_id": self._id(found.asset.id),
                "kind": found.kind,
                "warnings": [],
                "person": {"person_id": self._id(found.owner.id), "full_name": None},
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
        if link.owner != Entity("person", person_id):
            refuse(Fault.OTHER_PERSONS_LINK)
        if link.kind != "gallery":
            refuse(Fault.NOT_A_GALLERY_LINK)
        return link

    def _read_flag(self, request: Request) -> bool:
        value = self._read_object(request, Fault.BAD_BODY).get("facebank_seed")
        if self.personality.coerces_body_booleans and isinstance(value, str | int | float):
            value = MANY_BOOLEANS.get(str(value).lower())
        return value if isinstance(value, bool) else refuse(Fault.BAD_BODY)

    def _read_object(self, request: Request, otherwise: Fault) -> JsonObject:
        if not self.personality.reads_any_media_type and not JSON_TYPE.fullmatch(
            request.headers.get("content-type", "")
        ):
            refuse(Fault.BAD_MEDIA_TYPE)
        body = parse_json(request.body, otherwise, tidies=self.personality.tidies_text)
        return body if isinstance(body, dict) else refuse(otherwise)

    def _store_flag(self, link: Link, value: bool) -> None:
        if link.owner.id in self.store.failing:
            refuse(Fault.STORAGE_FAILED)
        self._pause()
        if not link.lock.acquire(blocking=not self.personality.refuses_while_another_writes):
            refuse(Fault.UNDER_WAY)
        try:
            self._pause()
            link.facebank_seed = value
        finally:
            link.lock.release()
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

    # Media

    def _require_admin(self, request: Request) -> None:
        caller = self.credentials.caller(bearer_token(request))
        if caller is None:
            refuse(Fault.BAD_TOKEN)
        if caller is Caller.USER:
            refuse(Fault.NOT_ADMIN)
        if self.personality.media_wants_secret and caller is Caller.SERVICE:
            self._check_secret(request)

    def _scrape(self, request: Request, action: str) -> Response:
        try:
            self._require_admin(request)
            if action == "preview":
                return self._ok(self.media.preview(self._read_object(request, Fault.BAD_PREVIEW)))
            job = self.media.read_job(self._read_object(request, Fault.BAD_IMPORT))
            if action == "import":
                return self._ok(self.media.import_all(job))
        except Refusal as refusal:
            if action != "import/stream" or not self.personality.refuses_streams_with_events:
                raise
            failed = self.refusal(refusal.fault)
            event = b"event: error\ndata: %b\n\n" % compact_json({"error": refusal.fault.value[1]})
            return Response(failed.status, self.personality.media.stream.media_type, event, failed.headers)
        media_type = self.personality.media.stream.media_type
        return Response(200, media_type, self.media.stream(job), (("Cache-Control", "no-cache"),))

    def _asset(self, request: Request, asset: str, action: str | None) -> Response:
        self._require_admin(request)
        asset_id = parse_id(asset)
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        match action:
            case "auto-count":
                return self._ok(self.media.count_people(asset_id, force=self._read_boolean(query, "force") or False))
            case "detect-text-overlay":
                self._read_boolean(query, "force")
                return self._ok(self.media.detect_text_overlay(asset_id))
        told = self.media.delete(asset_id, exclude=self._read_boolean(query, "exclude"))
        return Response(204, None, b"") if told is None else self._ok(told)

    def _read_boolean(self, query: Mapping[str, str], name: str) -> bool | None:
        if name not in query:
            return None
        value = self.personality.query_booleans.get(query[name].lower())
        return refuse(Fault.BAD_QUERY) if value is None else value

    def _purge(self, request: Request) -> Response:
        """What the purge script asks for: the ids of a season's imports from a page, deleted where ``execute`` is."""
        asked = parse_json(request.body, Fault.BAD_PURGE)
        match asked:
            case {"show_id": str(show), "season_number": int(number), "page_url": str(page_url), "execute": bool(do)}:
                found = self.media.purge(parse_id(show), number, page_url, execute=do)
                return self._ok([self._id(asset_id) for asset_id in found])
        return refuse(Fault.BAD_PURGE)

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
        asset_id = str(params.get("media_asset_id")).lower()
        match name:
            case "storage failure":
                self.store.failing -= people
            case "text overlay failure":
                self.store.unreadable.discard(asset_id)
            case "show with season":
                self.store.remove_show(str(params.get("show_id")).lower())
            case _:
                for person_id in people:
                    self.store.remove_person(person_id)
        if name == "media asset" and (asset := self.store.assets.get(asset_id)):
            self.store.remove(asset)
        return {}

    def _new_asset(self, *, hosted: bool = True) -> Asset:
        asset_id = str(uuid4())
        url = self.personality.url
        return Asset(url(asset_id, hosted=False), url(asset_id, hosted=True) if hosted else None, asset_id)

    def _set_up_person(self, params: JsonObject) -> JsonObject:
        name = params.get("full_name", "")
        if not isinstance(name, str):
            refuse(Fault.BAD_STATE)
        person_id = str(uuid4())
        self.store.add_person(person_id, name=name)
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
                Entity("person", person_id),
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
        link = Link(Entity("person", person_id), self._new_asset(), kind="banner")
        self.store.add_person(person_id, (link,))
        return {"person_id": self._id(person_id), "link_id": self._id(link.id), "kind": link.kind}

    def _set_up_shared_photo(self, params: JsonObject) -> JsonObject:
        asset = self._new_asset()
        one, other = (
            Link(Entity("person", str(uuid4())), asset, is_primary=self.personality.has_primaries) for _ in range(2)
        )
        for link in (one, other):
            self.store.add_person(link.owner.id, (link,))
        return {
            "person_id": self._id(one.owner.id),
            "link_id": self._id(one.id),
            "other_person_id": self._id(other.owner.id),
            "other_link_id": self._id(other.id),
            "served_url": asset.served_url,
            "media_asset_id": self._id(asset.id),
        }

    def _set_up_asset(self, params: JsonObject) -> JsonObject:
        hosted = params.get("hosted", True)
        if not isinstance(hosted, bool):
            refuse(Fault.BAD_STATE)
        asset = self._new_asset(hosted=hosted)
        self.store.add(asset)
        return {"media_asset_id": self._id(asset.id), "source_url": asset.source_url, "hosted_url": asset.hosted_url}

    def _set_up_show(self, params: JsonObject) -> JsonObject:
        names = params.get("cast") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            refuse(Fault.BAD_STATE)
        cast = tuple((str(uuid4()), str(name)) for name in names)
        season = Season(str(uuid4()), str(uuid4()), random.randint(1, 30), cast)
        self.store.add_season(season)
        return {
            "show_id": self._id(season.show_id),
            "season_id": self._id(season.id),
            "season_number": season.number,
            "cast": [{"person_id": self._id(person), "full_name": name} for person, name in cast],
        }

    def _set_up_overlay_failure(self, params: JsonObject) -> JsonObject:
        asset_id = str(params.get("media_asset_id")).lower()
        if asset_id not in self.store.assets:
            refuse(Fault.BAD_STATE)
        self.store.unreadable.add(asset_id)
        return {"media_asset_id": self._id(asset_id)}

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
FINELY_CUT_BYTES = 500
"""How much of a stream is cut as finely as the personality likes; so many chunks are slow to read."""


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
        body = response.body
        if isinstance(body, bytes):
            self.request.sendall(render(response, request, backend.personality, keep_alive=keep_alive))
            return keep_alive
        assert request is not None
        return self._send_pieces(response, body, request, keep_alive=keep_alive)

    def _send_pieces(self, response: Response, pieces: Iterator[bytes], request: Request, *, keep_alive: bool) -> bool:
        """Sends a body as it comes; a reader that goes away ends whoever makes it."""
        personality = self.server.backend.personality
        chunked = keep_alive and request.takes_chunks
        at_a_time = personality.media.stream.bytes_at_a_time
        try:
            self.request.sendall(head(response, personality, chunked=chunked, keep_alive=chunked))
            sent = 0
            for piece in filter(None, pieces):
                size = (at_a_time if sent < FINELY_CUT_BYTES else at_a_time * 50) or len(piece)
                cut = [piece[at : at + size] for at in range(0, len(piece), size)]
                sent += len(piece)
                if chunked:
                    self.request.sendall(b"".join(map(chunk, cut)))
                else:
                    for each in cut:
                        self.request.sendall(each)
            if chunked:
                self.request.sendall(chunk(b""))
        finally:
            if isinstance(pieces, Generator):
                pieces.close()
        return chunked

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
    """The bytes of a response with a whole body; ``request`` is None where it could not be read."""
    assert isinstance(response.body, bytes)
    chunked = personality.sends_small_chunks and request is not None and request.takes_chunks and response.status != 204
    start = head(response, personality, chunked=chunked, keep_alive=keep_alive)
    if request is not None and request.method == "HEAD":
        return start
    return start + (chunks(response.body) if chunked else response.body)


def head(response: Response, personality: Personality, *, chunked: bool, keep_alive: bool) -> bytes:
    """The bytes of status line and headers."""
    headers = [*response.headers, *personality.extra_headers]
    if response.content_type is not None:
        headers.append(("Content-Type", response.content_type))
    if chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    elif isinstance(response.body, bytes) and not (personality.closes_connections and response.body):
        headers.append(("Content-Length", str(len(response.body))))
    headers.append(("Connection", "keep-alive" if keep_alive else "close"))
    reason = "" if personality.closes_connections else HTTPStatus(response.status).phrase
    lines = [f"HTTP/1.1 {response.status} {reason}"]
    lines += [f"{odd_case(name) if personality.odd_header_case else name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@functools.cache
def odd_case(name: str) -> str:
    return "".join(letter.upper() if number % 2 else letter.lower() for number, letter in enumerate(name))


def chunks(body: bytes) -> bytes:
    """The chunked coding of a body: single bytes at first, then larger pieces so that readers stay fast."""
    head, tail = body[:SINGLE_BYTE_CHUNKS], body[SINGLE_BYTE_CHUNKS:]
    pieces = [head[at : at + 1] for at in range(len(head))]
    pieces += [tail[at : at + LARGER_CHUNK_BYTES] for at in range(0, len(tail), LARGER_CHUNK_BYTES)]
    return b"".join(map(chunk, [*pieces, b""]))


def chunk(piece: bytes) -> bytes:
    return b"%X\r\n%b\r\n" % (len(piece), piece)


class Server(socketserver.ThreadingTCPServer):
    """A thread per connection on a free port of the loopback interface."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, backend: Backend, database_url: str | None) -> None:
        self.backend = backend
        self._database_url = database_url
        super().__init__(("127.0.0.1", 0), Connection)

    def description(self) -> JsonObject:
        """The environment table and the variables that it names."""
        origin = f"http://127.0.0.1:{self.server_address[1]}"
        credentials = self.backend.credentials.variables()
        environment: JsonObject = {
            "production": False,
            "targets": ["backend"],
            "backend_url": origin + self.backend.personality.base_path,
            "backend_states_url": origin + STATES_PATH,
            "credentials": {key: {"env": name} for key, (name, _) in credentials.items()},
        }
        variables = dict(credentials.values())
        if self._database_url is not None:
            script = str(Path(__file__).with_name("purge.py"))
            words = [sys.executable, script, origin + PURGE_PATH, "{show_id}", "{season_number}", "{page_url}"]
            environment |= {"database_url": {"env": "DIFFERENT_DB_URL"}, "purge": {"command": words}}
            variables["DIFFERENT_DB_URL"] = self._database_url
        return {"environment": environment, "variables": variables}


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
    parser.add_argument("--vision-url", help="where /vision/people-count is")
    parser.add_argument("--database-url", help="a server to keep the deployed tables on, in a database of its own")
    options = parser.parse_args()
    personality = PERSONALITIES[options.personality]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with contextlib.ExitStack() as stack:
        database_url = record = None
        if options.database_url:
            from tables import made  # only here is psycopg needed

            shown = str.upper if personality.upper_case_ids else str
            database_url, record = stack.enter_context(made(options.database_url, shown))
        backend = Backend(personality, vision_url=options.vision_url, record=record)
        server = stack.enter_context(Server(backend, database_url))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps(server.description()), flush=True)
        wait_for_orphanhood(parent)


if __name__ == "__main__":
    main()
