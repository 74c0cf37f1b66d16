"""The commands `contracts check | diff | diff-schema` and `drift`, as people and CI use them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import contracts
from conformance import cli
from conformance.compat import policy
from conformance.compat.openapi import Finding
from conformance.compat.schemas import Change, Verdict
from conformance.errors import UsageError

SOURCE = Path(contracts.__file__).parent
VERSION = contracts.load().version
MAJOR, MINOR, PATCH = map(int, VERSION.split("."))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the contracts to change."""
    folder = tmp_path / "contracts"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    contracts.write_lock(folder)
    return folder


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; its exit code and all that it says."""

    def command(*words: str | Path) -> tuple[int, str]:
        code = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out + said.err

    return command


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def release(folder: Path, version: str) -> None:
    """Makes a copy another version, as an author does."""
    for path in (*folder.glob("schemas/*.json"), *folder.glob("openapi/*.yaml")):
        text = path.read_text(encoding="utf-8")
        text = text.replace(f"/contracts/{VERSION}/", f"/contracts/{version}/")
        path.write_text(text.replace(f"  version: {VERSION}\n", f"  version: {version}\n"), encoding="utf-8")
    (folder / "VERSION").write_text(version, encoding="utf-8")


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_says_that_it_can_be_released(copy: Path, run: Run) -> None:
    assert run("contracts", "check", "--folder", copy) == (0, f"contracts: version {VERSION} can be released\n")


def test_check_tells_all_at_once_with_file_and_line(copy: Path, run: Run) -> None:
    (copy / "CHANGELOG.md").unlink()
    (copy / "examples" / "photo" / "valid" / "wide.json").write_text('{\n  "served_url": "",\n  "width": "1"\n}')
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://trr-conformance.invalid/contracts/{VERSION}/schemas/lonely.schema.json",
    }
    (copy / "schemas" / "lonely.schema.json").write_text(json.dumps(schema))
    (copy / "examples" / "lonely" / "valid").mkdir(parents=True)
    (copy / "examples" / "lonely" / "valid" / "any.json").write_text("1")
    code, said = run("contracts", "check", "--folder", copy)
    assert code == 1
    for line in (
        "CHANGELOG.md: cannot be read",
        "wide.json:3: $.width: '1' is not of type",
        "lonely.schema.json:1: no endpoint, event, clause or vector leads here",
        "contracts.lock: schemas/lonely.schema.json is not in it",
    ):
        assert line in said
    assert len(said.splitlines()) == 4


def test_check_tells_every_structural_fault(copy: Path, run: Run) -> None:
    edit(copy / "schemas" / "photo-list.schema.json", "photo.schema.json", "picture.schema.json")
    edit(copy / "clauses" / "photos.yaml", "id: PHO-02", "id: PHO-01")
    edit(copy / "clauses" / "auth.yaml", "schemas: [error]", "schemas: [mistake]")
    code, said = run("contracts", "check", "--folder", copy)
    assert code == 1
    assert "$ref 'picture.schema.json' leads nowhere" in said
    assert re.search(r"photos\.yaml:\d+: clause PHO-01 is defined in photos\.yaml already", said)
    assert re.search(r"auth\.yaml:\d+: clause AUTH-09 names 'mistake'", said)


def test_lock_is_written_and_checked(copy: Path, run: Run) -> None:
    schema = copy / "schemas" / "photo.schema.json"
    edit(schema, '"title": "Photo"', '"title": "A photo"')
    code, said = run("contracts", "check", "--folder", copy)
    assert code == 1
    assert re.search(r"contracts\.lock:\d+: schemas/photo\.schema\.json has changed", said)
    assert run("contracts", "check", "--folder", copy, "--write-lock")[0] == 0
    [entry] = [
        entry
        for entry in json.loads((copy / "contracts.lock").read_text())["files"]
        if entry["path"] == "schemas/photo.schema.json"
    ]
    assert entry["version"] == VERSION
    assert entry["$id"].endswith("/schemas/photo.schema.json")
    assert re.fullmatch("[0-9a-f]{64}", entry["sha256"])


def test_check_annotates_a_pull_request(copy: Path, run: Run) -> None:
    (copy / "CHANGELOG.md").unlink()
    code, said = run("contracts", "check", "--folder", copy, "--github")
    assert code == 1
    assert said.startswith("::error file=")


# --- diff ------------------------------------------------------------------------------------------------------------


def test_renamed_response_field_is_one_line_for_its_consumers_with_the_payload(copy: Path, run: Run) -> None:
    edit(copy / "schemas" / "photo.schema.json", '"served_url"', '"image_url"')
    release(copy, f"{MAJOR}.{MINOR + 1}.0")
    code, said = run("contracts", "diff", SOURCE, "--folder", copy)
    assert code == 1
    [line] = [line for line in said.splitlines() if line.startswith("breaking")]
    assert line.startswith("breaking for screenalytics, ")
    for part in (
        *("listPersonPhotos", "/items/properties/served_url", "served_url is gone", "response-property-removed"),
        *("FALL-08", 'payload [{"image_url": ""}]'),
    ):
        assert part in line
    assert "1 breaking change needs a major version" in said


def test_a_major_step_permits_what_breaks(copy: Path, run: Run) -> None:
    edit(copy / "schemas" / "photo.schema.json", '"served_url"', '"image_url"')
    release(copy, f"{MAJOR + 1}.0.0")
    assert run("contracts", "diff", SOURCE, "--folder", copy)[0] == 0


@pytest.mark.parametrize("version, code", [("same", 1), ("patch", 1), ("minor", 0)])
def test_an_addition_needs_a_minor_step(copy: Path, run: Run, version: str, code: int) -> None:
    edit(
        copy / "schemas" / "toggle-request.schema.json",
        '"facebank_seed": {',
        '"reason": { "type": "string" },\n    "facebank_seed": {',
    )
    steps = {"same": VERSION, "patch": f"{MAJOR}.{MINOR}.{PATCH + 1}", "minor": f"{MAJOR}.{MINOR + 1}.0"}
    release(copy, steps[version])
    got, said = run("contracts", "diff", SOURCE, "--folder", copy)
    assert got == code, said
    assert "0 breaking" in said


def test_a_break_may_be_accepted_with_reason_and_owner(copy: Path, run: Run) -> None:
    edit(copy / "schemas" / "photo.schema.json", '"type": ["integer", "null"]', '"type": ["number", "null"]')
    release(copy, f"{MAJOR}.{MINOR + 1}.0")
    code, said = run("contracts", "diff", SOURCE, "--folder", copy, "--json")
    found = json.loads(said)
    assert (code, found["verdict"]) == (1, "breaking")
    entries = [
        f'[[accepted]]\nfingerprint = "{change["fingerprint"]}"\nbase = "{VERSION}"\nreason = "why"\nowner = "who"\n'
        for change in found["changes"]
        if change["verdict"] == "breaking"
    ]
    (copy / "accepted-breaks.toml").write_text("".join(entries))
    code, said = run("contracts", "diff", SOURCE, "--folder", copy, "--json")
    assert (code, json.loads(said)["problems"]) == (0, [])
    assert all(change["accepted"] is (change["verdict"] == "breaking") for change in json.loads(said)["changes"])
    (copy / "accepted-breaks.toml").write_text(entries[0].replace(entries[0].split('"')[1], "0" * 12))
    code, said = run("contracts", "diff", SOURCE, "--folder", copy)
    assert code == 1
    assert f"accepted break {'0' * 12} was not found against {VERSION}: remove it" in said


def test_annotations_stand_where_the_member_does(copy: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(copy / "schemas" / "toggle-response.schema.json", '"type": "boolean"', '"type": ["boolean", "null"]')
    monkeypatch.chdir(copy.parent)
    _, said = run("contracts", "diff", SOURCE, "--github")
    first = said.splitlines()[0]
    match = re.match(r"::error file=contracts/schemas/toggle-response\.schema\.json,line=(\d+),title=[a-z-]+::", first)
    assert match
    lines = (copy / "schemas" / "toggle-response.schema.json").read_text().splitlines()
    assert '"facebank_seed"' in lines[int(match[1]) - 1]


@pytest.mark.parametrize("name", ["HEAD", "1.0.0", "v1.0.0", "folder"])
def test_base_is_a_revision_a_version_or_a_folder(copy: Path, run: Run, name: str) -> None:
    release(copy, "1.0.0")
    if name == "folder":
        base: str | Path = shutil.copytree(copy, copy.parent / "old")
    else:
        base = name
        git = ["git", "-C", str(copy.parent), "-c", "user.name=a", "-c", "user.email=a@example.com"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
            subprocess.run([*git, *words], check=True, capture_output=True)
    release_again = copy / "VERSION"
    assert release_again.read_text() == "1.0.0"
    edit(copy / "openapi" / "backend.yaml", "operationId: listPersonPhotos", "operationId: listPhotosOfPerson")
    for path in copy.glob("clauses/*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("listPersonPhotos", "listPhotosOfPerson"), encoding="utf-8")
    edit(copy / "openapi" / "backend.yaml", "/photos:", "/pictures:")
    code, said = run("contracts", "diff", base, "--folder", copy)
    assert code == 1
    assert "the operation is gone" in said


@pytest.mark.parametrize("base", ["nowhere", "--output=x", "9.9.9"])
def test_unknown_base_is_one_line(copy: Path, run: Run, base: str) -> None:
    code, said = run("contracts", "diff", "--folder", copy, "--", base)
    assert code == 4
    assert f"{base!r} is neither a folder, nor a git revision, nor a version" in said


# --- policy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, says",
    [
        ("[[accepted]]\nfingerprint = 'a'", "needs fingerprint, base, reason, owner"),
        ("[[accepted]]\nfingerprint = ''\nbase = '1'\nreason = 'r'\nowner = 'o'", "accepted[1].fingerprint is no text"),
        ("[[excepted]]", "holds [[accepted]] tables and nothing else, not excepted"),
        ("accepted = 1", "holds [[accepted]] tables"),
        ("[", "accepted-breaks.toml: "),
    ],
)
def test_malformed_acceptance_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "accepted-breaks.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as refusal:
        policy.read_accepted(path)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    "verdict, base, version, stands",
    [
        (Verdict.BREAKING, "1.2.3", "2.0.0", False),
        (Verdict.BREAKING, "1.2.3", "1.3.0", True),
        (Verdict.UNPROVEN, "1.2.3", "1.3.0", True),
        (Verdict.UNPROVEN, "1.2.3", "2.0.0", False),
        (Verdict.COMPATIBLE, "1.2.3", "1.3.0", False),
        (Verdict.COMPATIBLE, "1.2.3", "1.2.4", True),
        (Verdict.COMPATIBLE, "1.2.3", "1.2.3", True),
        (Verdict.COMPATIBLE, "1.2.3", "1.1.9", True),
        (Verdict.COMPATIBLE, "1.9.0", "1.10.0", False),
        (None, "1.2.3", "1.2.3", False),
        (None, "1.2.3", "1.2.4", False),
        (None, "1.2.3", "1.2.2", True),
    ],
)
def test_version_policy(verdict: Verdict | None, base: str, version: str, stands: bool) -> None:
    change = Change("operation-added", "", verdict or Verdict.COMPATIBLE, "")
    findings = [] if verdict is None else [Finding(change, "GET /", "get", "operation")]
    assert bool(policy.judge(base, version, findings, ()).problems) is stands


# --- diff-schema and drift -------------------------------------------------------------------------------------------


@pytest.fixture
def schemas(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps({"type": ["string", "null"], "x-a": 1}))
    new.write_text(json.dumps({"type": "string", "x-a": 1}))
    return old, new


def test_diff_schema(schemas: tuple[Path, Path], run: Run) -> None:
    code, said = run("contracts", "diff-schema", *schemas, "--direction", "request", "--json")
    found = json.loads(said)
    assert (code, found["verdict"]) == (1, "breaking")
    [change] = found["changes"]
    assert (change["rule"], change["path"], change["verdict"]) == ("request-null-removed", "", "breaking")
    assert change["witness"] is None
    code, said = run("contracts", "diff-schema", *schemas, "--direction", "response")
    assert (code, said.splitlines()[-1]) == (1, "unproven")


@pytest.mark.parametrize(
    "words, says",
    [
        (["contracts"], "required"),
        (["contracts", "diff-schema", "a", "b"], "--direction"),
        (["contracts", "diff-schema", "a", "b", "--direction", "request"], "a: cannot be read"),
        (["contracts", "check", "--folder", "nowhere"], "holds no contracts"),
        (["drift"], "required"),
        (["drift", "nowhere.json"], "nowhere.json: cannot be read"),
    ],
)
def test_usage_errors_are_one_line_and_exit_4(
    words: list[str], says: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run(*words)
    assert code == 4
    assert says in said


def test_drift_of_untyped_handlers(tmp_path: Path, run: Run) -> None:
    """A document of paths alone, as frameworks write it for untyped handlers, verifies nothing but what it lacks."""
    path = tmp_path / "openapi.json"
    document: dict[str, Any] = contracts.load().openapi()
    for item in document["paths"].values():
        for operation in item.values():
            operation["responses"] = {"200": {"content": {"application/json": {"schema": {}}}}}
    path.write_text(json.dumps(document))
    code, said = run("drift", path)
    assert code == 5
    assert "describes no answer" in said
    document["paths"].popitem()
    path.write_text(json.dumps(document))
    assert run("drift", path)[0] == 1


def test_drift(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "openapi.json"
    document: dict[str, Any] = contracts.load().openapi()
    path.write_text(json.dumps(document))
    assert run("drift", path) == (0, "the document promises no less than the contract\n")
    document["components"]["schemas"]["photo"]["required"] = []
    path.write_text(json.dumps(document))
    code, said = run("drift", path)
    assert code == 1
    assert "promises less: for screenalytics" in said
    assert "served_url is not required any more" in said
    code, said = run("drift", path, "--json")
    assert (code, json.loads(said)["verdict"]) == (1, "breaking")
    assert run("drift", path, "--github")[1].startswith(f"::error file={path},line=1,title=response-required-removed::")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "a: [", '{"swagger": "2.0"}', "\udcff", '{"openapi": "3.1.0", "paths": 1}']
)
def test_what_is_no_openapi_exits_4(tmp_path: Path, run: Run, text: str) -> None:
    path = tmp_path / "openapi.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    code, said = run("drift", path)
    assert code == 4
    assert said.startswith(f"trr-conformance drift: {path}: ")
    assert len(said.splitlines()) == 1
