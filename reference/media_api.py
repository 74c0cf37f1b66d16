"""The HTTP endpoints of the media workflow, and what the backend's OpenAPI document says of them."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from reference.media import (
    DEFAULT_CANDIDATES,
    DEFAULT_MIN_WIDTH,
    MAX_CANDIDATES,
    MAX_IMAGES,
    MEDIA_PATH,
    Media,
    kinds,
)
from reference.openapi import body, path_id, query, refusals

PREVIEW_PATH = "/api/v1/admin/scrape/preview"
IMPORT_PATH = "/api/v1/admin/scrape/import"
STREAM_PATH = "/api/v1/admin/scrape/import/stream"
ASSET_PATH = "/api/v1/admin/media-assets/{asset_id}"

EntityType = Literal["season", "show", "person"]

SECURITY: list[dict[str, list[str]]] = [{"serviceRole": []}, {"adminUser": []}]


class PreviewRequest(BaseModel):
    """The body of a preview: a page, and whose exclusions count."""

    url: str
    min_width: int | None = Field(DEFAULT_MIN_WIDTH, ge=0)
    limit: int | None = Field(DEFAULT_CANDIDATES, ge=1, le=MAX_CANDIDATES)
    entity_type: EntityType | None = None
    entity_id: UUID | None = None
    show_id: UUID | None = None
    season_number: int | None = None


class Candidate(BaseModel):
    """An image of a page that could be imported."""

    id: str
    original_url: str
    best_url: str
    width: int | None
    height: int | None
    bytes: int | None
    alt_text: str | None
    context: str | None
    thumbnail_url: str | None


class PreviewResponse(BaseModel):
    """What a page offers."""

    url: str
    page_title: str | None
    page_published_at: str | None
    domain: str | None
    images: list[Candidate]
    total_found: int
    error: None


def _known_kinds(schema: dict[str, JsonValue]) -> None:
    schema["enum"] = [*sorted(kinds()), None]


class ImportImage(BaseModel):
    """One image of an import."""

    candidate_id: str | None = None
    url: str
    kind: str | None = Field("other", json_schema_extra=_known_kinds)
    caption: str | None = None
    person_ids: list[UUID] | None = None


class ImportRequest(BaseModel):
    """The body of an import: a season needs season_id, or show_id and season_number, the others their own id."""

    entity_type: EntityType | None = "season"
    season_id: UUID | None = None
    show_id: UUID | None = None
    season_number: int | None = None
    person_id: UUID | None = None
    source_url: str
    images: list[ImportImage] = Field(min_length=1, max_length=MAX_IMAGES)


class ImportedAsset(BaseModel):
    """An asset that an import made."""

    id: UUID
    hosted_url: str | None
    source_url: str
    width: int | None
    height: int | None
    caption: str | None


class ImportResponse(BaseModel):
    """What became of the images of an import."""

    imported: int
    skipped_duplicates: int
    errors: list[str]
    assets: list[ImportedAsset]


class DeleteResponse(BaseModel):
    """What a delete removed."""

    asset_id: UUID
    deleted_links: int
    deleted_asset: bool
    s3_deleted: bool
    s3_error: str | None


class PeopleCountResponse(BaseModel):
    """How many people the vision service sees in an image."""

    model_config = ConfigDict(protected_namespaces=())

    asset_id: UUID
    people_count: int
    face_count: int | None
    detector: str | None
    model: str | None


class TextOverlayResponse(BaseModel):
    """Whether text lies over an image."""

    asset_id: UUID
    has_text_overlay: bool
    detector: str


REQUESTS = (PreviewRequest, ImportRequest)
"""The models of request bodies, which FastAPI does not see."""


def router(media: Media) -> APIRouter:
    """The endpoints of a media workflow."""
    routes = APIRouter()

    @routes.post(
        PREVIEW_PATH,
        operation_id="previewScrape",
        responses={200: {"model": PreviewResponse}, **refusals(400, 401, 403, 404, 413, 415, 422, 502)},
        openapi_extra={"requestBody": body(PreviewRequest), "security": SECURITY},
    )
    async def preview(request: Request) -> Response:
        """List the images of a page that could be imported."""
        return await media.preview(request)

    @routes.post(
        IMPORT_PATH,
        operation_id="importImages",
        responses={200: {"model": ImportResponse}, **refusals(401, 403, 404, 413, 415, 422, 502)},
        openapi_extra={"requestBody": body(ImportRequest), "security": SECURITY},
    )
    async def import_images(request: Request) -> Response:
        """Import images of a page for a season, a show or a person."""
        return await media.import_images(request)

    @routes.post(
        STREAM_PATH,
        operation_id="streamImport",
        responses={
            200: {
                "description": "An event before each download, one after it, and the summary last.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **refusals(401, 403, 404, 413, 415, 422, 502),
        },
        response_class=Response,
        openapi_extra={"requestBody": body(ImportRequest), "security": SECURITY},
    )
    async def import_stream(request: Request) -> Response:
        """Import as `importImages` does, and tell the progress as server-sent events."""
        return await media.import_stream(request)

    @routes.delete(
        ASSET_PATH,
        operation_id="deleteMediaAsset",
        responses={200: {"model": DeleteResponse}, **refusals(401, 403, 404, 422, 502)},
        openapi_extra={"parameters": [path_id("asset_id"), _flag("exclude")], "security": SECURITY},
    )
    async def delete_asset(request: Request) -> Response:
        """Delete an asset and its links; with `exclude`, keep it from being scraped for those entities again."""
        return await media.delete_asset(request, **request.path_params)

    @routes.post(
        f"{ASSET_PATH}/auto-count",
        operation_id="countPeople",
        responses={200: {"model": PeopleCountResponse}, **refusals(401, 403, 404, 422, 502, 503)},
        openapi_extra={"parameters": [path_id("asset_id"), _flag("force")], "security": SECURITY},
    )
    async def auto_count(request: Request) -> Response:
        """Count the people in an image, anew where forced."""
        return await media.auto_count(request, **request.path_params)

    @routes.post(
        f"{ASSET_PATH}/detect-text-overlay",
        operation_id="detectTextOverlay",
        responses={200: {"model": TextOverlayResponse}, **refusals(401, 403, 404, 422, 502)},
        openapi_extra={"parameters": [path_id("asset_id"), _flag("force")], "security": SECURITY},
    )
    async def detect_text_overlay(request: Request) -> Response:
        """Tell whether text lies over an image, looking anew where forced."""
        return await media.detect_text_overlay(request, **request.path_params)

    @routes.get(f"{MEDIA_PATH}/{{key:path}}", include_in_schema=False)
    async def hosted_copy(key: str) -> Response:
        """Serve the hosted copy of an image."""
        return await media.hosted_copy(key)

    return routes


def _flag(name: str) -> dict[str, Any]:
    return query(name, {"type": "boolean", "default": False})
