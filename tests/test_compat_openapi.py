"""A backend's own document against the contract, and two versions of the contract."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import pytest
from fastapi import Depends, FastAPI, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, HttpUrl

import contracts
from conformance.compat import openapi
from conformance.compat.openapi import Finding, NotOpenAPI, OpenAPI
from conformance.compat.schemas import Verdict
from conformance.compat.witness import MISSING

PINNED = contracts.load().openapi()
TOGGLE = "/api/v1/admin/person/{person_id}/gallery/{link_id}/facebank-seed"
PHOTOS = "/api/v1/screenalytics/people/{person_id}/photos"
PREVIEW = "/api/v1/admin/scrape/preview"
IMPORT = "/api/v1/admin/scrape/import"
ASSET = "/api/v1/admin/media-assets/{asset_id}"


# --- a backend as teams write them -----------------------------------------------------------------------------------


class ToggleBody(BaseModel):
    facebank_seed: bool


class Toggled(BaseModel):
    link_id: UUID
    person_id: str
    facebank_seed: bool
    updated_at: datetime.datetime | None = None


class PersonPhoto(BaseModel):
    served_url: str
    hosted_key: str | None = None
    is_primary: bool | None = None
    width: int | None = Field(None, ge=1)
    media_asset_id: UUID | None = None


class ImageKind(StrEnum):
    POSTER, BACKDROP, EPISODE_STILL, CAST = "poster", "backdrop", "episode_still", "cast"
    PROMO, INTRO, REUNION, OTHER, LOGO = "promo", "intro", "reunion", "other", "logo"


class PreviewBody(BaseModel):
    url: str
    min_width: int = 200
    limit: int = Field(50, ge=1, le=100)
    entity_type: str | None = None
    entity_id: UUID | None = None
    show_id: UUID | None = None
    season_number: int | None = Field(None, ge=0)
    dry: bool = False


class Candidate(BaseModel):
    id: str
    original_url: str
    best_url: str
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    context: str | None = None


class Preview(BaseModel):
    url: str
    page_title: str | None = None
    page_published_at: str | None = None
    images: list[Candidate] = []
    total_found: int = 0
    error: str | None = None


class ImportImage(BaseModel):
    candidate_id: str
    url: HttpUrl
    kind: ImageKind = ImageKind.OTHER
    caption: str | None = None
    person_ids: list[UUID] | None = None


class ImportBody(BaseModel):
    entity_type: str = "season"
    season_id: UUID | None = None
    show_id: UUID | None = None
    season_number: int | None = None
    person_id: UUID | None = None
    source_url: str
    images: list[ImportImage] = Field(min_length=1, max_length=50)


class ImportedAsset(BaseModel):
    id: UUID
    hosted_url: str | None = None
    width: int | None = None
    height: int | None = None
    caption: str | None = None


class Imported(BaseModel):
    imported: int = 0
    skipped_duplicates: int = 0
    errors: list[str] = []
    assets: list[ImportedAsset] = []


class Deleted(BaseModel):
    asset_id: str
    deleted_links: int


class Counted(BaseModel):
    people_count: int


def usual(prefix: str = "/api/v1") -> dict[str, Any]:
    """What FastAPI writes for a backend that keeps the contract, with other names than the contract's."""
    app = FastAPI()

    def secret(x_trr_internal_admin_secret: Annotated[str, Header()], authorization: Annotated[str, Header()]) -> None:
        pass

    @app.patch(f"{prefix}/admin/person/{{person}}/gallery/{{link}}/facebank-seed", dependencies=[Depends(secret)])
    def toggle(person: UUID, link: str, body: ToggleBody) -> Toggled: ...  # type: ignore[empty-body]

    @app.get(f"{prefix}/screenalytics/people/{{id}}/photos", responses={401: {"description": "No"}})
    def photos(  # type: ignore[empty-body]
        id: UUID,
        seed_only: bool | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 200,
        offset: Annotated[int, Query(ge=0)] = 0,
        order: str = "",
    ) -> list[PersonPhoto]: ...

    @app.post(f"{prefix}/admin/scrape/preview")
    def preview(body: PreviewBody) -> Preview: ...  # type: ignore[empty-body]

    @app.post(f"{prefix}/admin/scrape/import")
    def import_images(body: ImportBody) -> Imported: ...  # type: ignore[empty-body]

    @app.post(f"{prefix}/admin/scrape/import/stream")
    def stream(body: ImportBody) -> StreamingResponse: ...  # type: ignore[empty-body]

    @app.delete(f"{prefix}/admin/media-assets/{{asset_id}}")
    def delete(asset_id: UUID, exclude: bool = True) -> Deleted: ...  # type: ignore[empty-body]

    @app.post(f"{prefix}/admin/media-assets/{{asset_id}}/auto-count")
    def count(asset_id: UUID, force: bool = False) -> Counted: ...  # type: ignore[empty-body]

    @app.post(f"{prefix}/admin/media-assets/{{asset_id}}/detect-text-overlay")
    def overlay(asset_id: UUID, force: bool = False) -> dict[str, Any]: ...  # type: ignore[empty-body]

    @app.get("/health")
    def health() -> dict[str, str]: ...  # type: ignore[empty-body]

    return app.openapi()


def less(document: Any) -> list[Finding]:
    found = openapi.drift(OpenAPI(PINNED), OpenAPI(document, published=True))
    return [finding for finding in found if finding.change.verdict is Verdict.BREAKING]


def test_the_contract_promises_no_less_than_itself() -> None:
    assert less(PINNED) == []


def test_usual_output_of_the_framework_raises_no_alarm() -> None:
    assert [(one.operation, one.where, one.change) for one in less(usual())] == []


def test_a_server_may_hang_the_paths_under_a_prefix() -> None:
    document = usual(prefix="")
    assert {finding.change.rule for finding in less(document)} == {"operation-removed"}
    assert less({**document, "servers": [{"url": "https://backend.example/api/v1/"}]}) == []


def test_variables_of_a_server_have_their_defaults() -> None:
    variables = {"version": {"default": "v1"}}
    server = {"url": "https://backend.example/api/{version}", "variables": variables}
    assert less({**usual(prefix=""), "servers": [server]}) == []


EVENT = {"type": "object", "properties": {"data": {"type": "string"}, "event": {"type": "string"}}}
STREAMS: dict[str, Any] = {
    "the media type alone": {"text/event-stream": {}},
    "the media type beside any JSON": {"application/json": {"schema": {}}, "text/event-stream": {"schema": {}}},
    "text": {"text/event-stream": {"schema": {"type": "string"}}},
    "the schema of an event": {"text/event-stream": {"schema": EVENT}},
    "events as OpenAPI 3.2 has them": {"text/event-stream": {"itemSchema": EVENT}},
}


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in STREAMS.items()])
def test_stream_is_a_stream_however_it_is_described(content: Any) -> None:
    document = usual()
    operation(document, f"{IMPORT}/stream", "post")["responses"]["200"]["content"] = content
    assert less(document) == []


def as_3_0(value: Any) -> Any:
    """A 3.1 document in the words of 3.0: nullable instead of a null branch."""
    if isinstance(value, list):
        return [as_3_0(item) for item in value]
    if not isinstance(value, dict):
        return value
    members = {key: as_3_0(member) for key, member in value.items()}
    branches = members.get("anyOf", [])
    if {"type": "null"} in branches:
        [other] = [branch for branch in branches if branch != {"type": "null"}]
        rest = {key: member for key, member in members.items() if key != "anyOf"}
        return {**rest, **({"allOf": [other]} if "$ref" in other else other), "nullable": True}
    if isinstance(members.get("type"), list):
        [kind] = [kind for kind in members["type"] if kind != "null"]
        return {**members, "type": kind, "nullable": True}
    return members


def test_openapi_3_0_is_read_too() -> None:
    document = {**as_3_0(usual()), "openapi": "3.0.3"}
    assert '"nullable": true' in json.dumps(document)
    assert [(one.operation, one.where, one.change) for one in less(document)] == []
    schema = document["components"]["schemas"]["PersonPhoto"]["properties"]["hosted_key"]
    del schema["nullable"]
    assert less(document) == []
    document["components"]["schemas"]["PersonPhoto"]["properties"]["served_url"]["nullable"] = True
    assert [one.change.rule for one in less(document)] == ["response-null-added"]


# --- one promise taken away ------------------------------------------------------------------------------------------


class Less(NamedTuple):
    """An edit of a document, and the finding that names it."""

    edit: Callable[[Any], object]
    rule: str
    operation: str
    where: str
    name: str | None = None


def operation(document: Any, path: str, method: str) -> Any:
    wanted = openapi._shape(path)
    return next(item for at, item in document["paths"].items() if openapi._shape(at) == wanted)[method]


def parameter(document: Any, path: str, method: str, name: str) -> Any:
    return next(one for one in operation(document, path, method)["parameters"] if one["name"] == name)


def drop(document: Any, path: str, method: str) -> None:
    at = next(at for at in document["paths"] if openapi._shape(at) == openapi._shape(path))
    del document["paths"][at][method]


def optional(model: str, name: str) -> Callable[[Any], object]:
    return lambda document: document["components"]["schemas"][model]["required"].remove(name)


def put(model: str, name: str, schema: Any) -> Callable[[Any], object]:
    return lambda document: document["components"]["schemas"][model]["properties"].update({name: schema})


def only(status: str) -> Callable[[Any], object]:
    def edit(document: Any) -> None:
        responses = operation(document, TOGGLE, "patch")["responses"]
        responses[status] = responses.pop("200")

    return edit


JSON_200, JSON_BODY = "200 application/json", "request application/json"
LESS = {
    "a path is gone": Less(lambda d: drop(d, PHOTOS, "get"), "operation-removed", PHOTOS, "operation"),
    "another method": Less(
        lambda d: (
            d["paths"].update({TOGGLE: {"put": operation(d, TOGGLE, "patch")}})
            or drop({"paths": {k: v for k, v in d["paths"].items() if k != TOGGLE}}, TOGGLE, "patch")
        ),
        *("operation-removed", TOGGLE, "operation"),
    ),
    "a required field is optional": Less(
        optional("PersonPhoto", "served_url"), "response-required-removed", PHOTOS, JSON_200, "served_url"
    ),
    "a type is another": Less(
        put("PersonPhoto", "width", {"type": "string"}), "response-type-changed", PHOTOS, JSON_200, "width"
    ),
    "a type is wider": Less(
        put("Candidate", "bytes", {"type": "number"}), "response-type-changed", PREVIEW, JSON_200, "bytes"
    ),
    "null where none was": Less(
        put("Toggled", "facebank_seed", {"anyOf": [{"type": "boolean"}, {"type": "null"}]}),
        *("response-null-added", TOGGLE, JSON_200, "facebank_seed"),
    ),
    "another status": Less(only("202"), "response-status-added", TOGGLE, "202"),
    "no body is promised": Less(
        lambda d: operation(d, TOGGLE, "patch")["responses"]["200"].pop("content"),
        *("response-body-removed", TOGGLE, "200"),
    ),
    "any body is promised": Less(
        lambda d: operation(d, TOGGLE, "patch")["responses"]["200"]["content"]["application/json"].update(schema={}),
        *("response-type-removed", TOGGLE, JSON_200),
    ),
    "a kind is not taken": Less(
        lambda d: d["components"]["schemas"]["ImageKind"]["enum"].remove("promo"),
        *("request-enum-value-removed", IMPORT, JSON_BODY, "kind"),
    ),
    "more is demanded in the body": Less(
        lambda d: d["components"]["schemas"]["PreviewBody"]["required"].append("min_width"),
        *("request-required-added", PREVIEW, JSON_BODY, "min_width"),
    ),
    "more is demanded in the query": Less(
        lambda d: parameter(d, PHOTOS, "get", "order").update(required=True),
        *("request-parameter-added", PHOTOS, "query order"),
    ),
    "a filter is gone": Less(
        lambda d: operation(d, PHOTOS, "get")["parameters"].remove(parameter(d, PHOTOS, "get", "seed_only")),
        *("request-parameter-removed", PHOTOS, "query seed_only"),
    ),
    "a bound of the contract is tighter": Less(
        lambda d: parameter(d, PHOTOS, "get", "limit")["schema"].update(maximum=100),
        *("request-maximum-lowered", PHOTOS, "query limit"),
    ),
    "another media type": Less(
        lambda d: operation(d, PREVIEW, "post")["requestBody"].update(content={"multipart/form-data": {"schema": {}}}),
        *("request-media-type-removed", PREVIEW, JSON_BODY),
    ),
    "the list is wrapped": Less(
        lambda d: operation(d, PHOTOS, "get")["responses"]["200"]["content"]["application/json"].update(
            schema={"type": "object", "properties": {"photos": {"type": "array"}}}
        ),
        *("response-type-changed", PHOTOS, JSON_200),
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in LESS.items()])
def test_one_promise_less_is_named(case: Less) -> None:
    document = copy.deepcopy(usual())
    case.edit(document)
    found = less(document)
    assert found, "nothing was found"
    named = [
        finding
        for finding in found
        if finding.change.rule == case.rule
        and finding.operation.endswith(case.operation)
        and finding.where == case.where
    ]
    assert named, [(finding.change, finding.where) for finding in found]
    assert case.name in (None, named[0].change.name)
    # the same component may serve several operations, but nothing else is said to be less
    assert len({finding.operation for finding in found}) <= 2


def test_what_cannot_be_told_is_no_alarm() -> None:
    document = copy.deepcopy(usual())
    put("PersonPhoto", "width", {"type": "integer", "x-unit": "px", "contentEncoding": "base64"})(document)
    found = openapi.drift(OpenAPI(PINNED), OpenAPI(document, published=True))
    assert less(document) == []
    assert any(finding.change.verdict is Verdict.UNPROVEN for finding in found)


@pytest.mark.parametrize(
    "data, says",
    [
        ([], "there is no member openapi"),
        ({"swagger": "2.0"}, "there is no member openapi"),
        ({"openapi": "2.0"}, "3.0 and 3.1 are read"),
        ({"openapi": "3.1.0", "paths": []}, "paths is no object"),
        ({"openapi": "3.1.0", "paths": {"/a": {"get": 1}}}, "is not laid out as OpenAPI"),
        ({"openapi": "3.1.0", "paths": {"/a": {"$ref": "#/paths/~1a"}}}, "is not laid out as OpenAPI"),
    ],
)
def test_what_is_no_openapi_is_one_line(data: Any, says: str) -> None:
    with pytest.raises(NotOpenAPI) as refusal:
        OpenAPI(data, published=True)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


# --- two versions of the contract ------------------------------------------------------------------------------------


def document(**operation: Any) -> dict[str, Any]:
    """A contract of one operation."""
    record = {"operationId": "do", "responses": {"200": {"description": "Done."}}, **operation}
    return {"openapi": "3.1.0", "info": {"title": "", "version": "1"}, "paths": {"/do/{id}": {"post": record}}}


def query(name: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "schema": {"type": "string"}, **more}]


def body(*media_types: str, required: bool = False) -> dict[str, Any]:
    return {"required": required, "content": {media_type: {"schema": {}} for media_type in media_types}}


def answers(*statuses: str, content: tuple[str, ...] = ()) -> dict[str, Any]:
    return {status: {"description": "", "content": {name: {} for name in content}} for status in statuses}


B, C = Verdict.BREAKING, Verdict.COMPATIBLE
NONE: dict[str, Any] = {"openapi": "3.1.0", "paths": {}}
STEPS = {
    "operation added": (NONE, document(), "operation-added", C),
    "operation removed": (document(), NONE, "operation-removed", B),
    "required parameter added": (
        document(),
        document(parameters=query("a", required=True)),
        *("request-parameter-added", B),
    ),
    "parameter added": (document(), document(parameters=query("a")), "request-parameter-added", C),
    "parameter removed": (document(parameters=query("a")), document(), "request-parameter-removed", B),
    "parameter required": (
        document(parameters=query("a")),
        document(parameters=query("a", required=True)),
        *("request-parameter-became-required", B),
    ),
    "parameter not required": (
        document(parameters=query("a", required=True)),
        document(parameters=query("a")),
        *("request-parameter-became-optional", C),
    ),
    "parameter narrowed": (
        document(parameters=query("a")),
        document(parameters=query("a", schema={"type": "string", "enum": ["x"]})),
        *("request-enum-added", B),
    ),
    "body added": (document(), document(requestBody=body("a/b")), "request-body-added", C),
    "required body added": (document(), document(requestBody=body("a/b", required=True)), "request-body-added", B),
    "body removed": (document(requestBody=body("a/b")), document(), "request-body-removed", B),
    "body required": (
        document(requestBody=body("a/b")),
        document(requestBody=body("a/b", required=True)),
        *("request-body-became-required", B),
    ),
    "body not required": (
        document(requestBody=body("a/b", required=True)),
        document(requestBody=body("a/b")),
        *("request-body-became-optional", C),
    ),
    "media type taken": (
        document(requestBody=body("a/b")),
        document(requestBody=body("a/b", "a/c")),
        *("request-media-type-added", C),
    ),
    "media type not taken": (
        document(requestBody=body("a/b", "a/c")),
        document(requestBody=body("a/c")),
        *("request-media-type-removed", B),
    ),
    "success added": (document(), document(responses=answers("200", "202")), "response-status-added", B),
    "success removed": (
        document(responses=answers("200", "404")),
        document(responses=answers("404")),
        *("response-status-removed", B),
    ),
    "refusal added": (document(), document(responses=answers("200", "404")), "response-status-added", B),
    "refusal named that was covered": (
        document(responses=answers("200", "4XX")),
        document(responses=answers("200", "4XX", "404")),
        *("response-status-added", C),
    ),
    "refusal removed": (document(responses=answers("200", "404")), document(), "response-status-removed", C),
    "answer described": (document(), document(responses=answers("200", content=("a/b",))), "response-body-added", C),
    "answer not described": (
        document(responses=answers("200", content=("a/b",))),
        document(),
        *("response-body-removed", B),
    ),
    "media type answered": (
        document(responses=answers("200", content=("a/b",))),
        document(responses=answers("200", content=("a/b", "a/c"))),
        *("response-media-type-added", B),
    ),
    "media type not answered": (
        document(responses=answers("200", content=("a/b", "a/c"))),
        document(responses=answers("200", content=("a/b",))),
        *("response-media-type-removed", C),
    ),
    "other media type answered": (
        document(responses=answers("200", content=("a/b",))),
        document(responses=answers("200", content=("a/c",))),
        *("response-media-type-removed", B),
    ),
}


@pytest.mark.parametrize("old, new, rule, verdict", [pytest.param(*step, id=name) for name, step in STEPS.items()])
def test_step_of_the_contract(old: Any, new: Any, rule: str, verdict: Verdict) -> None:
    [finding] = openapi.diff(OpenAPI(old), OpenAPI(new))
    assert (finding.change.rule, finding.change.verdict) == (rule, verdict)
    assert (finding.change.witness is not MISSING) is (verdict is B)


def test_every_rule_of_operations_happens() -> None:
    from conformance.compat import rules

    of_bodies = {
        f"{way}-{subject}-{action}"
        for way in rules.DIRECTIONS
        for subject in ("body", "media-type")
        for action in ("added", "removed")
    }
    assert of_bodies | rules.ONE_SIDED.keys() <= {rule for _, _, rule, _ in STEPS.values()}


def test_names_of_path_parameters_do_not_matter() -> None:
    renamed = json.loads(json.dumps(document()).replace("{id}", "{other}"))
    assert openapi.diff(OpenAPI(document()), OpenAPI(renamed)) == []


def test_fingerprint_stays_and_tells_findings_apart() -> None:
    def findings() -> list[Finding]:
        return [finding for old, new, _, _ in STEPS.values() for finding in openapi.diff(OpenAPI(old), OpenAPI(new))]

    first, again = ([finding.fingerprint for finding in findings()] for _ in range(2))
    assert first == again
    distinct = {(one.change.rule, one.where, one.change.message) for one in findings()}
    assert len(set(first)) == len(distinct)


def test_the_references_own_document_is_clean() -> None:
    from reference.backend import Backend, create_app

    app = create_app(object.__new__(Backend))
    assert [(one.operation, one.where, one.change) for one in less(app.openapi())] == []
