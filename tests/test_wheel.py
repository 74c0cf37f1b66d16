"""The wheel, in an environment of its own, run from a folder that has rooms of the same names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of executables of an environment that has the wheel, and this one's packages for its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files behind, which would find their way into the next one
    for room in ("contracts", "conformance", "reference", "smoke"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    executables = folder / "venv" / "bin"
    install = [
        sys.executable,
        "-m",
        "pip",
        f"--python={executables / 'python'}",
        "install",
        "--no-deps",
        "--quiet",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    ask = [str(executables / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    purelib = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    # a path in a .pth file brings packages, but not the .pth files beside them: no editable install of this project
    Path(purelib, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return executables


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A team's repo: everything in it breaks whoever imports or runs it."""
    for name in ("tests", "contracts", "conformance", "reference", "smoke"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n", encoding="utf-8")
        (tmp_path / name / "test_wrong.py").write_text("raise RuntimeError('the wrong tests')\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('the wrong conftest')\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("workers", ["0", "2"])
def test_wheel_runs_in_a_teams_folder(installed: Path, elsewhere: Path, workers: str) -> None:
    """The console script verifies the bundled reference and writes its report there."""
    command = [
        str(installed / "trr-conformance"),
        "run",
        "--clause",
        "TOG-03,PHO-1*,FALL-02,PRX-03",
        "--report-dir",
        "out",
        "-n",
        workers,
    ]
    variables = {**os.environ, "PYTEST_ADDOPTS": "--no-such-option"}
    done = subprocess.run(
        command, cwd=elsewhere, env=variables, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((elsewhere / "out" / "report.json").read_text(encoding="utf-8"))
    assert [c["id"] for c in report["clauses"] if c["verdict"] == "passed"] == [
        "FALL-02",
        "PHO-10",
        "PHO-11",
        "PHO-12",
        "PRX-03",
        "TOG-03",
    ]


def test_wheel_lists_rogues(installed: Path, elsewhere: Path) -> None:
    command = [str(installed / "trr-conformance"), "rogues"]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 40
