"""The smoke checks, on a reference that stands for a live environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Live:
    """A running backend with a seeded and an unseeded person."""

    table: dict[str, Any]
    variables: dict[str, str]
    seeded: dict[str, Any]
    unseeded: dict[str, Any]

    def seeds(self) -> list[str]:
        """The seeded person's seeds, as Screenalytics reads them."""
        url = f"{self.table['backend_url']}/api/v1/screenalytics/people/{self.seeded['person_id']}/photos"
        headers = {"Authorization": f"Bearer {self.variables['SCREENALYTICS_SERVICE_TOKEN']}"}
        rows = httpx.get(url, params={"seed_only": "true"}, headers=headers).json()
        return [row["served_url"] for row in rows]

    def file(self, path: Path, *, production: bool, wrong_url: bool = False) -> Path:
        """An environment file for it."""
        (link,) = (link for link in self.seeded["links"] if link["facebank_seed"])
        served_url = "https://elsewhere.invalid/photo.jpg" if wrong_url else link["served_url"]
        ids = f'person_id = "{self.seeded["person_id"]}", link_id = "{link["link_id"]}"'
        path.write_text(
            f"""
            [environments.live]
            production = {str(production).lower()}
            backend_url = "{self.table["backend_url"]}"
            [environments.live.credentials]
            service_role_token = {{ env = "TRR_CORE_SUPABASE_SERVICE_ROLE_KEY" }}
            internal_admin_secret = {{ env = "TRR_INTERNAL_ADMIN_SHARED_SECRET" }}
            screenalytics_token = {{ env = "SCREENALYTICS_SERVICE_TOKEN" }}
            [environments.live.fixtures]
            seeded_person = {{ {ids}, served_url = "{served_url}" }}
            unseeded_person = {{ person_id = "{self.unseeded["person_id"]}" }}
            """,
            encoding="utf-8",
        )
        return path


def start(*arguments: str) -> Iterator[Live]:
    command = [sys.executable, "-P", "-m", "reference", "--json", "--only", "backend", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    table = ready["environment"]

    def person(**counts: int) -> dict[str, Any]:
        body = {"state": "person with gallery", "action": "setup", "params": counts}
        values: dict[str, Any] = httpx.post(table["backend_states_url"], json=body).json()
        return values

    yield Live(table, ready["variables"], person(seeded=1, unseeded=4), person(seeded=0, unseeded=3))
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    yield from start()


@pytest.fixture(scope="module")
def open_door() -> Iterator[Live]:
    """A backend whose guard takes calls without the secret."""
    yield from start("--rogue", "missing-secret-accepted")


def smoke(live: Live, file: Path, *arguments: str) -> tuple[int, dict[str, str]]:
    """The exit code and the verdicts of a smoke run, by plain pytest."""
    report = file.parent / "report"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "smoke",
        "--env-file",
        str(file),
        "--report-dir",
        str(report),
        *arguments,
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **live.variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    clauses = json.loads((report / "report.json").read_text(encoding="utf-8"))["clauses"]
    assert not any(secret in done.stdout for secret in live.variables.values())
    return done.returncode, {
        clause["id"]: clause["verdict"] for clause in clauses if clause["verdict"] != "not_selected"
    }


CHECKED = {"AUTH-01", "AUTH-02", "AUTH-03", "AUTH-04", "AUTH-11", "PHO-02", "PHO-03", "PHO-04", "TOG-05"}


@pytest.mark.parametrize("production, options", [(False, []), (True, ["--allow-writes"])], ids=["staging", "prod"])
def test_smoke_verifies_and_puts_back(live: Live, tmp_path: Path, production: bool, options: list[str]) -> None:
    before = live.seeds()
    code, verdicts = smoke(live, live.file(tmp_path / "live.toml", production=production), *options)
    assert code == 0
    assert verdicts == dict.fromkeys(CHECKED, "passed")
    assert live.seeds() == before


def test_production_is_only_read(live: Live, tmp_path: Path) -> None:
    """Without `--allow-writes` the toggle is not verified; the refusal probes are."""
    code, verdicts = smoke(live, live.file(tmp_path / "live.toml", production=True))
    assert code == 0
    writing = {"AUTH-04", "TOG-05"}
    assert verdicts == {clause: "not_verified" if clause in writing else "passed" for clause in CHECKED}


def test_no_probes_sends_none(live: Live, tmp_path: Path) -> None:
    _, verdicts = smoke(live, live.file(tmp_path / "live.toml", production=True), "--no-probes")
    assert verdicts["AUTH-02"] == verdicts["AUTH-03"] == "not_verified"


def test_probes_change_nothing_even_where_the_guard_is_broken(open_door: Live, tmp_path: Path) -> None:
    """A guard that lets everybody in is told, and the flag has its value still."""
    before = open_door.seeds()
    code, verdicts = smoke(open_door, open_door.file(tmp_path / "live.toml", production=True))
    assert code == 1
    assert verdicts["AUTH-02"] == "failed"
    assert open_door.seeds() == before


def test_wrong_counts_fail(live: Live, tmp_path: Path) -> None:
    """A seeded person whose photo is no seed breaks PHO-03."""
    code, verdicts = smoke(live, live.file(tmp_path / "live.toml", production=True, wrong_url=True))
    assert code == 1
    assert verdicts["PHO-03"] == "failed"
