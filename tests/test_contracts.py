"""The contracts are sound, and a broken file of theirs is one clear line."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

import contracts
from contracts import Clause, ContractError

SOURCE = Path(contracts.__file__).parent
CONTRACTS = contracts.load()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TOGGLE = "/api/v1/admin/person/{person_id}/gallery/{link_id}/facebank-seed"
PHOTOS = "/api/v1/screenalytics/people/{person_id}/photos"
PREVIEW = "/api/v1/admin/scrape/preview"
IMPORT = "/api/v1/admin/scrape/import"
STREAM = "/api/v1/admin/scrape/import/stream"
ASSET = "/api/v1/admin/media-assets/{asset_id}"
COUNT = "/api/v1/admin/media-assets/{asset_id}/auto-count"
OVERLAY = "/api/v1/admin/media-assets/{asset_id}/detect-text-overlay"
SYNC = "/episodes/{ep_id}/sync_cast_from_trr"
VISION = "/vision/people-count"
DOCUMENTS = ("backend", "app", "screenalytics")


def copy_contracts(folder: Path) -> Path:
    copy = Path(shutil.copytree(SOURCE, folder / "contracts", ignore=shutil.ignore_patterns("*.py", "__pycache__")))
    contracts.write_lock(copy)
    return copy


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the contracts to break."""
    return copy_contracts(tmp_path)


# --- As they are -----------------------------------------------------------------------------------------------------


def test_contracts_can_be_released() -> None:
    assert [str(finding) for finding in contracts.check()] == []


def test_every_clause_is_there() -> None:
    areas = {
        "GEN": 1,
        "AUTH": 12,
        "TOG": 12,
        "PHO": 12,
        "FALL": 12,
        "SYNC": 7,
        "PRX": 12,
        "BKD": 1,
        "BADGE": 1,
        "OAS": 1,
    }
    areas |= {"PRE": 10, "KIND": 2, "IMP": 6, "SSE": 9, "CAST": 5, "DEL": 2, "EXC": 6, "CNT": 3, "TXT": 1, "PUR": 2}
    ids = [f"{area}-{number:02}" for area, count in areas.items() for number in range(1, count + 1)]
    assert set(ids) <= CONTRACTS.clauses.keys()


def test_every_schema_of_a_message_is_promised_by_a_clause() -> None:
    """What a clause names, and what that refers to; the rest are formats of the contracts and of the tool itself."""
    named = {name for clause in CONTRACTS.clauses.values() for name in clause.schemas}
    grown: set[str] = set()
    while named - grown:
        grown |= named
        files = {reference.partition("#")[0] for name in grown for reference in references(CONTRACTS.schema(name))}
        named |= {file.removesuffix(".schema.json") for file in files if file}
    formats = {"clause-file", "stream-examples", "report", "rogues", "waivers"}
    assert set(CONTRACTS.schemas) - named == formats


def test_clauses_of_a_file_keep_their_order() -> None:
    for pattern in ("AUTH-*", "PHO-*", "TOG-*"):
        ids = CONTRACTS.select([pattern])
        assert ids == sorted(ids)


def test_default_folder_is_read_once() -> None:
    assert contracts.load() is contracts.load()
    assert contracts.load(SOURCE) is not contracts.load()


def test_contracts_cannot_be_changed_by_a_reader() -> None:
    clause = CONTRACTS.clauses["TOG-07"]
    with pytest.raises(FrozenInstanceError):
        clause.level = "SHOULD"  # type: ignore[misc]
    with pytest.raises(TypeError):
        CONTRACTS.clauses["TOG-07"] = clause  # type: ignore[index]
    CONTRACTS.schema("photo").clear()
    CONTRACTS.openapi().clear()
    assert CONTRACTS.schema("photo")["title"] == "Photo"
    assert CONTRACTS.openapi()["openapi"].startswith("3.1.")


def test_clause_has_what_its_record_says() -> None:
    assert CONTRACTS.clauses["TOG-10"] == Clause(
        id="TOG-10",
        level="MUST",
        targets=("backend",),
        statement="When storage fails the toggle answers a 5xx and the flag keeps its value.",
        riders=("The answer is exactly 502.",),
        source=("P",),
        why="Else the admin is told a lie.",
        operations=("toggleFacebankSeed", "listPersonPhotos"),
        schemas=("photo-list",),
        consumers=("app",),
    )


def test_loader_is_the_only_python_and_imports_no_other_room() -> None:
    assert [path.name for path in SOURCE.rglob("*.py")] == ["__init__.py"]
    imported = {
        module.partition(".")[0]
        for node in ast.walk(ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "contracts"]
        )
    }
    assert not imported & {"contracts", "conformance", "reference", "smoke", "tests"}


# --- Schemas ---------------------------------------------------------------------------------------------------------


def filed(side: str) -> list[Any]:
    paths = sorted((SOURCE / "examples").glob(f"*/{side}/*.json"))
    return [pytest.param(path.parts[-3], path, id=f"{path.parts[-3]}/{path.stem}") for path in paths]


@pytest.mark.parametrize("schema, path", filed("valid"))
def test_valid_example_is_taken(schema: str, path: Path) -> None:
    CONTRACTS.validator(schema).validate(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("schema, path", filed("invalid"))
def test_invalid_example_is_refused(schema: str, path: Path) -> None:
    assert not CONTRACTS.validator(schema).is_valid(json.loads(path.read_text(encoding="utf-8")))


def test_examples_are_found_by_side() -> None:
    assert CONTRACTS.examples("photo-list")["empty"] == []
    assert "row-is-null" in CONTRACTS.examples("photo-list", "invalid")
    assert CONTRACTS.examples("error", "invalid") == {}


@given(value=JSON, others=st.dictionaries(st.text(max_size=8), JSON, max_size=3))
def test_request_is_open_but_its_value_is_a_boolean(value: Any, others: dict[str, Any]) -> None:
    request = others | {"facebank_seed": value}
    assert CONTRACTS.validator("toggle-request").is_valid(request) is isinstance(value, bool)


@given(
    link=st.uuids(),
    person=st.uuids(),
    upper=st.booleans(),
    value=st.booleans(),
    others=st.dictionaries(st.text(), JSON),
)
def test_response_is_open_and_takes_uuids_in_any_case(
    link: UUID, person: UUID, upper: bool, value: bool, others: dict[str, Any]
) -> None:
    cased = str.upper if upper else str.lower
    response = others | {"link_id": cased(str(link)), "person_id": str(person), "facebank_seed": value}
    CONTRACTS.validator("toggle-response").validate(response)


def test_kinds_stand_in_one_place() -> None:
    """The allowlist as the plan has it, and requests refer to it."""
    kinds = ["poster", "backdrop", "episode_still", "cast", "promo", "intro", "reunion", "other"]
    assert CONTRACTS.schema("kind")["enum"] == kinds
    texts = [path.read_text(encoding="utf-8") for path in (SOURCE / "schemas").glob("*.json")]
    assert sum('"episode_still"' in text for text in texts) == 1


@given(
    width=st.none() | st.integers(),
    height=st.none() | st.integers(),
    size=st.none() | st.integers(min_value=0),
    absent=st.sets(st.sampled_from(["width", "height", "bytes"])),
    others=st.dictionaries(st.text(max_size=8), JSON, max_size=3),
)
def test_candidate_may_leave_out_what_is_not_known(
    width: int | None, height: int | None, size: int | None, absent: set[str], others: dict[str, Any]
) -> None:
    known = {"width": width, "height": height, "bytes": size}
    addresses = {"id": "1", "original_url": "https://press.example/a.png", "best_url": "https://press.example/a.png"}
    unknown = {key: value for key, value in others.items() if key not in CONTRACTS.schema("candidate")["properties"]}
    candidate = unknown | addresses | {key: value for key, value in known.items() if key not in absent}
    CONTRACTS.validator("candidate").validate(candidate)


IDS_OF_ENTITIES = ("season_id", "show_id", "person_id")


@given(
    entity=st.sampled_from([None, "season", "show", "person"]),
    ids=st.fixed_dictionaries({}, optional={key: st.none() | st.uuids().map(str) for key in IDS_OF_ENTITIES}),
    number=st.none() | st.integers(),
)
def test_import_needs_the_ids_of_its_entity_type(
    entity: str | None, ids: dict[str, str | None], number: int | None
) -> None:
    """IMP-06, as a table: the season is what no entity type means, and null is no id."""
    request: dict[str, Any] = ids | {"season_number": number, "source_url": "https://press.example/premiere"}
    request["images"] = [{"candidate_id": "1", "url": "https://press.example/a.png"}]
    if entity is not None:
        request["entity_type"] = entity
    has = {key for key, value in request.items() if value is not None}
    complete = {
        "show": "show_id" in has,
        "person": "person_id" in has,
    }.get(entity or "season", "season_id" in has or {"show_id", "season_number"} <= has)
    assert CONTRACTS.validator("import-request").is_valid(request) is complete


# --- Streams ---------------------------------------------------------------------------------------------------------


def data_lines(content: bytes) -> list[Any]:
    """What the app reads of a stream: each line that begins with `data: `, as one JSON text."""
    lines = re.split("\r\n|\r|\n", content.decode())
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


ROLES = {
    "stream-result": st.fixed_dictionaries({"status": st.sampled_from(["success", "duplicate", "excluded", "error"])}),
    "stream-summary": st.fixed_dictionaries({"imported": st.integers(0), "assets": st.just([])}),
    "stream-error": st.fixed_dictionaries({"error": st.text("ab", min_size=1)}),
    "stream-progress": st.fixed_dictionaries({"status": st.sampled_from(["downloading", "resizing"]) | st.none()}),
}


@given(data=st.data(), role=st.sampled_from(list(ROLES)), others=st.dictionaries(st.text(max_size=8), JSON, max_size=3))
def test_events_are_told_apart_by_their_members(data: st.DataObject, role: str, others: dict[str, Any]) -> None:
    """Whatever else an event has: it is judged by the schema of its role alone."""
    members = {"status", "imported", "assets", "error", "current"}
    event = {key: value for key, value in others.items() if key not in members} | data.draw(ROLES[role])
    nulls = data.draw(st.sets(st.sampled_from(sorted(members - event.keys()))))
    event |= dict.fromkeys(nulls)
    assert CONTRACTS.validator("stream-event").is_valid(event) is CONTRACTS.validator(role).is_valid(event)


@pytest.mark.parametrize("name", CONTRACTS.streams())
def test_valid_stream_is_a_summary_after_events(name: str) -> None:
    stream = CONTRACTS.streams()[name]
    *events, summary = data_lines(stream.content)
    for event in events:
        CONTRACTS.validator("stream-event").validate(event)
    CONTRACTS.validator("stream-summary").validate(summary)
    assert stream.breaks == ()
    results = [event for event in events if CONTRACTS.validator("stream-result").is_valid(event)]
    assert [result["url"] for result in results] == list(stream.images)


def test_streams_cover_what_is_permitted_and_each_clause_of_the_grammar() -> None:
    valid = [stream.content for stream in CONTRACTS.streams().values()]
    for piece in (b"\r\n", b"\r", b"\n: ", b"\nid: ", b"retry: ", b"event: message\n", "Å".encode(), b"\\u"):
        assert any(piece in content for content in valid), piece
    assert any(b"event:" not in content for content in valid)
    first = {stream.breaks[0] for stream in CONTRACTS.streams("invalid").values()}
    assert first == {"SSE-01", "SSE-02", "SSE-03", "SSE-04", "SSE-06", "SSE-07"}


@given(body=JSON)
def test_any_error_body_is_permitted(body: Any) -> None:
    assert CONTRACTS.validator("error").is_valid(body)


@given(body=JSON)
def test_photo_list_is_an_array_of_photos(body: Any) -> None:
    photo = CONTRACTS.validator("photo")
    assert CONTRACTS.validator("photo-list").is_valid(body) is (
        isinstance(body, list) and all(photo.is_valid(row) for row in body)
    )


# --- OpenAPI ---------------------------------------------------------------------------------------------------------


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_openapi_is_valid_and_self_contained(name: str) -> None:
    document = CONTRACTS.openapi(name)
    validate(document)
    assert all(reference.startswith("#/") for reference in references(document))


def test_openapi_has_the_schemas_it_needs_and_no_more() -> None:
    assert CONTRACTS.openapi("screenalytics")["components"]["schemas"].keys() == {
        "sync-response",
        "vision-request",
        "vision-response",
    }


def test_schemathesis_finds_every_operation() -> None:
    schema = schemathesis.openapi.from_dict(CONTRACTS.openapi())
    assert {path: list(schema[path]) for path in schema} == {
        TOGGLE: ["patch"],
        PHOTOS: ["get"],
        PREVIEW: ["post"],
        IMPORT: ["post"],
        STREAM: ["post"],
        ASSET: ["delete"],
        COUNT: ["post"],
        OVERLAY: ["post"],
    }


def test_every_operation_has_a_clause_and_no_clause_another() -> None:
    named = {operation for clause in CONTRACTS.clauses.values() for operation in clause.operations}
    documents = [CONTRACTS.openapi(name) for name in DOCUMENTS]
    operations = {
        operation["operationId"]
        for document in documents
        for item in document["paths"].values()
        for operation in item.values()
    }
    assert operations == named


UUID_UPPER = "1B3CB751-E6D0-594C-ACDB-57958C463495"
IDS = {"link_id": UUID_UPPER.lower(), "person_id": UUID_UPPER.lower()}
PATH_IDS = IDS | {"asset_id": UUID_UPPER.lower(), "ep_id": "s02e01"}
TOGGLED = IDS | {"link_id": UUID_UPPER, "facebank_seed": True, "more": None}
CHECKED = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.mark.parametrize(
    "path, method, status, media_type, body, conforms",
    [
        (TOGGLE, "PATCH", 200, "application/json", TOGGLED, True),
        (TOGGLE, "PATCH", 200, "application/json", TOGGLED | {"link_id": "7"}, False),
        (TOGGLE, "PATCH", 200, "text/html", TOGGLED, False),
        (TOGGLE, "PATCH", 201, "application/json", TOGGLED, False),
        (TOGGLE, "PATCH", 403, "text/plain", "forbidden", True),
        (TOGGLE, "PATCH", 429, "text/html", "slow down", True),
        (TOGGLE, "PATCH", 503, "application/json", {"detail": "storage"}, True),
        (PHOTOS, "GET", 200, "application/json; charset=utf-8", [], True),
        (PHOTOS, "GET", 200, "application/json", [{"served_url": "https://media.example/a.jpg", "more": 1}], True),
        (PHOTOS, "GET", 200, "application/json", [{"served_url": None}], False),
        (PHOTOS, "GET", 200, "application/json", {"photos": []}, False),
        (PHOTOS, "GET", 307, "text/plain", "", True),
        (PHOTOS, "GET", 418, "application/problem+json", {"status": 418}, True),
        (PHOTOS, "GET", 500, "application/json", {"detail": "crash"}, False),
        (PREVIEW, "POST", 200, "application/json", {"error": "404"}, True),
        (PREVIEW, "POST", 200, "application/json", {"images": None}, False),
        (PREVIEW, "POST", 400, "application/json", {"detail": "no such page"}, True),
        (PREVIEW, "POST", 502, "application/json", {"detail": "no such page"}, False),
        (IMPORT, "POST", 200, "application/json", {"imported": 1}, False),
        (STREAM, "POST", 200, "text/event-stream", "data: {}", True),
        (STREAM, "POST", 200, "text/event-stream; charset=utf-8", "data: {}", True),
        (STREAM, "POST", 200, "application/json", {"imported": 1}, False),
        (STREAM, "POST", 400, "text/event-stream", "event: error", True),
        (ASSET, "DELETE", 200, "application/json", {"asset_id": UUID_UPPER}, True),
        (ASSET, "DELETE", 204, "text/plain", "", True),
        (ASSET, "DELETE", 404, "application/json", {"detail": "unknown"}, True),
        (ASSET, "DELETE", 500, "application/json", {"detail": "crash"}, False),
        (COUNT, "POST", 200, "application/json", {"people_count": "4"}, False),
        (COUNT, "POST", 504, "text/plain", "the vision service is slow", True),
        (OVERLAY, "POST", 200, "application/json", {}, False),
        (OVERLAY, "POST", 500, "application/json", {"detail": "the detector failed"}, True),
    ],
)
def test_schemathesis_judges_answers_by_the_contract(
    path: str, method: str, status: int, media_type: str, body: Any, conforms: bool
) -> None:
    load_all_checks()
    case = schemathesis.openapi.from_dict(CONTRACTS.openapi())[path][method].Case(path_parameters=PATH_IDS)
    response = schemathesis.Response(
        status_code=status,
        headers={"content-type": [media_type]},
        content=json.dumps(body).encode(),
        request=requests.Request(method, "http://backend.example" + path.format(**PATH_IDS)).prepare(),
        elapsed=0.0,
        verify=True,
    )
    failures: tuple[BaseException, ...] = ()
    try:
        case.validate_response(response, checks=CHECKS.get_by_names(CHECKED))  # type: ignore[arg-type]
    except FailureGroup as group:
        failures = group.exceptions
    assert (not failures) is conforms, failures


# --- Names -----------------------------------------------------------------------------------------------------------


@given(clause=st.sampled_from(list(CONTRACTS.clauses)), upper=st.booleans())
def test_every_id_selects_itself_in_any_case(clause: str, upper: bool) -> None:
    assert CONTRACTS.select([clause if upper else clause.lower()]) == [clause]


@given(patterns=st.lists(st.sampled_from(["TOG-*", "pho-0[1-3]", "AUTH-0?", "GEN-01", "*", "SSE-*", ""])))
def test_selection_is_in_order_and_without_repeats(patterns: list[str]) -> None:
    selected = CONTRACTS.select(patterns)
    assert selected == [clause for clause in CONTRACTS.clauses if clause in set(selected)]
    assert set(selected) == {clause for pattern in patterns for clause in CONTRACTS.select([pattern])}


@pytest.mark.parametrize("lookup", [CONTRACTS.schema, CONTRACTS.validator, CONTRACTS.examples, CONTRACTS.openapi])
def test_unknown_name_is_one_line_that_offers_the_known(lookup: Callable[[str], object]) -> None:
    with pytest.raises(ContractError, match=r"nothing is named 'photos' here; there is [a-z, -]+\Z"):
        lookup("photos")


# --- Broken files ----------------------------------------------------------------------------------------------------


class Fault(NamedTuple):
    """A change to one file, and what the finding says, in that file or in the one named by `at`."""

    file: str
    edit: Callable[[str], str | None]
    says: str
    at: str | None = None


def swap(old: str, new: str) -> Callable[[str], str]:
    """Replace the first `old`, which must be there."""

    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edit


def put(text: str) -> Callable[[str], str]:
    return lambda _: text


def add(text: str) -> Callable[[str], str]:
    return lambda before: before + text


def gone(_: str) -> None:
    return None


DUPLICATE = """
- {id: AUTH-03, level: MUST, targets: [backend], statement: Again., source: [L5]}
"""
ANOTHER = """openapi: 3.1.0
info: {title: Another, version: 1.1.0}
paths:
  /photos:
    get: {operationId: listPersonPhotos, responses: {"200": {description: Photos.}}}
"""

# What `load` refuses.
STRUCTURAL = {
    "version missing": Fault("VERSION", gone, "cannot be read: No such file or directory"),
    "version not semver": Fault("VERSION", put("1.0\n"), "'1.0' is not a semantic version"),
    "version with a leading zero": Fault("VERSION", put("1.00.0"), "'1.00.0' is not a semantic version"),
    "version and $id differ": Fault(
        "VERSION",
        put("1.2.0"),
        "not 'https://trr-conformance.invalid/contracts/1.2.0/",
        "schemas/badge-vectors.schema.json",
    ),
    "schema not JSON": Fault(
        "schemas/photo.schema.json", swap('"type": "object",', '"type": "object"'), "7: is not JSON"
    ),
    "schema not UTF-8": Fault("schemas/photo.schema.json", put("\udcff"), "is not UTF-8"),
    "schema empty": Fault("schemas/photo.schema.json", put(""), "1: is not JSON"),
    "schema with a key twice": Fault(
        "schemas/photo.schema.json",
        swap('"type": "object",', '"type": "object", "type": "array",'),
        "key 'type' appears twice",
    ),
    "schema with NaN": Fault("schemas/photo.schema.json", swap('"object"', "NaN"), "NaN is no JSON number"),
    "schema nested without end": Fault("schemas/photo.schema.json", put("[" * 100_000), "is not usable JSON"),
    "schema is a list": Fault("schemas/photo.schema.json", put("[]"), "is not a JSON object"),
    "schema of no known type": Fault(
        "schemas/photo.schema.json", swap('"object"', '"objekt"'), "is not a JSON Schema: /type"
    ),
    "schema with a bad pattern": Fault(
        "schemas/rogues.schema.json", swap("^[a-z0-9]+(", "^[a-z0-9]+(("), "is no regular expression"
    ),
    "schema of another dialect": Fault("schemas/photo.schema.json", swap("2020-12", "2019-09"), "$schema is 'https://"),
    "$id without the version": Fault(
        "schemas/photo.schema.json", swap("contracts/1.1.0/", "contracts/"), "$id is 'https://"
    ),
    "$id of another file": Fault(
        "schemas/photo.schema.json", swap("photo.schema.json", "row.schema.json"), "$id is 'https://"
    ),
    "schema without $id": Fault("schemas/photo.schema.json", swap('"$id"', '"id"'), "$id is None"),
    "$ref to no file": Fault(
        "schemas/photo-list.schema.json",
        swap('"photo.schema.json"', '"row.schema.json"'),
        "$ref 'row.schema.json' leads nowhere",
    ),
    "$ref to no definition": Fault(
        "schemas/toggle-response.schema.json", swap("#/$defs/uuid", "#/$defs/id"), "$ref '#/$defs/id' leads nowhere"
    ),
    "$ref to the network": Fault(
        "schemas/photo-list.schema.json",
        swap('"photo.schema.json"', '"https://schemas.example/photo"'),
        "leads nowhere",
    ),
    "clauses not YAML": Fault("clauses/toggle.yaml", swap("targets: [backend]", "targets: [backend"), ":"),
    "clauses empty": Fault("clauses/toggle.yaml", put("# later\n"), "is empty"),
    "clauses in two documents": Fault("clauses/toggle.yaml", add("---\n[]\n"), ": is not YAML"),
    "clauses with a control character": Fault("clauses/toggle.yaml", add("\x00"), "is not usable YAML"),
    "clauses with a key twice": Fault(
        "clauses/toggle.yaml", swap("  level: MUST", "  level: MUST\n  level: MUST"), "5: key 'level' appears twice"
    ),
    "clauses with an alias": Fault(
        "clauses/general.yaml",
        swap("source: []\n", "source: &none []\n  schemas: *none\n"),
        "8: aliases are not used here",
    ),
    "clauses with a recursive alias": Fault("clauses/general.yaml", put("- &a [*a]\n"), "1: aliases are not used here"),
    "clauses with a date": Fault(
        "clauses/general.yaml",
        swap("source: []", "source: [2026-02-06]"),
        "8: YAML's timestamp is not a type of JSON: quote the value",
    ),
    "clauses with a tag": Fault(
        "clauses/general.yaml",
        swap("source: []", "source: !!python/name:os.system []"),
        "8: YAML's python/name:os.system is not a type of JSON",
    ),
    "clauses not a list": Fault("clauses/general.yaml", put("GEN-01: no crash\n"), "1: $: "),
    "clause of no known level": Fault(
        "clauses/general.yaml", swap("MUST", "MAY"), "4: $[0].level: 'MAY' is not one of"
    ),
    "clause without a statement": Fault("clauses/general.yaml", swap("statement", "sentence"), "3: $[0]: "),
    "MUST beyond the plan without a why": Fault(
        "clauses/photos.yaml", swap("  why:", "  # why:"), "$[8]: 'why' is a required property"
    ),
    "clause id in lower case": Fault(
        "clauses/general.yaml", swap("GEN-01", "gen-01"), "3: $[0].id: 'gen-01' does not match"
    ),
    "clause id twice in a file": Fault(
        "clauses/auth.yaml", add(DUPLICATE), "clause AUTH-03 is defined in auth.yaml already"
    ),
    "clause id twice in two files": Fault(
        "clauses/toggle.yaml", add(DUPLICATE), "clause AUTH-03 is defined in auth.yaml already"
    ),
    "clause of no known schema": Fault(
        "clauses/general.yaml",
        swap("[toggle-request,", "[toggle,"),
        "19: clause GEN-01 names 'toggle', which is not among the schemas",
    ),
    "clause of no known operation": Fault(
        "clauses/general.yaml",
        swap("- toggleFacebankSeed", "- toggleSeed"),
        "10: clause GEN-01 names 'toggleSeed', which is not among the operations",
    ),
    "no clause format": Fault(
        "schemas/clause-file.schema.json",
        gone,
        "$ref 'clause-file.schema.json#/$defs/clauseId' leads nowhere",
        "schemas/report.schema.json",
    ),
    "OpenAPI not YAML": Fault("openapi/backend.yaml", add("\t"), ":"),
    "OpenAPI of another version": Fault(
        "openapi/backend.yaml", swap("3.1.0", "3.0.3"), "2: $.openapi: '3.0.3' does not match"
    ),
    "OpenAPI with a number as key": Fault(
        "openapi/backend.yaml", swap('"200":', "200:"), ": key '200' is not a string: quote it"
    ),
    "OpenAPI version differs": Fault(
        "openapi/backend.yaml",
        swap("version: 1.1.0", "version: 1.1.1"),
        "5: info.version is not the contracts' version 1.1.0",
    ),
    "OpenAPI without paths": Fault(
        "openapi/backend.yaml", swap("paths:", "webhooks:"), "'paths' is a required property"
    ),
    "operation without an id": Fault(
        "openapi/backend.yaml",
        swap("      operationId: toggleFacebankSeed\n", ""),
        "'operationId' is a required property",
    ),
    "operationId in two documents": Fault(
        "openapi/later.yaml", put(ANOTHER), "5: operationId listPersonPhotos is used in backend.yaml already"
    ),
    "OpenAPI $ref to no schema": Fault(
        "openapi/backend.yaml",
        swap("../schemas/toggle-request", "../schemas/toggle"),
        "leads to no schema of the contracts",
    ),
    "OpenAPI $ref out of the contracts": Fault(
        "openapi/backend.yaml",
        swap("../schemas/toggle-request", "../../schemas/toggle-request"),
        "leads to no schema of the contracts",
    ),
    "OpenAPI $ref to no component": Fault(
        "openapi/backend.yaml",
        swap("parameters/PersonId", "parameters/Person"),
        "$ref '#/components/parameters/Person' leads nowhere",
    ),
    "OpenAPI with a schema of its own": Fault(
        "openapi/backend.yaml",
        swap("components:\n", "components:\n  schemas: {photo: {type: object}}\n"),
        "$.components.schemas: ",
    ),
}

# What only `check` finds.
RELEASE = {
    "changelog missing": Fault("CHANGELOG.md", gone, "cannot be read: No such file or directory"),
    "changelog lacks the version": Fault(
        "CHANGELOG.md", swap("## [1.1.0]", "## [1.1.01]"), "has no section for version 1.1.0"
    ),
    "valid example is invalid": Fault(
        "examples/photo/valid/string-width.json",
        put('{"served_url": "", "width": "1"}'),
        "$.width: '1' is not of type 'integer', 'null'",
    ),
    "invalid example is valid": Fault(
        "examples/photo/invalid/empty.json", put('{"served_url": ""}'), "is filed as invalid, but photo takes it"
    ),
    "example not JSON": Fault("examples/photo/valid/cut-short.json", put('{"served_url": '), "1: is not JSON"),
    "example with a key twice": Fault(
        "examples/photo/valid/twice.json",
        put('{"served_url": "a", "served_url": "b"}'),
        "key 'served_url' appears twice",
    ),
    "example of no known schema": Fault(
        "examples/picture/valid/one.json", put("{}"), "is not filed as examples/<schema>/valid/"
    ),
    "example on no side": Fault("examples/photo/one.json", put("{}"), "is not filed as examples/<schema>/valid/"),
    "example of another type": Fault(
        "examples/photo/valid/one.yaml", put("{}"), "is not named in kebab-case with .json"
    ),
    "OpenAPI not by the specification": Fault(
        "openapi/backend.yaml",
        swap("  title: TRR-Backend, pinned endpoints\n", ""),
        '3: $.info: "title" is a required property',
    ),
    "stream gone": Fault(
        "examples/streams/valid/one-image.txt",
        gone,
        "names valid/one-image.txt, and there is no such file",
        "examples/streams/index.json",
    ),
    "stream that the index does not name": Fault(
        "examples/streams/valid/two.txt", put(""), "is not named in index.json"
    ),
    "stream on the other side": Fault("examples/streams/invalid/one-image.txt", put(""), "is not named in index.json"),
    "stream that breaks no known clause": Fault(
        "examples/streams/index.json", swap('["SSE-04"]', '["SSE-99"]'), "breaks SSE-99, which is no clause"
    ),
    "index of the streams missing": Fault(
        "examples/streams/index.json", gone, "cannot be read: No such file or directory"
    ),
    "index of the streams of another shape": Fault(
        "examples/streams/index.json", swap('"reason":', '"note":'), "'reason' is a required property"
    ),
    "vector of another shape": Fault(
        "vectors/badge.json", swap('"width": 1200', '"width": "1200"'), "'1200' is not of type 'integer', 'null'"
    ),
    "vector twice": Fault(
        "vectors/badge.json", swap('"badge-1-mb"', '"badge-1-kb"'), "two vectors are named badge-1-kb"
    ),
    "vectors not JSON": Fault("vectors/badge.json", put("[,]"), "1: is not JSON"),
    "vectors of no known schema": Fault("vectors/sizes.json", put("[]"), "is described by no schema sizes-vectors"),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for all who put back what they change."""
    return copy_contracts(tmp_path_factory.mktemp("shared"))


@contextmanager
def content(path: Path, text: bytes | None) -> Iterator[None]:
    """Give a file this content for a while; None: there is no such file."""
    before = path.read_bytes() if path.exists() else None
    write(path, text)
    try:
        yield
    finally:
        write(path, before)


def write(path: Path, text: bytes | None) -> None:
    if text is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def broken(folder: Path, fault: Fault) -> AbstractContextManager[None]:
    path = folder / fault.file
    text = fault.edit(path.read_text(encoding="utf-8") if path.exists() else "")
    return content(path, None if text is None else text.encode(errors="surrogateescape"))


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in STRUCTURAL.items()])
def test_structural_fault_is_refused_in_one_line(shared: Path, fault: Fault) -> None:
    with broken(shared, fault), pytest.raises(ContractError) as refusal:
        contracts.load(shared)
    assert_names_the_fault(shared, fault, str(refusal.value))


def test_what_load_refuses_is_the_only_finding_of_check(shared: Path) -> None:
    fault = STRUCTURAL["clause of no known level"]
    with broken(shared, fault):
        # the lock tells of every change of what it holds
        [finding] = [one for one in contracts.check(shared) if Path(one.file).name != "contracts.lock"]
    assert_names_the_fault(shared, fault, str(finding))
    assert finding.line == 4


def test_faults_of_all_kinds_are_told_at_once(copy: Path) -> None:
    faults = [
        Fault("clauses/toggle.yaml", swap("id: TOG-02", "id: TOG-01"), "clause TOG-01 is defined in toggle.yaml"),
        Fault("openapi/backend.yaml", swap("/toggle-response.", "/toggle-answer."), "leads to no schema"),
        Fault("schemas/photo.schema.json", swap('"type": "object"', '"type": "objct"'), "is not a JSON Schema: /type"),
        Fault("examples/toggle-request/valid/text.json", put('{"facebank_seed": "x"}'), "$.facebank_seed"),
        Fault("examples/toggle-request/invalid/true.json", put('{"facebank_seed": true}'), "is filed as invalid"),
        Fault("vectors/badge.json", put("[,]"), "1: is not JSON"),
        Fault("CHANGELOG.md", put("# Changelog"), "has no section for version"),
        Fault("openapi/app.yaml", add("# more\n"), "openapi/app.yaml has changed", "contracts.lock"),
    ]
    with ExitStack() as stack:
        for fault in faults:
            stack.enter_context(broken(copy, fault))
        findings = [str(finding) for finding in contracts.check(copy)]
    for fault in faults:
        [finding] = [one for one in findings if fault.says in one]
        assert_names_the_fault(copy, fault, finding)
    assert len([one for one in findings if "contracts.lock" not in one]) == len(faults) - 1


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in RELEASE.items()])
def test_fault_of_a_release_is_found_in_one_line(shared: Path, fault: Fault) -> None:
    with broken(shared, fault):
        contracts.load(shared)
        # the lock tells of every change of what it holds
        [finding] = [one for one in contracts.check(shared) if Path(one.file).name != "contracts.lock"]
    assert_names_the_fault(shared, fault, str(finding))


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in STRUCTURAL.items()])
def test_check_finds_what_load_refuses(shared: Path, fault: Fault) -> None:
    with broken(shared, fault):
        findings = contracts.check(shared)
        with pytest.raises(ContractError) as refusal:
            contracts.load(shared)
    assert refusal.value.finding in findings
    assert all("\n" not in str(finding) for finding in findings)


LOCKED = {
    "lock missing": Fault("contracts.lock", gone, "cannot be read: No such file or directory"),
    "lock not JSON": Fault("contracts.lock", put("{"), "1: is not JSON"),
    "lock of another shape": Fault("contracts.lock", put("[]"), "is no lock: write it with"),
    "lock of another version": Fault(
        "contracts.lock", swap('"version": ', '"version": "0.9.0", "was": '), "is of version"
    ),
    "locked file changed": Fault(
        "clauses/general.yaml", add("# more\n"), "clauses/general.yaml has changed", "contracts.lock"
    ),
}


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in LOCKED.items()])
def test_fault_of_the_lock_is_found_in_one_line(shared: Path, fault: Fault) -> None:
    with broken(shared, fault):
        [finding] = contracts.check(shared)
    assert_names_the_fault(shared, fault, str(finding))


def test_lock_is_the_same_however_lines_end(copy: Path) -> None:
    for path in copy.glob("schemas/*.json"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert contracts.check(copy) == []


def assert_names_the_fault(folder: Path, fault: Fault, finding: str) -> None:
    assert finding.startswith(f"{folder / (fault.at or fault.file)}:")
    assert fault.says in finding
    assert "\n" not in finding
    assert len(finding) < 600


@pytest.mark.parametrize("side", ["valid", "invalid"])
def test_schema_without_examples_is_found(copy: Path, side: str) -> None:
    shutil.rmtree(copy / "examples" / "photo" / side)
    assert [str(finding) for finding in contracts.check(copy)] == [f"{copy}/examples/photo/{side}: has no example"]


@pytest.mark.parametrize("part", ["schemas", "openapi", "clauses"])
def test_missing_folder_is_one_line(copy: Path, part: str) -> None:
    shutil.rmtree(copy / part)
    with pytest.raises(ContractError, match=rf"{part}: has no \.[a-z.]+ file\Z"):
        contracts.load(copy)


def test_finding_is_relative_to_the_working_folder(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "VERSION").write_text("one", encoding="utf-8")
    monkeypatch.chdir(copy.parent)
    with pytest.raises(ContractError, match=r"\Acontracts/VERSION: 'one' is not a semantic version such as 1\.0\.0\Z"):
        contracts.load(Path("contracts"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from(["VERSION", "clauses/general.yaml", "schemas/photo.schema.json", "openapi/backend.yaml"]),
    start=st.floats(0, 1),
    length=st.integers(0, 40),
    junk=st.binary(max_size=6) | st.sampled_from([b"{", b"]", b'"', b":", b"\t", b"- ", b"null", b"7", b"[]"]),
)
def test_any_damage_is_borne_or_found_in_one_line_each(
    shared: Path, file: str, start: float, length: int, junk: bytes
) -> None:
    path = shared / file
    sound = path.read_bytes()
    cut = int(start * len(sound))
    with content(path, sound[:cut] + junk + sound[cut + length :]):
        findings = contracts.check(shared)
    assert all("\n" not in str(finding) for finding in findings)
