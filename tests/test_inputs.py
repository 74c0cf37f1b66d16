"""Whatever people write, they are told what is wrong with it: a documented exit code, a clear line, no traceback.

Each command line runs in a fork of this process, by the entry point of `trr-conformance` and with the streams of a
terminal's shell: what it changes in the process is gone with it, and one that hangs is ended by a signal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import conformance.fixtures
import conformance.plugin  # noqa: F401  what every run imports, once for all forks
import contracts
import reference.__main__
import reference.states
from conformance import cli, environment
from conformance.environment import EnvironmentSource
from conformance.lab import __main__ as lab
from conformance.trace.formats import FORMATS
from conformance.trace.generate import generate
from conformance.undo import Change, Journal
from tests.test_badge import NAMES, case, junit
from tests.test_environment import FULL
from tests.test_report import REPORT
from tests.test_waivers import ONE as WAIVER

LIMIT_S = 60
CRASHED = 70
"""The exit code of a fork whose command raised something."""
MOST_LINES = 8
"""On standard error for bad input: pytest's own four lines of usage and an argparse usage of a few lines fit."""
USAGE = 4
NOBODY = "http://127.0.0.1:1"
CONTRACTS = Path(contracts.__file__).parent
FILES = sorted(
    str(path.relative_to(CONTRACTS))
    for path in CONTRACTS.rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc")
)


# --- command lines, run ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Said:
    """What came of a command line."""

    words: Sequence[str]
    code: int
    """Negative: the signal that ended it."""
    out: str
    err: str

    @property
    def told(self) -> str:
        return self.out + self.err


Main = Callable[[Sequence[str]], int]


def run(
    *words: str,
    folder: Path,
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
    main: Main = cli.main,
) -> Said:
    """Runs a command line in a folder, with these bytes on standard input."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        streams = (stdin, stdout, stderr)
        stdin.write(given)
        stdin.seek(0)
        sys.stdout.flush()
        sys.stderr.flush()
        if not (pid := os.fork()):
            _be_the_command(words, main, folder, [stream.fileno() for stream in streams], variables or {})
        _, status = os.waitpid(pid, 0)
        said = []
        for stream in (stdout, stderr):
            stream.seek(0)
            said.append(stream.read().decode("utf-8", "backslashreplace"))
    return Said(words, os.waitstatus_to_exitcode(status), *said)


def _be_the_command(
    words: Sequence[str], main: Main, folder: Path, streams: Sequence[int], variables: Mapping[str, str]
) -> None:
    """Never returns."""
    code = CRASHED
    try:
        signal.alarm(LIMIT_S)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        for name in [name for name in os.environ if name.startswith("PYTEST_") or name in KNOWN_VARIABLES]:
            del os.environ[name]
        os.environ.update({"XDG_STATE_HOME": str(folder / "state"), **variables})
        os.chdir(folder)
        code = main(words)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = CRASHED
    finally:
        for output in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                output.flush()
        os._exit(code & 0xFF)


KNOWN_VARIABLES = frozenset({*environment.DEFAULT_VARIABLES.values(), "TOKEN", "DATABASE", "UNSET"})


def honest(said: Said, *codes: int, names: Sequence[str] = ()) -> None:
    """One of the codes and no traceback; where it is bad input, a few lines of which one has one of the names."""
    assert said.code != -signal.SIGALRM, f"hangs: {said}"
    assert "Traceback (most recent call last)" not in said.told, f"{said.words}\n{said.told}"
    assert "INTERNALERROR" not in said.told, f"{said.words}\n{said.told}"
    assert said.code in codes, said
    if said.code == USAGE:
        lines = [line for line in said.err.splitlines() if line.strip()]
        assert lines, said
        assert len(lines) <= MOST_LINES, said
        assert not names or any(name in line for name in names for line in lines), said


# --- what is written -------------------------------------------------------------------------------------------------

# nothing of it leads out of a test's own folder, and no address but the machine's own
_letters = st.characters(exclude_characters="/.~@", exclude_categories=("Cs",))
_text = st.text(_letters, max_size=10)

ODD_FILES: Mapping[str, bytes] = {
    "empty": b"",
    "nul": b"\x00",
    "latin1": "münchen = 1".encode("latin-1"),
    "deep.json": b"[" * 100_000,
    "list.json": b"[]",
    "object.json": b'{"a": 1}',
    "dialect.json": b'{"$schema": {}}',
    "environment.toml": b'[environments.x]\nproduction = false\nbackend_url = "http://127.0.0.1:1"\n',
}
PLACES = (*ODD_FILES, "folder", "missing", "missing/file", "empty/below", "loop", "locked", "n" * 300, "a\0b", "\udcff")
WORDS = (
    *("", " ", "-", "--", "\0", "\udcff", "\n", "a\nb", "%s", "%", "{}", "[", "*", "'", "\x1b[31m", "x" * 5000),
    *("nan", "inf", "-inf", "-1", "0", "1", "1.5", "1e999", "1e308", "9" * 5000, "٣", "True"),
    *("backend", "AUTH-01", "auth-*", "all", "NOPE-1", ",", ",,", "AUTH-01,", "default", "quick", "x"),
    *(NOBODY, "http://", "http://[", "http://[::1", "http://127.0.0.1:99999", "127.0.0.1:1", "127.0.0.1:", ":", "a:b"),
    *("1.0.0", "v1.0.0", "HEAD", "request", "a=b", "path=", "=", "status=a.b"),
)
_junk = st.one_of(st.sampled_from(PLACES), st.sampled_from(WORDS), _text, st.integers().map(str), st.floats().map(str))


@contextlib.contextmanager
def folder_of_odd_files() -> Iterator[Path]:
    """A working folder with what the odd words may name."""
    with tempfile.TemporaryDirectory(prefix="trr-inputs-") as name:
        folder = Path(name) / "here"
        (folder / "folder").mkdir(parents=True)
        (folder / "loop").symlink_to("loop")
        (folder / "locked").write_bytes(b"")
        (folder / "locked").chmod(0)
        for file, content in ODD_FILES.items():
            (folder / file).write_bytes(content)
        yield folder


@functools.cache
def options(command: tuple[str, ...], main: Main = cli.main) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The options of a command as its help has them: those that take a value, and those that take none."""
    with folder_of_odd_files() as folder:
        said = run(*command, "--help", folder=folder, main=main)
    assert said.code == 0, said
    text = said.out
    if (own := re.search(r"(?ms)^contract conformance:$(.*?)^\S", text)) is not None:
        text = own[1]
    found = re.findall(r"(?m)^ +(?:-\w(?: \S+)?, )?(--[a-z][a-z-]*)(?:[= ](?! )(\S+))?", text)
    valued = tuple(sorted({name for name, value in found if value}))
    plain = tuple(sorted({name for name, value in found if not value} - set(valued)))
    assert valued or plain, text
    return valued, plain


def argument_lists(
    command: tuple[str, ...], *, main: Main = cli.main, without: Sequence[str] = (), most: int = 4
) -> st.SearchStrategy[list[str]]:
    """Lists of the real options of a command with odd values, repeated ones too, and odd words between."""

    def build(options: tuple[tuple[str, ...], tuple[str, ...]]) -> st.SearchStrategy[list[str]]:
        valued, plain = ([name for name in names if name not in without] for names in options)
        pieces = [st.sampled_from(plain).map(lambda name: [name])] if plain else []
        if valued:
            pairs = st.tuples(st.sampled_from(valued), _junk)
            pieces += [pairs.map(list), pairs.map(lambda pair: ["=".join(pair)])]
        pieces.append(_junk.map(lambda word: [word]))
        return st.lists(st.one_of(pieces), max_size=most).map(lambda lists: [word for words in lists for word in words])

    return st.deferred(lambda: build(options(command, main)))


def names_of(words: Sequence[str]) -> list[str]:
    """What a line about these words may have in it: one of them, as it may be shown."""
    parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    shown = [part.split() for part in parts]
    if not all(shown):
        return [""]  # a word that cannot be seen
    keys = [part[2:].replace("-", "_") for part in parts if part.startswith("--")]
    forms = [form for [first, *_] in shown for form in (first[:20], repr(first)[1:-1][:20], ascii(first)[1:-1][:20])]
    return ["are required: ", *keys, *forms]


# --- any command line ------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(st.lists(_junk.filter(lambda word: word not in cli.COMMANDS), max_size=3))
def test_any_first_word(words: list[str]) -> None:
    with folder_of_odd_files() as folder:
        said = run(*words, folder=folder)
    honest(said, 0, 4)
    assert said.code == 4 or words[0] in ("-h", "--help", "--version")


AT_ONCE = ("--collect-only", "-n", "0")
TARGETS = ((), ("--backend-url", NOBODY), ("--env-file", "environment.toml"))


@settings(max_examples=6)
@given(
    st.sampled_from(("run", "smoke")),
    argument_lists(("run",), without=["--prefork", "--restore"]),
    st.sampled_from(TARGETS[1:]),
)
def test_any_run_at_nobody(command: str, words: list[str], target: tuple[str, ...]) -> None:
    """The last words win: whatever is drawn before, nobody listens at the target."""
    with folder_of_odd_files() as folder:
        said = run(command, *words, *target, "-n", "0", folder=folder)
    honest(said, 0, 1, 4, 5, 6, names=[*names_of(words), *names_of(target)])
    assert said.code != 1 or "--require is not met" in said.out, said


@settings(max_examples=2)
@given(
    st.sampled_from(("run", "smoke")),
    argument_lists(("run",), without=["--prefork", "--restore"], most=2),
    st.sampled_from(TARGETS),
)
def test_any_collection(command: str, words: list[str], target: tuple[str, ...]) -> None:
    with folder_of_odd_files() as folder:
        said = run(command, *words, *target, *AT_ONCE, folder=folder)
    honest(said, 0, 4, 5, names=[*names_of(words), *names_of(target), "--env"])


# what it takes but options, and its exit codes
OTHERS: Mapping[tuple[str, ...], tuple[int, tuple[int, ...]]] = {
    ("report",): (1, (0, 4)),
    ("trace",): (1, (0, 1, 4, 5)),
    ("contracts", "diff"): (1, (0, 1, 4)),
    ("contracts", "diff-schema"): (2, (0, 1, 4)),
    ("drift",): (1, (0, 1, 4, 5)),
}


@pytest.mark.parametrize("command", OTHERS, ids=" ".join)
@settings(max_examples=5)
@given(st.data())
def test_any_arguments(command: tuple[str, ...], data: st.DataObject) -> None:
    number, codes = OTHERS[command]
    words = [
        *data.draw(argument_lists(command, most=2)),
        *(["--direction", "request"] if command[-1] == "diff-schema" else []),
        *data.draw(st.lists(_junk, min_size=number, max_size=number)),
    ]
    with folder_of_odd_files() as folder:
        said = run(*command, *words, folder=folder)
    honest(said, *codes, names=names_of(words))


FOUND = (
    ("trace", "a\0b"),
    ("drift", "a\0b"),
    ("drift", "deep.json"),
    ("contracts", "diff", "a\0b"),
    ("contracts", "diff-schema", "dialect.json", "object.json", "--direction", "request"),
    ("run", "--tests", "empty", "--backend-url", NOBODY, "-n", "0"),
    ("states", "--database-url", "host=127.0.0.1 port=1 dbname=\udcff"),
    ("states", "--database-url", "postgresql://["),
    ("serve", "--only", "app", "--trr-api-url", "http://[::1]x"),
    ("serve", "--only", "app", "--trr-api-url", "http://["),
)


@pytest.mark.parametrize("words", FOUND, ids=lambda words: ascii(" ".join(words)))
def test_what_was_broken_once(words: tuple[str, ...]) -> None:
    with folder_of_odd_files() as folder:
        main = FATAL[words[0]][0] if words[0] in FATAL else cli.main
        said = run(*(words[1:] if words[0] in FATAL else words), folder=folder, main=main)
    honest(said, 4, names=names_of(words[1:]))


@settings(max_examples=6)
@given(argument_lists(("contracts", "check")), st.sampled_from(PLACES))
def test_any_check_of_what_holds_no_contracts(words: list[str], place: str) -> None:
    with folder_of_odd_files() as folder:
        said = run("contracts", "check", *words, f"--folder={place}", folder=folder)
    honest(said, 0, 4)


# A word or address at the end that nothing can be started with; the last one of an option counts.
FATAL: Mapping[str, tuple[Main, Sequence[tuple[str, ...]]]] = {
    "serve": (
        reference.__main__.main,
        [
            ("surplus",),
            ("--only", "nobody"),
            *(
                (option, url)
                for option in ("--trr-api-url", "--vision-url")
                for url in ("", "http://", "http://[", "\0", "a b", "http://[::1]x", "ftp://localhost")
            ),
        ],
    ),
    "states": (
        reference.states.main,
        [
            ("surplus",),
            *(
                ("--database-url", url)
                for url in (
                    "postgresql://127.0.0.1:1/x",
                    "postgresql://127.0.0.1:99999/x",
                    "postgresql://[",
                    "postgresql://127.0.0.1:1/%zz",
                    "host=127.0.0.1 port=1 dbname='",
                    "host=127.0.0.1 port=1 nonsense=1",
                    "host=127.0.0.1 port=1 dbname=\0",
                    "host=127.0.0.1 port=1 dbname=\udcff",
                )
            ),
        ],
    ),
    "stub": (
        lab.main,
        [
            ("surplus",),
            *(
                (option, address)
                for option in ("--stub-backend", "--page-origin", "--stub-vision")
                for address in (
                    "",
                    ":",
                    "a:b",
                    "127.0.0.1",
                    "127.0.0.1:99999",
                    "192.0.2.1:1",
                    "\0:1",
                    "\udcff:1",
                )
            ),
        ],
    ),
}


@pytest.mark.parametrize("command", FATAL)
@settings(max_examples=6)
@given(st.data())
def test_any_server_that_cannot_start(command: str, data: st.DataObject) -> None:
    """The modules that the commands run in processes of their own."""
    main, fatal = FATAL[command]
    words = data.draw(argument_lists((), main=main, without=["--prefork", "--inherited"], most=2))
    last = data.draw(st.sampled_from(fatal))
    with folder_of_odd_files() as folder:
        said = run(*words, *last, folder=folder, main=main)
    honest(said, 0, 4, names=[*names_of([*words, *last]), "--database-url", "database"])
    assert said.code == 4 or {"--help", "-h", "--list-rogues"} & {*words}


@pytest.mark.parametrize("command", [*FATAL, "rogues"])
def test_a_command_in_a_process_of_its_own_says_what_is_wrong(command: str) -> None:
    with folder_of_odd_files() as folder:
        said = run(command, "--no-such-option", "no-such-rogue", folder=folder)
    honest(said, 4, names=["no-such", "are required: --database-url"])
    assert said.code == 4


# --- true files, spoiled ---------------------------------------------------------------------------------------------

_odd_scalars = st.one_of(
    st.sampled_from(
        (None, True, 0, -1, 10**400, 1e308, float("nan"), "", "\ud800", "\0", "x" * 1000, "2026-02-30", {}, [])
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
)
_odd_values = st.recursive(
    _odd_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every member and item of a JSON value: (what it stands in, its key or index)."""
    found: list[tuple[Any, Any]] = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *places(value[key])]
    return found


@st.composite
def respoken(draw: st.DrawFn, value: Any, most: int = 3) -> Any:
    """A JSON value with a few members gone, renamed, replaced, or put elsewhere."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, most))):
        if not (all_places := places(value)):
            return draw(_odd_values)
        holder, key = draw(st.sampled_from(all_places))
        match draw(st.sampled_from(("drop", "rename", "replace", "wrap", "swap"))):
            case "drop":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[draw(st.text(max_size=5))] = holder.pop(key)
            case "wrap":
                holder[key] = [holder[key]] if draw(st.booleans()) else {"x": holder[key]}
            case "swap":
                other, place = draw(st.sampled_from(all_places))
                if (isinstance(other, dict) and place in other) or (isinstance(other, list) and place < len(other)):
                    holder[key] = json.loads(json.dumps(other[place]))
            case _:
                holder[key] = draw(_odd_values)
    return value


_pieces = st.binary(max_size=6) | st.sampled_from(
    (b"\xff", b"\x00", b"\r", b"\xef\xbb\xbf", b"[" * 3000, b"9" * 5000, b"&a", b"*a")
)


@st.composite
def spoiled(draw: st.DrawFn, content: bytes, most: int = 2) -> bytes:
    """A file with a few of its bytes changed: one flipped, some gone, some added, some twice, or cut short."""
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.sampled_from((1, 2, 16, 200)))
        match draw(st.sampled_from(("flip", "drop", "add", "twice", "cut", "line"))):
            case "flip":
                changed = bytes(byte ^ draw(st.integers(1, 255)) for byte in content[at : at + 1])
                content = content[:at] + changed + content[at + 1 :]
            case "drop":
                content = content[:at] + content[at + length :]
            case "add":
                content = content[:at] + draw(_pieces) + content[at:]
            case "twice":
                content = content[: at + length] + content[at:]
            case "cut":
                content = content[:at]
            case "line":
                start = content.rfind(b"\n", 0, at) + 1
                content = content[:start] + content[(content.find(b"\n", at) + 1) or len(content) :]
    return content


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def any_of(true: Any) -> st.SearchStrategy[bytes]:
    """Any bytes, any JSON, and a true JSON document that is spoiled in one way or another."""
    return st.one_of(
        respoken(true).map(as_json),
        respoken(true).map(as_json),
        spoiled(as_json(true)),
        _odd_values.map(as_json),
        st.binary(max_size=100),
    )


def toml(value: Any) -> str:
    """A JSON value as a TOML value."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return "''" if value is None else json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


def toml_table(table: Any) -> bytes:
    if not isinstance(table, dict):
        return toml(table).encode()
    lines = [f"{json.dumps(key)} = {toml(value)}" for key, value in table.items()]
    return "\n".join(["[environments.x]", *lines, ""]).encode()


# every key that there is, and nowhere anybody who listens; the lab's own servers could bind nowhere
TABLE = {
    **{key: value for key, value in FULL.items() if not key.endswith("_url")},
    **dict.fromkeys(environment.URL_KEYS, NOBODY),
    **{key: {"bind": "192.0.2.1:1"} for key in ("page_origin", "stub_backend", "stub_vision")},
}
WITHOUT_LAB = {key: value for key, value in TABLE.items() if key not in ("page_origin", "stub_backend", "stub_vision")}
VARIABLES = {"TOKEN": "token-value", "DATABASE": "postgresql://user:pass@127.0.0.1:1/db"}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working folder."""
    return tmp_path


@settings(max_examples=6)
@given(
    st.sampled_from(("run", "smoke")),
    st.one_of(
        respoken(TABLE).map(toml_table),
        respoken(WITHOUT_LAB).map(toml_table),
        spoiled(toml_table(TABLE)),
        spoiled(toml_table(WITHOUT_LAB)),
        st.binary(max_size=100),
    ),
)
@example("run", toml_table(WITHOUT_LAB))
@example("run", toml_table(TABLE))
def test_any_environment_file(here: Path, command: str, content: bytes) -> None:
    (here / "mine.toml").write_bytes(content)
    said = run(command, "--env-file", "mine.toml", "-n", "0", folder=here, variables=VARIABLES)
    honest(said, 4, 5, 6, 7, names=["mine.toml", "environments.", "bind", "192.0.2.1"])


@settings(max_examples=5)
@given(
    st.one_of(
        st.binary(max_size=100),
        spoiled(WAIVER.encode()),
        _odd_values.map(lambda value: f"[[waiver]]\nclause = {toml(value)}".encode()),
        respoken({"clause": "TOG-04", "reason": "known", "owner": "ana", "expires": "2999-01-01"}).map(
            lambda waiver: f"waiver = [{toml(waiver)}]".encode()
        ),
    )
)
def test_any_waivers(here: Path, content: bytes) -> None:
    (here / "mine.toml").write_bytes(content)
    said = run("run", "--waivers", "mine.toml", "--backend-url", NOBODY, "-n", "0", folder=here)
    honest(said, 4, 6, names=["mine.toml"])


_patterns = st.one_of(
    _junk,
    st.lists(st.sampled_from(("AUTH-01", "tog-*", "*", "all", "[", "[!]", "", " ", "\0")), max_size=3).map(",".join),
)


@settings(max_examples=3)
@given(st.sampled_from(("--clause", "--require")), _patterns)
def test_any_pattern_of_clauses(here: Path, option: str, pattern: str) -> None:
    said = run("run", f"{option}={pattern}", "--backend-url", NOBODY, "-n", "0", folder=here)
    # 1: what is required is not verified, which goes before that nobody answers
    honest(said, *((4, 5, 6) if option == "--clause" else (1, 4, 5, 6)), names=[option])


@settings(max_examples=5)
@given(any_of(REPORT))
def test_any_report_to_replay(here: Path, content: bytes) -> None:
    (here / "mine.json").write_bytes(content)
    said = run("run", "--replay", "mine.json", "--backend-url", NOBODY, "-n", "0", folder=here)
    honest(said, 4, 6, names=["mine.json"])


@settings(max_examples=15)
@given(any_of(REPORT))
def test_any_report_to_show(here: Path, content: bytes) -> None:
    (here / "mine").mkdir(exist_ok=True)
    (here / "mine" / "report.json").write_bytes(content)
    said = run("report", "mine", folder=here)
    honest(said, 0, 4, names=["mine/report.json"])


@settings(max_examples=3)
@given(any_of(["conformance/suites/backend/test_auth.py::test_x"]))
@example(b"")
@example(b"{}")
@example(b"[[]]")
def test_any_list_of_tests(here: Path, content: bytes) -> None:
    (here / "mine.json").write_bytes(content)
    said = run("run", "--tests", "mine.json", "--backend-url", NOBODY, "-n", "0", folder=here)
    honest(said, 4, 6, names=["mine.json"])


CHANGE = Change(
    "6f1f6c1e-8a34-4d5b-9f0e-0a4b6d1c2e3f", "0a4b6d1c-8a34-4d5b-9f0e-6f1f6c1e2e3f", "https://cdn.invalid/1.jpg", True
)


@settings(max_examples=3)
@given(st.booleans(), any_of([dataclasses.asdict(CHANGE)]))
@example(True, as_json([dataclasses.asdict(CHANGE)]))
@example(True, as_json([{**dataclasses.asdict(CHANGE), "link_id": True}]))
@example(True, as_json([{**dataclasses.asdict(CHANGE), "first": None}]))
def test_any_undo_journal(here: Path, restore: bool, content: bytes) -> None:
    (here / "mine.toml").write_bytes(toml_table(WITHOUT_LAB))
    journal = Journal(environment.resolve(EnvironmentSource("x", {"production": False, "backend_url": NOBODY}))).path
    place = here / "state" / "trr-conformance" / journal.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    how = ["--restore", "--patience", "0"] if restore else []
    said = run("smoke", "--env-file", "mine.toml", *how, "-n", "0", folder=here, variables=VARIABLES)
    honest(said, *((0, 4, 7) if restore else (4, 6, 7)), names=[journal.name])


# --- the badge's JUnit file ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    """Something that answers; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


JUNIT = junit(case, {NAMES[0]: "<failure message='&quot;1 KiB&quot;'>x</failure>"}).encode()
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + "]><testsuites>&a11;</testsuites>"
).encode()


@settings(max_examples=1)
@given(st.one_of(st.binary(max_size=60), spoiled(JUNIT, most=4)))
@example(BOMB)
@example(b'<?xml version="1.0" encoding="nonsense"?><testsuites/>')
@example(b"<testsuite>" * 100_000)
def test_any_junit_file(here: Path, app: str, content: bytes) -> None:
    (here / "badge.xml").write_bytes(content)
    asked = ("--app-url", app, "--target", "app", "--clause", "BADGE-01", "--badge-junit", "badge.xml")
    said = run("run", *asked, "-n", "0", "--report-dir", "report", folder=here)
    honest(said, 0, 1, 5, 6)
    assert said.code != 6 or "badge_junit: badge.xml: is no JUnit XML" in said.out, said


# --- contracts -------------------------------------------------------------------------------------------------------


@st.composite
def faults(draw: st.DrawFn) -> tuple[str, bytes | None]:
    """A file of the contracts, and what it holds instead; None where it is missing."""
    # examples are many, and alike
    inner = [name for name in FILES if not name.startswith("examples/") or "streams" in name]
    name = draw(st.sampled_from(inner) | st.sampled_from(FILES))
    content = (CONTRACTS / name).read_bytes()
    drawn = [spoiled(content), st.sampled_from((None, b"", b"\xff\xfe", b"null", b"[]", b"{}", b"1", b"a: &a [*a]"))]
    if name.endswith(".json") or name == "contracts.lock":
        drawn += [respoken(json.loads(content)).map(as_json)] * 2
    if name.endswith(".yaml"):
        drawn += [rewritten(content.decode())] * 2
    return name, draw(st.one_of(drawn))


@st.composite
def rewritten(draw: st.DrawFn, text: str) -> bytes:
    """A YAML file with one key renamed, or one value replaced."""
    words = [match.span() for match in re.finditer(r"(?<=: )\S[^\n]*|[\w$-]+(?=:)", text)]
    start, end = draw(st.sampled_from(words))
    word = draw(
        _text
        | st.sampled_from(
            (
                "!!binary x",
                "!!python/none",
                "2026-01-01",
                ".inf",
                "~",
                "[",
                "{}",
                "[[]]",
                "'",
                "|",
                "1",
                "''",
                "$ref",
                "<<",
                "? ",
                "true",
                "properties",
                "'#/components/schemas/x'",
                "../schemas/photo.schema.json",
            )
        )
    )
    return (text[:start] + word + text[end:]).encode()


@contextlib.contextmanager
def spoiled_contracts(fault: tuple[str, bytes | None] | None) -> Iterator[Path]:
    """A copy of the contracts with this fault, by links but for what may be written."""
    with tempfile.TemporaryDirectory(prefix="trr-inputs-") as folder:
        copy = Path(folder) / "contracts"
        for name in FILES:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).symlink_to(CONTRACTS / name)
        lock = copy / "contracts.lock"
        lock.unlink()
        shutil.copyfile(CONTRACTS / lock.name, lock)
        if fault is not None:
            name, content = fault
            (copy / name).unlink()
            if content is not None:
                (copy / name).write_bytes(content)
        yield copy.parent


@settings(max_examples=1)
@given(faults(), st.lists(st.sampled_from(("--github", "--write-lock")), unique=True))
@example(("clauses/auth.yaml", b"[" * 100_000), [])
def test_any_fault_in_the_contracts_is_told(fault: tuple[str, bytes | None], flags: list[str]) -> None:
    with spoiled_contracts(fault) as folder:
        said = run("contracts", "check", "--folder", "contracts", *flags, folder=folder)
    honest(said, 0, 1, 4, names=[fault[0]])
    assert said.code != 1 or said.out.strip(), said


@settings(max_examples=1)
@given(faults(), st.booleans(), st.sampled_from(((), ("--github",), ("--json",))))
def test_any_fault_in_contracts_that_are_compared(
    fault: tuple[str, bytes | None], is_base: bool, flags: tuple[str, ...]
) -> None:
    with spoiled_contracts(fault) as folder:
        two = ("contracts", "--folder", str(CONTRACTS)) if is_base else (str(CONTRACTS), "--folder", "contracts")
        said = run("contracts", "diff", *two, *flags, folder=folder)
    honest(said, 0, 1, 4, names=["contracts"])
    assert said.code != 1 or said.out.strip(), said


def test_an_untouched_copy_has_no_fault_and_no_change() -> None:
    with spoiled_contracts(None) as folder:
        assert run("contracts", "check", "--folder", "contracts", folder=folder).code == 0
        assert run("contracts", "diff", str(CONTRACTS), "--folder", "contracts", folder=folder).code == 0


SCHEMAS = [json.loads((CONTRACTS / name).read_bytes()) for name in FILES if name.startswith("schemas/")]


@settings(max_examples=15)
@given(st.data(), st.sampled_from(("request", "response")), st.booleans())
def test_any_schema(here: Path, data: st.DataObject, direction: str, swapped: bool) -> None:
    schema = data.draw(st.sampled_from(SCHEMAS))
    (here / "true.json").write_bytes(as_json(schema))
    (here / "mine.json").write_bytes(data.draw(any_of(schema)))
    files = ("mine.json", "true.json") if swapped else ("true.json", "mine.json")
    said = run("contracts", "diff-schema", *files, "--direction", direction, folder=here)
    honest(said, 0, 1, 4, names=["mine.json"])


# --- OpenAPI documents -----------------------------------------------------------------------------------------------


class _Photo(BaseModel):
    served_url: str
    width: int | None = None


def _published() -> dict[str, Any]:
    """What a FastAPI backend says of itself."""
    service = FastAPI()

    @service.get("/api/v1/screenalytics/people/{person_id}/photos")
    def photos(person_id: str, seed_only: bool = False, limit: int = 100) -> list[_Photo]:
        raise NotImplementedError

    return service.openapi()


DOCUMENTS = (_published(), contracts.load().openapi())


@settings(max_examples=12)
@given(st.data(), st.sampled_from(((), ("--github",), ("--json",))), st.booleans())
def test_any_openapi_document(here: Path, data: st.DataObject, flags: tuple[str, ...], piped: bool) -> None:
    content = data.draw(st.sampled_from(DOCUMENTS).flatmap(any_of))
    (here / "mine.json").write_bytes(content)
    said = run("drift", "-" if piped else "mine.json", *flags, folder=here, given=content if piped else b"")
    honest(said, 0, 1, 4, 5, names=["-: " if piped else "mine.json"])


@settings(max_examples=6)
@given(rewritten((CONTRACTS / "openapi" / "backend.yaml").read_text(encoding="utf-8")))
def test_any_openapi_document_in_yaml(here: Path, content: bytes) -> None:
    (here / "mine.yaml").write_bytes(content)
    honest(run("drift", "mine.yaml", folder=here), 0, 1, 4, 5, names=["mine.yaml"])


# --- logs ------------------------------------------------------------------------------------------------------------


@functools.cache
def log(form: str) -> bytes:
    """A log of a few imports."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder) / "log", form=form, lines=60, people=8, broken=0.1)
        return (Path(folder) / "log").read_bytes()


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """A log of JSON lines, some of which say odd things."""
    lines = log("json").splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        with contextlib.suppress(ValueError):
            lines[at] = as_json(draw(respoken(json.loads(lines[at]))))
    return b"\n".join(lines)


_logs = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(FORMATS).map(log).flatmap(spoiled),
    json_lines(),
    st.sampled_from(FORMATS).map(log).map(gzip.compress).flatmap(lambda zipped: spoiled(zipped, most=1)),
)


@settings(max_examples=25)
@given(_logs, st.sampled_from((None, *FORMATS)), st.booleans(), st.booleans())
def test_any_log(here: Path, content: bytes, form: str | None, as_json: bool, piped: bool) -> None:
    (here / "mine.log").write_bytes(content)
    words = [*(["--format", form] if form else []), *(["--json"] if as_json else []), "-" if piped else "mine.log"]
    said = run("trace", *words, folder=here, given=content if piped else b"")
    honest(said, 0, 1, 4, 5, names=["-: " if piped else "mine.log"])
