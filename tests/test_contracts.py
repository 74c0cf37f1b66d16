"""The contracts are sound, and a broken file of theirs is one clear line."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


def copy_contracts(folder: Path) -> Path:
    return Path(shutil.copytree(SOURCE, folder / "contracts", ignore=shutil.ignore_patterns("*.py", "__pycache__")))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the contracts to break."""
    return copy_contracts(tmp_path)


# --- As they are -----------------------------------------------------------------------------------------------------


def test_contracts_can_be_released() -> None:
    assert [str(finding) for finding in contracts.check()] == []


def test_every_clause_of_the_first_version_is_there() -> None:
    first = {"GEN": 1, "AUTH": 11, "TOG": 12, "PHO": 12}
    ids = [f"{area}-{number:02}" for area, count in first.items() for number in range(1, count + 1)]
    assert set(ids) <= CONTRACTS.clauses.keys()


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


def test_openapi_is_valid_and_self_contained() -> None:
    document = CONTRACTS.openapi()
    validate(document)
    assert all(reference.startswith("#/") for reference in references(document))
    assert document["components"]["schemas"].keys() == {"toggle-request", "toggle-response", "photo-list", "photo"}


def test_schemathesis_finds_both_operations() -> None:
    schema = schemathesis.openapi.from_dict(CONTRACTS.openapi())
    assert {path: list(schema[path]) for path in schema} == {TOGGLE: ["patch"], PHOTOS: ["get"]}


UUID_UPPER = "1B3CB751-E6D0-594C-ACDB-57958C463495"
IDS = {"link_id": UUID_UPPER.lower(), "person_id": UUID_UPPER.lower()}
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
    ],
)
def test_schemathesis_judges_answers_by_the_contract(
    path: str, method: str, status: int, media_type: str, body: Any, conforms: bool
) -> None:
    load_all_checks()
    case = schemathesis.openapi.from_dict(CONTRACTS.openapi())[path][method].Case(path_parameters=IDS)
    response = schemathesis.Response(
        status_code=status,
        headers={"content-type": [media_type]},
        content=json.dumps(body).encode(),
        request=requests.Request(method, "http://backend.example" + path.format(**IDS)).prepare(),
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
info: {title: Another, version: 1.0.0}
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
        put("1.1.0"),
        "not 'https://trr-conformance.invalid/contracts/1.1.0/",
        "schemas/clause-file.schema.json",
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
        "schemas/photo.schema.json", swap("contracts/1.0.0/", "contracts/"), "$id is 'https://"
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
        swap("source: []\n", "source: &none []\n  riders: *none\n"),
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
        swap("[toggle-request]", "[toggle]"),
        "11: clause GEN-01 names 'toggle', which is not among the schemas",
    ),
    "clause of no known operation": Fault(
        "clauses/general.yaml",
        swap("[toggleFacebankSeed,", "[toggleSeed,"),
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
        swap("version: 1.0.0", "version: 1.0.1"),
        "5: info.version is not the contracts' version 1.0.0",
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
        "CHANGELOG.md", swap("## [1.0.0]", "## [1.0.01]"), "has no section for version 1.0.0"
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
        [finding] = contracts.check(shared)
    assert_names_the_fault(shared, fault, str(finding))
    assert finding.line == 4


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in RELEASE.items()])
def test_fault_of_a_release_is_found_in_one_line(shared: Path, fault: Fault) -> None:
    with broken(shared, fault):
        contracts.load(shared)
        [finding] = contracts.check(shared)
    assert_names_the_fault(shared, fault, str(finding))


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
