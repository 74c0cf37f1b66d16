"""The purge script as a command: no shell, a time limit, output that stays small and tells no secret."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from conformance.commands import MAX_OUTPUT_BYTES
from conformance.environment import EnvironmentSource, resolve
from conformance.errors import NotVerified, TargetBroken
from conformance.purge import Purge, PurgeRun
from conformance.redaction import Redactor

ENVIRONMENT = resolve(EnvironmentSource("test", {"production": False}))
SEASON = {"show_id": "the-show", "season_number": 3, "page_url": "https://a.invalid/{show_id}?a=1&b=$HOME;`ls`"}


def purge(*words: str, redactor: Redactor | None = None, time_limit_s: float = 20) -> Purge:
    """A purge by these words."""
    values = MappingProxyType({"purge": MappingProxyType({"command": list(words)})})
    return Purge(replace(ENVIRONMENT, values=values), redactor or Redactor(), time_limit_s=time_limit_s)


def python(code: str, *words: str, redactor: Redactor | None = None, time_limit_s: float = 20) -> Purge:
    """A purge by a line of Python."""
    return purge(sys.executable, "-c", code, *words, redactor=redactor, time_limit_s=time_limit_s)


def test_words_are_filled_and_no_shell_reads_them() -> None:
    script = python("import sys; print(sys.argv[1:])", "{show_id}", "--season={season_number}", "{page_url}", "{other}")
    dry = script.run(**SEASON)
    words = ["the-show", "--season=3", "https://a.invalid/{show_id}?a=1&b=$HOME;`ls`", "{other}"]
    assert (dry.exit_code, dry.output.strip()) == (0, str(words))
    assert script.run(**SEASON, execute=True).output.strip() == str([*words, "--execute"])


def test_variables_of_the_environment_go_along() -> None:
    """With those of this process, as a script may be found by PATH."""
    words = [sys.executable, "-c", "import os; print(os.environ['TRR_DB_URL'], 'PATH' in os.environ)"]
    values = MappingProxyType({"purge": MappingProxyType({"command": words})})
    script = Purge(replace(ENVIRONMENT, values=values), Redactor(), {"TRR_DB_URL": "postgresql:///core"})
    assert script.run(**SEASON).output.split() == ["postgresql:///core", "True"]


def test_exit_code_and_both_outputs_are_kept() -> None:
    seen = python("import sys; print('one', flush=True); sys.exit('two')").run(**SEASON)
    assert (seen.exit_code, seen.output.split()) == (1, ["one", "two"])
    assert "exit 1\none" in str(seen)
    assert "it said nothing" in str(PurgeRun("script", 0, " \n"))


def test_colours_are_left_out() -> None:
    code = r"print('\x1b[1;31m7\x1b[0m assets\x1b[K')"
    assert python(code).run(**SEASON).output.strip() == "7 assets"


def test_secrets_are_redacted() -> None:
    redactor = Redactor()
    redactor.add("database_url", "postgresql://somebody:hidden@host/core")
    script = python("import sys; print(sys.argv)", "postgresql://somebody:hidden@host/core", redactor=redactor)
    assert "hidden" not in str(script.run(**SEASON))


def test_a_flood_is_cut() -> None:
    seen = python("import sys\nfor _ in range(64): sys.stdout.write('x' * 65536)").run(**SEASON)
    assert len(seen.output) == MAX_OUTPUT_BYTES
    assert len(str(seen)) < 5000


def ended(pid: int, within_s: float = 20) -> bool:
    """Whether a process that was told to end does: it takes a moment, and whoever inherits it need not collect it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        deadline = time.monotonic() + within_s
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(0.05)
    return True


def test_a_script_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    """It has a time limit, and its children go with it."""
    note = tmp_path / "pid"
    child = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    script = python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])", time_limit_s=3)
    started = time.monotonic()
    with pytest.raises(TargetBroken, match=r"purge.command: did not end within 3 s"):
        script.run(**SEASON)
    assert time.monotonic() - started < 10
    assert ended(int(note.read_text()))


def test_a_child_that_holds_the_output_does_not_hold_us() -> None:
    child = "import time; time.sleep(600)"
    script = python(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); print('done')")
    started = time.monotonic()
    assert script.run(**SEASON).output.strip() == "done"
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("word", ["/no/such/program", "\0"])
def test_a_script_that_cannot_be_started_is_the_targets_fault(word: str) -> None:
    with pytest.raises(TargetBroken, match=r"^purge.command: "):
        purge(word).run(**SEASON)


def test_without_a_command_and_on_production_it_is_not_verified() -> None:
    with pytest.raises(NotVerified, match="purge is not set"):
        Purge(ENVIRONMENT, Redactor())
    values = MappingProxyType({"purge": MappingProxyType({"command": ["true"]})})
    with pytest.raises(NotVerified, match="production"):
        Purge(replace(ENVIRONMENT, production=True, values=values), Redactor())
