"""Clauses, tests and rogues belong together, and no room of the house enters one that is closed to it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import contracts

ROOT = Path(__file__).parents[1]
SUITES = ROOT / "conformance" / "suites"
CLAUSES = contracts.load().clauses
MAX_BREAKS = 3


# --- clauses and tests -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """That a test checks a clause; `level` is None where it is the clause's own."""

    nodeid: str
    clause: str
    level: str | None


# in a process of its own, as a run of the suites sets hypothesis and the plugin up
COLLECT = """
import json, pathlib, sys, pytest
output, *arguments = sys.argv[1:]
class Collected:
    def pytest_collection_finish(self, session):
        markers = {i.nodeid: [[m.args, m.kwargs] for m in i.iter_markers("clause")] for i in session.items}
        pathlib.Path(output).write_text(json.dumps(markers))
sys.exit(pytest.main(["--collect-only", "--strict", "-q", *arguments], plugins=[Collected()]))
"""


@cache
def collected(folder: Path) -> dict[str, list[tuple[list[str], dict[str, str]]]]:
    """Every test of the suites with its `clause` markers: their ids and keywords."""
    output = folder / "markers.json"
    plugin = ["-p", "conformance.plugin", "-c", str(ROOT / "conformance" / "run.ini"), "--rootdir", str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", COLLECT, str(output), *plugin, "--confcutdir", str(SUITES), str(SUITES)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    markers: dict[str, list[tuple[list[str], dict[str, str]]]] = json.loads(output.read_text())
    return markers


@pytest.fixture(scope="module")
def markers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[list[str], dict[str, str]]]]:
    return collected(tmp_path_factory.mktemp("collected"))


@pytest.fixture(scope="module")
def claims(markers: dict[str, list[tuple[list[str], dict[str, str]]]]) -> list[Claim]:
    return [
        Claim(nodeid, clause, keywords.get("level"))
        for nodeid, found in markers.items()
        for ids, keywords in found
        for clause in ids
    ]


def test_every_test_claims_a_clause(markers: dict[str, list[tuple[list[str], dict[str, str]]]]) -> None:
    assert markers
    assert [nodeid for nodeid, found in markers.items() if not any(ids for ids, _ in found)] == []


def test_every_claim_is_of_a_clause_of_the_contract(claims: list[Claim]) -> None:
    assert {claim.clause for claim in claims} - CLAUSES.keys() == set()
    keywords = {claim.level for claim in claims}
    assert keywords <= {None, "SHOULD"}, "a claim may only be lower than its clause"


def test_every_clause_has_a_test_at_its_own_level(claims: list[Claim]) -> None:
    assert CLAUSES.keys() - {claim.clause for claim in claims if claim.level is None} == set()


def test_every_rider_has_a_test_and_nothing_else_is_lowered(claims: list[Claim]) -> None:
    with_riders = {clause.id for clause in CLAUSES.values() if clause.riders}
    assert with_riders == {claim.clause for claim in claims if claim.level == "SHOULD"}


def test_a_test_stands_in_the_suite_of_a_target_of_its_clauses(claims: list[Claim]) -> None:
    """The nodeid is `conformance/suites/TARGET/…`: a run of one target finds its tests there."""
    strays = [
        claim
        for claim in claims
        if not any(f"suites/{target}/" in claim.nodeid for target in CLAUSES[claim.clause].targets)
    ]
    assert strays == []


# --- clauses and rogues ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rogues() -> list[dict[str, object]]:
    listed = subprocess.run(
        [sys.executable, "-P", "-m", "reference", "--list-rogues", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    rogues: list[dict[str, object]] = json.loads(listed.stdout)
    return rogues


NOT_SERVED = {"BADGE-01": ROOT / "tests" / "test_badge.py"}
"""Clause of what is no service → the test that holds its rogues."""


def test_every_clause_has_a_rogue(rogues: list[dict[str, object]]) -> None:
    broken = {clause for rogue in rogues for clause in _breaks(rogue)}
    assert CLAUSES.keys() - broken == NOT_SERVED.keys()
    assert all(path.is_file() for path in NOT_SERVED.values())


def test_a_rogue_breaks_one_to_three_clauses_of_its_target(rogues: list[dict[str, object]]) -> None:
    for rogue in rogues:
        breaks = _breaks(rogue)
        assert 1 <= len(set(breaks)) == len(breaks) <= MAX_BREAKS, rogue
        assert set(breaks) <= CLAUSES.keys(), rogue
        assert rogue["target"] in CLAUSES[breaks[0]].targets, rogue
        assert str(rogue["summary"]).strip(), rogue


def test_rogues_have_names_of_their_own(rogues: list[dict[str, object]]) -> None:
    names = [rogue["name"] for rogue in rogues]
    assert len(set(names)) == len(names)


def _breaks(rogue: dict[str, object]) -> list[str]:
    breaks = rogue["breaks"]
    assert isinstance(breaks, list)
    return breaks


# --- rooms -----------------------------------------------------------------------------------------------------------

CLOSED = {
    "contracts": {"conformance", "reference", "smoke", "tests"},
    "conformance": {"reference", "smoke", "tests"},
    "reference": {"conformance", "smoke", "tests"},
    "smoke": {"reference", "tests"},
    "tests/different": {"conformance", "contracts", "reference", "smoke", "tests"},
}


def imported(path: Path) -> Iterator[str]:
    """The top-level names of all modules that a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value).partition(".")[0]


@pytest.mark.parametrize("room, closed", CLOSED.items(), ids=CLOSED)
def test_no_room_imports_from_a_closed_one(room: str, closed: set[str]) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert {str(path): found for path in files if (found := closed & set(imported(path)))} == {}
