"""The reference TRR-APP: the admin's route handlers, which sign what a browser asks for and pass it to the backend.

Every method of `App` is one decision, so that a rogue is a subclass that takes one of them differently.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple
from urllib.parse import quote, unquote
from uuid import UUID

import httpx
import jwt
import psycopg
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from reference.serving import HEALTH
from reference.transport import Transport

TOGGLE_PATH = "/api/admin/trr-api/people/{person_id}/gallery/{link_id}/facebank-seed"
ASSET_PATH = "/api/admin/trr-api/media-assets/{asset_id}"
PREVIEW_PATH = "/api/admin/scrape/preview"
STREAM_PATH = "/api/admin/scrape/import/stream"
BACKDROPS_PATH = "/api/admin/trr-api/seasons/{season_id}/unassigned-backdrops"

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

SESSION_COOKIE = "__session"
SECRET_HEADER = "X-TRR-Internal-Admin-Secret"
MAX_BODY = 256 * 1024

_NOT_SECRET = "…"
_SEPARATORS = re.compile(r"[/\\]")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """What the deployed app reads from its environment; None is a variable that is not set."""

    session_secret: str
    """The key that sessions are signed with (HS256)."""
    admin_emails: frozenset[str]
    """The allowlist, in lower case."""
    backend_url: str | None
    """`TRR_API_URL`, with or without `/api/v1`."""
    service_role_token: str | None
    internal_secret: str | None
    database_url: str
    """The backend's database, which the app only reads."""
    toggle_timeout_s: float = 3.0
    """The whole time that the backend has for a toggle."""
    media_timeout_s: float = 20.0
    """The same for a preview, a delete, a count and a detection; of a stream, for each piece of it."""


class Season(NamedTuple):
    """A season, and the show that it is of."""

    id: UUID
    show_id: UUID
    season_number: int


class Backdrop(NamedTuple):
    """A backdrop that can be added to a season."""

    media_asset_id: UUID
    source_url: str | None
    hosted_url: str | None
    width: int | None
    height: int | None


class App:
    """TRR-APP's toggle, media proxies and backdrops, decision by decision."""

    follow_redirects = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # No proxy or .netrc of the machine gets to see the secrets.
        self.client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=self.follow_redirects,
            timeout=settings.media_timeout_s,
            transport=Transport(httpx.Limits(max_connections=100, max_keepalive_connections=20)),
        )
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            settings.database_url,
            min_size=1,
            max_size=8,
            open=False,
            timeout=10,
            kwargs={"autocommit": True, "prepare_threshold": 0, "options": "-c default_transaction_read_only=on"},
        )

    # Who calls

    def session_token(self, request: Request) -> str | None:
        """The session of the caller: a bearer token, else the cookie."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        return request.cookies.get(SESSION_COOKIE) or None

    def verify_session(self, token: str) -> Mapping[str, Any] | None:
        """The claims of a session that we signed and that has not expired, None for any other."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self.settings.session_secret, algorithms=["HS256"], options={"require": ["exp"]}
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        return claims

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        """Whether the person may administer."""
        email = claims.get("email")
        return isinstance(email, str) and email.lower() in self.settings.admin_emails

    def authorize(self, request: Request) -> None:
        """Let an allowlisted person pass; 401 without a session, 403 for anybody else."""
        token = self.session_token(request)
        claims = None if token is None else self.verify_session(token)
        if claims is None:
            raise HTTPException(401, "unauthorized")
        if not self.is_allowlisted(claims):
            raise HTTPException(403, "forbidden")

    # What is asked

    async def read_body(self, request: Request) -> Any:
        """The JSON value of the request's body; 400 or 413 for what is none."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise HTTPException(413, f"the body is longer than {MAX_BODY} bytes")
        try:
            return json.loads(body.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, "the body is not JSON") from error

    def parse_flag(self, body: Any) -> bool:
        """The boolean `facebank_seed` of the body; 400 for anything that is no JSON boolean."""
        flag = body.get("facebank_seed") if isinstance(body, dict) else None
        if not isinstance(flag, bool):
            raise HTTPException(400, "facebank_seed must be a boolean")
        return flag

    def path_parameter(self, raw: str) -> str:
        """The value of a path segment, decoded once; 400 for what is no text or holds a dot segment in any encoding."""
        try:
            value = unquote(raw, errors="strict")
        except UnicodeDecodeError as error:
            raise HTTPException(400, "the path is not UTF-8") from error
        if self.holds_dot_segment(value):
            raise HTTPException(400, "the path leads elsewhere")
        return value

    def holds_dot_segment(self, value: str) -> bool:
        """Whether anybody who decodes the value, however often, finds `.` or `..` between separators."""
        while True:
            if {".", ".."} & set(_SEPARATORS.split(value)):
                return True
            if (decoded := unquote(value)) == value:
                return False
            value = decoded

    # What the backend is sent

    def backend_base(self) -> str:
        """The address that the contract's paths hang under; 500 where it is not configured."""
        if not self.settings.backend_url:
            raise HTTPException(500, "the backend's address is not configured")
        base = self.settings.backend_url.rstrip("/")
        return base if base.endswith("/api/v1") else f"{base}/api/v1"

    def segment(self, value: str) -> str:
        """A value as one segment of the backend's path."""
        return quote(value, safe="")

    def toggle_path(self, person_id: str, link_id: str) -> str:
        """Where the backend has the link's flag."""
        return f"/admin/person/{self.segment(person_id)}/gallery/{self.segment(link_id)}/facebank-seed"

    def toggle_body(self, body: Any, flag: bool) -> Any:
        """What the backend is sent of the browser's body."""
        return {"facebank_seed": flag}

    def service_headers(self, request: Request) -> dict[str, str]:
        """The credential of a media call; 500 where it is not configured."""
        if not self.settings.service_role_token:
            raise HTTPException(500, "the backend's credentials are not configured")
        return {"Authorization": f"Bearer {self.settings.service_role_token}"}

    def toggle_headers(self, request: Request) -> dict[str, str]:
        """The credentials of a toggle; 500 where they are not configured."""
        if not self.settings.internal_secret:
            raise HTTPException(500, "the backend's credentials are not configured")
        return {**self.service_headers(request), SECRET_HEADER: self.settings.internal_secret}

    async def call_backend(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        body: Any = None,
        params: Sequence[tuple[str, str]] = (),
        timeout_s: float,
        late: int = 502,
    ) -> httpx.Response:
        """The backend's answer; 502 where it can't be reached, `late` where it takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.send(method, f"{self.backend_base()}{path}", headers, body, params)
        except (TimeoutError, httpx.TimeoutException) as error:
            return self.out_of_time(error, late)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return self.unreachable(error)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Sequence[tuple[str, str]]
    ) -> httpx.Response:
        """One request to the backend, the body as JSON."""
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        declared = {} if body is None else {"Content-Type": "application/json"}
        query = httpx.QueryParams(list(params)) if params else None
        return await self.client.request(method, url, headers={**headers, **declared}, content=content, params=query)

    def out_of_time(self, error: Exception, status: int) -> httpx.Response:
        """What to make of a backend that stalls."""
        raise HTTPException(status, "the backend took too long") from error

    def unreachable(self, error: Exception) -> httpx.Response:
        """What to make of a backend that does not answer HTTP."""
        raise HTTPException(502, "the backend can't be reached") from error

    # The toggle

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        """Authorize, read, sign, send, answer: in this order."""
        self.authorize(request)
        person, link = self.path_parameter(person_id), self.path_parameter(link_id)
        body = await self.read_body(request)
        flag = self.parse_flag(body)
        return self.answer(await self.send_toggle(request, person, link, self.toggle_body(body, flag)))

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        """The backend's answer to the signed toggle."""
        return await self.call_backend(
            "PATCH",
            self.toggle_path(person_id, link_id),
            self.toggle_headers(request),
            body=body,
            timeout_s=self.settings.toggle_timeout_s,
        )

    # The media proxies

    async def preview(self, request: Request) -> Response:
        """Pass a scrape preview on."""
        self.authorize(request)
        return await self.forward(request, "POST", "/admin/scrape/preview", body=await self.read_body(request))

    async def import_stream(self, request: Request) -> Response:
        """Pass an import on, and its events as they come."""
        self.authorize(request)
        body = await self.read_body(request)
        url = f"{self.backend_base()}{self.stream_path()}"
        # Whoever compresses a stream, collects it.
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity", **self.service_headers(request)}
        upstream = self.client.build_request("POST", url, headers=headers, json=body)
        try:
            response = await self.client.send(upstream, stream=True)
        except httpx.TimeoutException as error:
            return self.answer(self.out_of_time(error, 504))
        except httpx.HTTPError as error:
            return self.answer(self.unreachable(error))
        if response.is_success:
            return self.stream_answer(self.pieces(response))
        async with contextlib.aclosing(response):
            try:
                await response.aread()
            except httpx.HTTPError as error:
                return self.answer(self.unreachable(error))
        return self.answer(response)

    def stream_path(self) -> str:
        """Where the backend imports and tells the progress."""
        return "/admin/scrape/import/stream"

    def stream_answer(self, pieces: AsyncIterator[bytes]) -> Response:
        """The browser's event stream."""
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(pieces, media_type="text/event-stream", headers=headers)

    async def pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """What the backend streams, as it comes; where it breaks off, an event says so."""
        async with contextlib.aclosing(response):
            try:
                async for piece in response.aiter_bytes():
                    yield piece
            except httpx.HTTPError:
                yield b'\n\nevent: error\ndata: {"error":"the backend broke off"}\n\n'

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        """Pass a delete on; where nothing is said of it, the image is excluded from now on."""
        self.authorize(request)
        path = f"/admin/media-assets/{self.segment(self.path_parameter(asset_id))}"
        params = self.delete_query(request.query_params.multi_items())
        return await self.forward(request, "DELETE", path, params=params)

    def delete_query(self, given: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
        """The query of a delete: `exclude` as given, true where absent."""
        excludes = [pair for pair in given if pair[0] == "exclude"]
        return excludes or [("exclude", "true")]

    async def auto_count(self, request: Request, asset_id: str) -> Response:
        """Pass a people count on."""
        return await self.forward_asset(request, asset_id, "auto-count")

    async def detect_text_overlay(self, request: Request, asset_id: str) -> Response:
        """Pass a text overlay detection on."""
        return await self.forward_asset(request, asset_id, "detect-text-overlay")

    async def forward_asset(self, request: Request, asset_id: str, action: str) -> Response:
        """Pass an action on an asset on, with its `force`."""
        self.authorize(request)
        path = f"/admin/media-assets/{self.segment(self.path_parameter(asset_id))}/{action}"
        force = [pair for pair in request.query_params.multi_items() if pair[0] == "force"]
        return await self.forward(request, "POST", path, params=force)

    async def forward(
        self, request: Request, method: str, path: str, *, body: Any = None, params: Sequence[tuple[str, str]] = ()
    ) -> Response:
        """The backend's answer to a media call, as the browser gets it."""
        timeout_s = self.settings.media_timeout_s
        headers = self.service_headers(request)
        return self.answer(
            await self.call_backend(method, path, headers, body=body, params=params, timeout_s=timeout_s, late=504)
        )

    # The backdrops

    async def unassigned_backdrops(self, request: Request, season_id: str) -> Response:
        """The show's TMDb backdrops that no season of it has; 404 for an unknown season."""
        self.authorize(request)
        season_id = self.path_parameter(season_id)
        if not _UUID.fullmatch(season_id):
            raise HTTPException(400, "the season's id is no UUID")
        async with self.pool.connection() as connection:
            season = await self.find_season(connection, UUID(season_id))
            if season is None:
                raise HTTPException(404, "there is no such season")
            backdrops = await self.select_backdrops(connection, season)
        return self.json({"season": _jsonable(season), "backdrops": [_jsonable(backdrop) for backdrop in backdrops]})

    async def find_season(self, connection: Connection, season_id: UUID) -> Season | None:
        """The season of that id."""
        async with connection.cursor(row_factory=class_row(Season)) as cursor:
            await cursor.execute("select id, show_id, season_number from core.seasons where id = %s", (season_id,))
            return await cursor.fetchone()

    async def select_backdrops(self, connection: Connection, season: Season) -> Sequence[Backdrop]:
        """What can be added to the season."""
        async with connection.cursor(row_factory=class_row(Backdrop)) as cursor:
            await cursor.execute(self.backdrops_sql(), {"season_id": season.id, "show_id": season.show_id})
            return await cursor.fetchall()

    def backdrops_sql(self) -> LiteralString:
        """The statement behind them, of `season_id` and `show_id`."""
        return (
            "select assets.id as media_asset_id, source_url, hosted_url, width, height from core.media_assets as assets"
            f" where {self.is_from_tmdb()} and {self.is_backdrop_of_the_show()}"
            f" and not {self.is_linked_to_a_season()} and not {self.is_in_legacy_season_images()}"
            " order by assets.created_at desc, assets.id"
        )

    def is_from_tmdb(self) -> LiteralString:
        """Whether an asset comes from TMDb."""
        return "assets.source = 'tmdb'"

    def is_backdrop_of_the_show(self) -> LiteralString:
        """Whether the show has an asset as a backdrop."""
        return (
            "exists (select from core.media_links as links where links.media_asset_id = assets.id"
            " and links.entity_type = 'show' and links.entity_id = %(show_id)s and links.kind = 'backdrop')"
        )

    def is_linked_to_a_season(self) -> LiteralString:
        """Whether any season of the show has an asset as a backdrop."""
        return (
            "exists (select from core.media_links as links join core.seasons on seasons.id = links.entity_id"
            " where links.media_asset_id = assets.id and links.entity_type = 'season' and links.kind = 'backdrop'"
            " and seasons.show_id = %(show_id)s)"
        )

    def is_in_legacy_season_images(self) -> LiteralString:
        """Whether any season of the show had an asset's file as a backdrop before there were links."""
        return (
            "exists (select from core.season_images as images join core.seasons on seasons.id = images.season_id"
            " where images.source = assets.source and images.file_path = assets.metadata ->> 'file_path'"
            " and images.kind = 'backdrop' and seasons.show_id = %(show_id)s)"
        )

    # The answer

    def answer(self, response: httpx.Response) -> Response:
        """What the browser gets: the backend's JSON where it is a success, else the status and a message."""
        if response.is_success:
            try:
                return self.json(response.json(), response.status_code)
            except (ValueError, RecursionError):
                return self.error(502, "the backend's answer is not JSON")
        return self.error(self.error_status(response), self.error_message(response))

    def error_status(self, response: httpx.Response) -> int:
        """The status of a refusal: the backend's own; a redirect or an interim answer is none that we can use."""
        return response.status_code if response.status_code >= 400 else 502

    def error_message(self, response: httpx.Response) -> str:
        """What the backend says in its `detail`, and what can be said where it says nothing."""
        try:
            value = response.json()
        except (ValueError, RecursionError):
            value = None
        detail = value.get("detail") if isinstance(value, dict) else None
        if isinstance(detail, str) and detail.strip():
            return self.without_secrets(detail)
        if detail:
            return self.without_secrets(json.dumps(detail, ensure_ascii=False))
        return f"the backend answered {response.status_code}"

    def without_secrets(self, text: str) -> str:
        """The text, should a backend ever repeat what it was sent."""
        for secret in (self.settings.service_role_token, self.settings.internal_secret):
            if secret:
                text = text.replace(secret, _NOT_SECRET)
        return text

    def error(self, status: int, message: str) -> Response:
        """A refusal or a failure."""
        return self.json({"error": message}, status)

    def json(self, value: Any, status: int = 200) -> Response:
        """A JSON response, which nobody keeps."""
        content = json.dumps(value, separators=(",", ":"))
        return Response(content, status, {"Cache-Control": "no-store"}, media_type="application/json")


def create_app(app: App) -> FastAPI:
    """The HTTP application of an app."""

    @contextlib.asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with app.client, app.pool:
            yield

    api = FastAPI(title="TRR-APP (reference)", lifespan=lifespan, redirect_slashes=False)
    api.add_middleware(_RawPath)

    @api.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> Response:
        return app.error(error.status_code, str(error.detail))

    @api.exception_handler(ClientDisconnect)
    async def client_left(request: Request, error: ClientDisconnect) -> Response:
        return app.error(400, "the request was cut short")

    @api.exception_handler(psycopg.Error)
    async def not_readable(request: Request, error: psycopg.Error) -> Response:
        return app.error(502, "the database can't be read")

    @api.get(HEALTH, include_in_schema=False)
    async def health() -> Response:
        async with app.pool.connection() as connection:
            await connection.execute("select 1")
        return app.json({"status": "ok"})

    @api.patch(TOGGLE_PATH, operation_id="proxyFacebankSeed")
    async def toggle(request: Request) -> Response:
        """Set whether a gallery image seeds the person's face bank."""
        return await app.toggle(request, **request.path_params)

    @api.post(PREVIEW_PATH, operation_id="proxyScrapePreview")
    async def preview(request: Request) -> Response:
        """Preview the images of a page."""
        return await app.preview(request)

    @api.post(STREAM_PATH, operation_id="proxyImportStream")
    async def import_stream(request: Request) -> Response:
        """Import images, telling the progress."""
        return await app.import_stream(request)

    @api.delete(ASSET_PATH, operation_id="proxyDeleteAsset")
    async def delete_asset(request: Request) -> Response:
        """Delete an image."""
        return await app.delete_asset(request, **request.path_params)

    @api.post(f"{ASSET_PATH}/auto-count", operation_id="proxyAutoCount")
    async def auto_count(request: Request) -> Response:
        """Count the people in an image."""
        return await app.auto_count(request, **request.path_params)

    @api.post(f"{ASSET_PATH}/detect-text-overlay", operation_id="proxyDetectTextOverlay")
    async def detect_text_overlay(request: Request) -> Response:
        """Detect text that lies over an image."""
        return await app.detect_text_overlay(request, **request.path_params)

    @api.get(BACKDROPS_PATH, operation_id="listUnassignedBackdrops")
    async def unassigned_backdrops(request: Request) -> Response:
        """List the show's TMDb backdrops that no season of it has."""
        return await app.unassigned_backdrops(request, **request.path_params)

    return api


class _RawPath:
    """Routes by the path as it was sent: an encoded slash stays in its segment, and handlers decode for themselves."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self.app(scope, receive, send)


def _jsonable(row: NamedTuple) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, UUID) else value for name, value in row._asdict().items()}


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
