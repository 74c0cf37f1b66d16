"""The reference TRR-Backend: the face bank toggle, the person photos and the cast, on the deployed tables.

Every method of `Backend` is one decision, so that a rogue is a subclass that takes one of them differently.
"""

from __future__ import annotations

import contextlib
import hmac
import http
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import jwt
import psycopg
from fastapi import FastAPI, HTTPException, Request, Response
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, StrictBool
from starlette.requests import ClientDisconnect

from reference.serving import HEALTH

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

TOGGLE_PATH = "/api/v1/admin/person/{person_id}/gallery/{link_id}/facebank-seed"
PHOTOS_PATH = "/api/v1/screenalytics/people/{person_id}/photos"
CAST_PATH = "/api/v1/screenalytics/episodes/{episode_id}/cast"
SECRET_HEADER = "x-trr-internal-admin-secret"

DEFAULT_LIMIT, MAX_LIMIT = 200, 500
MAX_OFFSET = 2**63 - 1  # Postgres counts rows in a bigint
MAX_BODY = 64 * 1024

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_JSON_MEDIA_TYPE = re.compile(r"\s*application/([\w.-]+\+)?json\s*(;.*)?", re.ASCII | re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Settings:
    """What the deployed backend reads from its environment; an unset secret lets nobody in."""

    jwt_secret: str
    internal_secret: str | None
    screenalytics_token: str | None
    admin_emails: frozenset[str]
    """The allowlist, in lower case."""


class Link(NamedTuple):
    """A row of `core.media_links`, as far as the toggle needs it."""

    id: UUID
    entity_type: str
    entity_id: UUID
    media_asset_id: UUID
    kind: str
    position: int | None
    facebank_seed: bool


class PhotoQuery(NamedTuple):
    """The query of a photos call."""

    seed_only: bool = False
    limit: int = DEFAULT_LIMIT
    offset: int = 0


class PhotoRow(NamedTuple):
    """A row of `core.v_person_images`."""

    person_id: UUID
    link_id: UUID
    media_asset_id: UUID
    kind: str | None
    position: int | None
    is_primary: bool | None
    facebank_seed: bool
    served_url: str
    source_url: str | None
    hosted_url: str | None
    hosted_key: str | None
    width: int | None
    height: int | None


class ToggleRequest(BaseModel):
    """The body of a toggle."""

    facebank_seed: StrictBool


class ToggleResponse(BaseModel):
    """The link as it is stored after a toggle."""

    link_id: UUID
    person_id: UUID
    facebank_seed: bool


class Photo(BaseModel):
    """One photo of a person, as Screenalytics reads it."""

    served_url: str
    hosted_key: str | None
    is_primary: bool | None
    width: int | None
    height: int | None
    kind: str | None


class CastRow(BaseModel):
    """One person of an episode's cast."""

    person_id: UUID
    full_name: str
    billing_order: int | None


class Problem(BaseModel):
    """The body of every refusal."""

    detail: str


class Backend:
    """TRR-Backend's toggle and photos, decision by decision."""

    toggle_methods: Sequence[str] = ("PATCH",)

    def __init__(self, settings: Settings, database_url: str) -> None:
        self.settings = settings
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            database_url,
            min_size=4,
            max_size=16,
            open=False,
            timeout=10,
            # Every statement stands alone and is planned once.
            kwargs={"autocommit": True, "prepare_threshold": 0},
        )

    # Who calls

    def header(self, request: Request, name: str) -> bytes | None:
        """The value of a header as its bytes; a repeated one is one list, as RFC 9110 combines it."""
        values = [value for key, value in request.scope["headers"] if key == name.encode()]
        return b", ".join(values) if values else None

    def bearer_token(self, request: Request) -> bytes | None:
        """The credentials of an `Authorization: Bearer`, None for any other scheme."""
        scheme, _, token = (self.header(request, "authorization") or b"").partition(b" ")
        return token.strip() if scheme.lower() == b"bearer" else None

    def verify_token(self, token: bytes) -> Mapping[str, Any]:
        """The claims of a JWT that we signed and that has not expired; 401 for any other."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self.settings.jwt_secret, algorithms=["HS256"], options={"verify_aud": False, "require": ["exp"]}
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise self.unauthenticated() from error
        return claims

    def is_service_role(self, claims: Mapping[str, Any]) -> bool:
        """Whether the token is the service's own."""
        return claims.get("role") == "service_role"

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        """Whether the token is that of a person who may administer."""
        email = claims.get("email")
        return isinstance(email, str) and email.lower() in self.settings.admin_emails

    def secret_matches(self, given: bytes | None) -> bool:
        """Whether the internal secret is set and given, compared as bytes in constant time."""
        expected = self.settings.internal_secret
        return bool(expected) and given is not None and hmac.compare_digest(given, str(expected).encode())

    def unauthenticated(self) -> HTTPException:
        """The refusal of a call without a valid token."""
        return HTTPException(401, "Missing or invalid bearer token", {"WWW-Authenticate": "Bearer"})

    def forbidden(self) -> HTTPException:
        """The refusal of a known caller, the same for every reason."""
        return HTTPException(403, "Allowlist admin access required")

    def authorize_admin(self, request: Request) -> None:
        """Let an allowlisted person pass, and the service role with the internal secret; refuse anyone else."""
        token = self.bearer_token(request)
        if token is None:
            raise self.unauthenticated()
        claims = self.verify_token(token)
        if self.is_service_role(claims):
            if not self.secret_matches(self.header(request, SECRET_HEADER)):
                raise self.forbidden()
        elif not self.is_allowlisted(claims):
            raise self.forbidden()

    def authorize_reader(self, request: Request) -> None:
        """Let Screenalytics pass, which is known by its service token; refuse anyone else."""
        token, expected = self.bearer_token(request), self.settings.screenalytics_token
        if token is None or not expected or not hmac.compare_digest(token, expected.encode()):
            raise self.unauthenticated()

    # What is asked

    def parse_id(self, name: str, text: str) -> UUID:
        """A path parameter as a UUID, in the hyphenated form and any case; 422 for anything else."""
        if not _UUID.fullmatch(text):
            raise HTTPException(422, f"{name} must be a UUID")
        return UUID(text)

    async def read_body(self, request: Request) -> Any:
        """The JSON value of the request's body; 413, 415 or 422 for what is none."""
        media_type = self.header(request, "content-type")
        if media_type is not None and not _JSON_MEDIA_TYPE.fullmatch(media_type.decode("latin-1")):
            raise HTTPException(415, "The body is not declared as JSON")
        body = await request.body()
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"The body is longer than {MAX_BODY} bytes")
        try:
            return json.loads(body.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise HTTPException(422, "The body is not JSON") from error

    def parse_flag(self, body: Any) -> bool:
        """The boolean `facebank_seed` of the body; 422 for anything that is no JSON boolean."""
        flag = body.get("facebank_seed") if isinstance(body, dict) else None
        if not isinstance(flag, bool):
            raise HTTPException(422, "facebank_seed must be a boolean")
        return flag

    def parse_photo_query(self, request: Request) -> PhotoQuery:
        """The query's known parameters, each at most once; 422 for a value without a reading."""
        given: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            if name in given and name in PhotoQuery._fields:
                raise HTTPException(422, f"{name} is given twice")
            given[name] = value
        return PhotoQuery(
            self.parse_seed_only(given.get("seed_only")),
            self.parse_count("limit", given.get("limit"), DEFAULT_LIMIT, 1, MAX_LIMIT),
            self.parse_count("offset", given.get("offset"), 0, 0, MAX_OFFSET),
        )

    def parse_seed_only(self, text: str | None) -> bool:
        """`true` or `false` in any case; left out means false."""
        try:
            return {None: False, "false": False, "true": True}[text and text.lower()]
        except KeyError:
            raise HTTPException(422, "seed_only must be true or false") from None

    def parse_count(self, name: str, text: str | None, default: int, low: int, high: int) -> int:
        """A decimal number between `low` and `high`."""
        if text is None:
            return default
        if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
            raise HTTPException(422, f"{name} must be a number from {low} to {high}")
        return int(text)

    # The toggle

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        """Authorize, read, find, check, store, answer: in this order."""
        self.authorize_admin(request)
        person, link = self.parse_id("person_id", person_id), self.parse_id("link_id", link_id)
        flag = self.parse_flag(await self.read_body(request))
        async with self.pool.connection() as connection:
            found = self.check_link(await self.find_link(connection, link), person)
            stored = await self.store_flag(connection, found, flag)
        return self.json(self.toggle_answer(found, stored))

    async def find_link(self, connection: Connection, link_id: UUID) -> Link | None:
        """The link of that id, whosever and whatever it is."""
        async with connection.cursor(row_factory=class_row(Link)) as cursor:
            await cursor.execute(
                "select id, entity_type, entity_id, media_asset_id, kind, position, facebank_seed"
                " from core.media_links where id = %s",
                (link_id,),
            )
            return await cursor.fetchone()

    def check_link(self, link: Link | None, person_id: UUID) -> Link:
        """The link, where it is a gallery image of this person; 404 or 409 where not."""
        if link is None:
            raise HTTPException(404, "Media link not found")
        if not self.is_gallery_link(link):
            raise HTTPException(409, "The media link is not a person gallery image")
        if not self.belongs_to(link, person_id):
            raise HTTPException(409, "The media link belongs to another person")
        return link

    def is_gallery_link(self, link: Link) -> bool:
        """Whether the link puts an image into a person's gallery."""
        return link.entity_type == "person" and link.kind == "gallery"

    def belongs_to(self, link: Link, person_id: UUID) -> bool:
        """Whether the link is this person's."""
        return link.entity_id == person_id

    async def store_flag(self, connection: Connection, link: Link, flag: bool) -> bool:
        """Set the flag of this one link and return it as stored; 404 where the link has gone meanwhile."""
        cursor = await connection.execute(
            "update core.media_links set facebank_seed = %s, updated_at = now() where id = %s returning facebank_seed",
            (flag, link.id),
        )
        row = await cursor.fetchone()
        if row is None:
            raise HTTPException(404, "Media link not found")
        return bool(row[0])

    def toggle_answer(self, link: Link, flag: bool) -> dict[str, Any]:
        """The body of an accepted toggle."""
        return {"link_id": str(link.id), "person_id": str(link.entity_id), "facebank_seed": flag}

    # The photos

    async def photos(self, request: Request, person_id: str) -> Response:
        """Authorize, read, select, answer: in this order."""
        self.authorize_reader(request)
        person = self.parse_id("person_id", person_id)
        query = self.parse_photo_query(request)
        async with self.pool.connection() as connection:
            rows = await self.select_photos(connection, person, query)
        return self.json([self.photo(row) for row in rows])

    async def select_photos(self, connection: Connection, person_id: UUID, query: PhotoQuery) -> Sequence[PhotoRow]:
        """The page of this person's photos that the query asks for."""
        async with connection.cursor(row_factory=class_row(PhotoRow)) as cursor:
            await cursor.execute(self.photos_sql(query), {"person_id": person_id, **query._asdict()})
            return await cursor.fetchall()

    def photos_sql(self, query: PhotoQuery) -> LiteralString:
        """The statement behind a photos call: whose, which, in what order, then the page of them."""
        columns = (
            "person_id, link_id, media_asset_id, kind, position, is_primary, facebank_seed,"
            " served_url, source_url, hosted_url, hosted_key, width, height"
        )
        return (
            f"select {columns} from {self.photos_source()} where {self.photos_condition(query)}"
            f" order by {self.photos_order(query)} {self.photos_page(query)}"
        )

    def photos_source(self) -> LiteralString:
        """The relation that holds everybody's photos."""
        return "core.v_person_images"

    def photos_condition(self, query: PhotoQuery) -> LiteralString:
        """Which of them are asked for."""
        return "person_id = %(person_id)s and facebank_seed" if query.seed_only else "person_id = %(person_id)s"

    def photos_order(self, query: PhotoQuery) -> LiteralString:
        """The order of the list, total so that pages fit together."""
        return "is_primary desc nulls last, position asc nulls last, link_id"

    def photos_page(self, query: PhotoQuery) -> LiteralString:
        """The part of the list that is answered."""
        return "limit %(limit)s offset %(offset)s"

    def photo(self, row: PhotoRow) -> dict[str, Any]:
        """One element of the answer."""
        return {
            "served_url": row.served_url,
            "hosted_key": row.hosted_key,
            "is_primary": row.is_primary,
            "width": row.width,
            "height": row.height,
            "kind": row.kind,
        }

    # The cast

    async def cast(self, request: Request, episode_id: str) -> Response:
        """Authorize, read, select, answer: in this order; an unknown episode has no cast."""
        self.authorize_reader(request)
        episode = self.parse_id("episode_id", episode_id)
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select people.id, people.full_name, billing_order from core.episode_cast"
                " join core.people on people.id = person_id where episode_id = %s"
                " order by billing_order asc nulls last, people.id",
                (episode,),
            )
            rows = await cursor.fetchall()
        return self.json(
            [{"person_id": str(person), "full_name": name, "billing_order": order} for person, name, order in rows]
        )

    # The answer

    def json(self, value: Any, status: int = 200) -> Response:
        """A JSON response."""
        return Response(json.dumps(value, separators=(",", ":")), status, media_type="application/json")


def create_app(backend: Backend) -> FastAPI:
    """The HTTP application of a backend, whose own OpenAPI document says what it does."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with backend.pool:
            yield

    app = FastAPI(title="TRR-Backend (reference)", lifespan=lifespan, redirect_slashes=False)

    @app.exception_handler(psycopg.Error)
    async def storage_failed(request: Request, error: psycopg.Error) -> Response:
        return backend.json({"detail": "Database error"}, http.HTTPStatus.BAD_GATEWAY)

    @app.get(HEALTH, include_in_schema=False)
    async def health() -> Response:
        async with backend.pool.connection() as connection:
            await connection.execute("select 1")
        return backend.json({"status": "ok"})

    @app.exception_handler(ClientDisconnect)
    async def client_left(request: Request, error: ClientDisconnect) -> Response:
        return backend.json({"detail": "The request was cut short"}, http.HTTPStatus.BAD_REQUEST)

    @app.api_route(
        TOGGLE_PATH,
        methods=list(backend.toggle_methods),
        operation_id="toggleFacebankSeed",
        responses={200: {"model": ToggleResponse}, **_refusals(401, 403, 404, 409, 413, 415, 422, 502)},
        openapi_extra={
            "parameters": [_path_id("person_id"), _path_id("link_id")],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": ToggleRequest.model_json_schema()}},
            },
            "security": [{"serviceRole": [], "internalSecret": []}, {"adminUser": []}],
        },
    )
    async def toggle(request: Request) -> Response:
        """Set whether a gallery image seeds the person's face bank."""
        return await backend.toggle(request, **request.path_params)

    @app.get(
        PHOTOS_PATH,
        operation_id="listPersonPhotos",
        responses={200: {"model": list[Photo]}, **_refusals(401, 422, 502)},
        openapi_extra={
            "parameters": [
                _path_id("person_id"),
                _query("seed_only", {"type": "boolean", "default": False}),
                _query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
                _query("offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}),
            ],
            "security": [{"screenalytics": []}],
        },
    )
    async def photos(request: Request) -> Response:
        """List a person's photos, the primary one first."""
        return await backend.photos(request, **request.path_params)

    @app.get(
        CAST_PATH,
        operation_id="listEpisodeCast",
        responses={200: {"model": list[CastRow]}, **_refusals(401, 422, 502)},
        openapi_extra={"parameters": [_path_id("episode_id")], "security": [{"screenalytics": []}]},
    )
    async def cast(request: Request) -> Response:
        """List the people of an episode, in billing order."""
        return await backend.cast(request, **request.path_params)

    _declare_security(app)
    return app


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": http.HTTPStatus(status).phrase} for status in statuses}


def _path_id(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _declare_security(app: FastAPI) -> None:
    bearer = {"type": "http", "scheme": "bearer"}
    schemes = {
        "serviceRole": {**bearer, "bearerFormat": "JWT"},
        "adminUser": {**bearer, "bearerFormat": "JWT"},
        "internalSecret": {"type": "apiKey", "in": "header", "name": "X-TRR-Internal-Admin-Secret"},
        "screenalytics": bearer,
    }
    app.openapi().setdefault("components", {})["securitySchemes"] = schemes
