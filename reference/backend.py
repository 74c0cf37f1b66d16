"""The reference TRR-Backend: the face bank toggle, the person photos, the cast and the media workflow.

Every method of `Backend` is one decision, so that a rogue is a subclass that takes one of them differently.
"""

from __future__ import annotations

import contextlib
import http
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg
from fastapi import FastAPI, HTTPException, Request, Response
from psycopg.rows import class_row
from pydantic import BaseModel, StrictBool
from starlette.requests import ClientDisconnect

from reference import media_api, openapi
from reference.access import Connection
from reference.media import Media
from reference.serving import HEALTH

TOGGLE_PATH = "/api/v1/admin/person/{person_id}/gallery/{link_id}/facebank-seed"
PHOTOS_PATH = "/api/v1/screenalytics/people/{person_id}/photos"
CAST_PATH = "/api/v1/screenalytics/episodes/{episode_id}/cast"

DEFAULT_LIMIT, MAX_LIMIT = 200, 500
MAX_OFFSET = 2**63 - 1  # Postgres counts rows in a bigint

_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


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


class Backend(Media):
    """TRR-Backend, decision by decision: its toggle and photos, and with `Media` all the rest."""

    toggle_methods: Sequence[str] = ("PATCH",)

    # What is asked

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
                "select people.id, people.full_name, billing_order from core.v_episode_cast"
                " join core.people on people.id = person_id where episode_id = %s"
                " order by billing_order asc nulls last, people.id",
                (episode,),
            )
            rows = await cursor.fetchall()
        return self.json(
            [{"person_id": str(person), "full_name": name, "billing_order": order} for person, name, order in rows]
        )

    # What it says of itself

    def describe(self, document: dict[str, Any]) -> dict[str, Any]:
        """Its own OpenAPI document, as the framework wrote it."""
        return document


def create_app(backend: Backend) -> FastAPI:
    """The HTTP application of a backend, whose own OpenAPI document says what it does."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with backend.pool, backend.client:
            yield
            await backend.stop()

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
        responses={200: {"model": ToggleResponse}, **openapi.refusals(401, 403, 404, 409, 413, 415, 422, 502)},
        openapi_extra={
            "parameters": [openapi.path_id("person_id"), openapi.path_id("link_id")],
            "requestBody": openapi.body(ToggleRequest),
            "security": [{"serviceRole": [], "internalSecret": []}, {"adminUser": []}],
        },
    )
    async def toggle(request: Request) -> Response:
        """Set whether a gallery image seeds the person's face bank."""
        return await backend.toggle(request, **request.path_params)

    @app.get(
        PHOTOS_PATH,
        operation_id="listPersonPhotos",
        responses={200: {"model": list[Photo]}, **openapi.refusals(401, 422, 502)},
        openapi_extra={
            "parameters": [
                openapi.path_id("person_id"),
                openapi.query("seed_only", {"type": "boolean", "default": False}),
                openapi.query(
                    "limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
                ),
                openapi.query("offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}),
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
        responses={200: {"model": list[CastRow]}, **openapi.refusals(401, 422, 502)},
        openapi_extra={"parameters": [openapi.path_id("episode_id")], "security": [{"screenalytics": []}]},
    )
    async def cast(request: Request) -> Response:
        """List the people of an episode, in billing order."""
        return await backend.cast(request, **request.path_params)

    app.include_router(media_api.router(backend))
    openapi.declare(app, _SECURITY, ToggleRequest, *media_api.REQUESTS)
    document = app.openapi
    app.openapi = lambda: backend.describe(document())  # type: ignore[method-assign]
    return app


_COUNT = {"type": "integer"}
_BEARER = {"type": "http", "scheme": "bearer"}
_SECURITY = {
    "serviceRole": {**_BEARER, "bearerFormat": "JWT"},
    "adminUser": {**_BEARER, "bearerFormat": "JWT"},
    "internalSecret": {"type": "apiKey", "in": "header", "name": "X-TRR-Internal-Admin-Secret"},
    "screenalytics": _BEARER,
}
