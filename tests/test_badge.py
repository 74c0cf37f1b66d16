"""BADGE-01 is judged by the JUnit file of any runner: real runs of node's, and the layouts of others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

import contracts
from conformance import badge
from conformance.badge import Case, Outcome
from conformance.errors import NotVerified, TargetBroken, Violation

EXAMPLE = Path(__file__).parent.parent / "examples" / "badge"
VECTORS = contracts.load().vectors("badge")
NAMES = [vector["name"] for vector in VECTORS]
SAMPLE = (EXAMPLE / "badge.mjs").read_text(encoding="utf-8")

with_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


# --- the vectors -----------------------------------------------------------------------------------------------------


def test_no_name_of_a_vector_continues_another() -> None:
    """So that a runner which adds a word to a name cannot prove another vector."""
    assert [(a, b) for a in NAMES for b in NAMES if b.startswith(f"{a}-")] == []


# --- real runs -------------------------------------------------------------------------------------------------------


def node(folder: Path, module: Path, *options: str) -> Path:
    """The JUnit file of a run of node over the vectors."""
    file = folder / "badge.xml"
    command = ["node", "--test", "--test-reporter=junit", f"--test-reporter-destination={file}", *options]
    subprocess.run(
        [*command, str(EXAMPLE / "badge.test.mjs")],
        env={**os.environ, "BADGE_MODULE": str(module)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    return file


@with_node
def test_sample_passes(tmp_path: Path) -> None:
    file = node(tmp_path, EXAMPLE / "badge.mjs")
    assert badge.read(file) == [Case(name, Outcome.PASSED) for name in NAMES]
    badge.judge(file, VECTORS)


@with_node
def test_badge_may_be_null_where_there_is_none(tmp_path: Path) -> None:
    module = tmp_path / "badge.mjs"
    module.write_text(SAMPLE.replace('.join(" · ")', '.join(" · ") || null'), encoding="utf-8")
    badge.judge(node(tmp_path, module), VECTORS)


BROKEN = {
    "steps of 1000": ("1024", "1000", "badge-width-height-and-size"),
    "a first step of 1000": (">= 1024", ">= 1000", "badge-1000-bytes"),
    "a step too late": (">= 1024", "> 1024", "badge-1-kb"),
    "binary units": ('"KB", "MB", "GB"', '"KiB", "MiB", "GiB"', "badge-1-kb"),
    "no unit above KB": (', "MB", "GB"', "", "badge-1-mb"),
    "no unit above MB": (', "GB"', "", "badge-1-gb"),
    "no unit of bytes": ("let unit = 0", "let unit = 1; value /= 1024", "badge-1-byte"),
    "no decimals": ("? 1 : 0", "? 0 : 0", "badge-1-5-kb"),
    "one decimal always": ("? 1 : 0", "? 1 : 1", "badge-245-3-kb"),
    "two decimals below 10": ("? 1 : 0", "? 2 : 0", "badge-rounded-down-kb"),
    "the trailing .0 kept": ('.replace(/\\.0$/, "")', "", "badge-1-kb"),
    "every trailing 0 dropped": ("/\\.0$/", "/\\.?0+$/", "badge-100-kb"),
    "rounded down": (
        "value.toFixed(decimals)",
        "(Math.floor(value * 10 ** decimals) / 10 ** decimals)",
        "badge-245-7-kb",
    ),
    "rounded up": ("value.toFixed(decimals)", "(Math.ceil(value * 10 ** decimals) / 10 ** decimals)", "badge-245-3-kb"),
    "thousands separated": (
        "${value.toFixed(decimals)",
        "${value.toLocaleString('en', { maximumFractionDigits: decimals })",
        "badge-1000-bytes",
    ),
    "no space before the unit": (" ${UNITS", "${UNITS", "badge-size-alone"),
    "another separator": (" · ", " - ", "badge-width-height-and-size"),
    "a separator before a size alone": (".filter((part) => part !== null)", "", "badge-size-alone"),
    "a sign of multiplication": ("${width}x", "${width}×", "badge-width-and-height"),
    "height first": ("${width}x${height}", "${height}x${width}", "badge-width-and-height"),
    "pixels for a width alone": ("${width}w", "${width}px", "badge-width-alone"),
    "no width alone": ("`${width}w`", "null", "badge-width-alone"),
    "a height alone": (
        "if (width == null) return null",
        "if (width == null) return height == null ? null : `${height}h`",
        "badge-height-alone",
    ),
    "a width that is not known": ("if (width == null) return null;", "", "badge-size-alone"),
    "a size that is not known": (
        "if (bytes == null) return null",
        'if (bytes == null) return "? KB"',
        "badge-width-alone",
    ),
    "null taken for a size": ("bytes == null", "bytes === undefined", "badge-all-null"),
    "null taken for a height": ("height == null", "height === undefined", "badge-width-null-height-and-size"),
    "size first": (
        "[dimensions(width, height), size(bytes)]",
        "[size(bytes), dimensions(width, height)]",
        "badge-width-and-size",
    ),
    "no size": (", size(bytes)]", "]", "badge-size-alone"),
    "a throw": ("if (bytes == null) return null", 'if (bytes == null) throw new Error("no size")', "badge-width-alone"),
}


@with_node
@pytest.mark.parametrize("old, new, vector", BROKEN.values(), ids=BROKEN)
def test_broken_badge_is_caught(tmp_path: Path, old: str, new: str, vector: str) -> None:
    """One thing of the sample is changed: the vector that is there for it fails, and so does the clause."""
    assert old in SAMPLE
    module = tmp_path / "badge.mjs"
    module.write_text(SAMPLE.replace(old, new), encoding="utf-8")
    file = node(tmp_path, module)
    assert vector in [case.vector for case in badge.read(file) if case.outcome is Outcome.FAILED]
    with pytest.raises(Violation) as violation:
        badge.judge(file, VECTORS)
    found = violation.value
    assert found.expected.keys() == found.actual.keys()
    assert all(message and "\n" not in message for message in found.actual.values())


@with_node
@pytest.mark.parametrize(
    "module",
    [
        pytest.param("export const size = 1;\n", id="no badge"),
        pytest.param("export function badge( {\n", id="no JavaScript"),
    ],
)
def test_module_without_a_badge_is_never_verified(tmp_path: Path, module: str) -> None:
    (tmp_path / "badge.mjs").write_text(module, encoding="utf-8")
    with pytest.raises((Violation, NotVerified)):
        badge.judge(node(tmp_path, tmp_path / "badge.mjs"), VECTORS)


@with_node
def test_filtered_run_is_not_verified(tmp_path: Path) -> None:
    file = node(tmp_path, EXAMPLE / "badge.mjs", "--test-name-pattern=kb")
    with pytest.raises(NotVerified, match=r"passed for \d+ of \d+ vectors: badge-width-height-and-size, .*…"):
        badge.judge(file, VECTORS)


# --- layouts of other runners ----------------------------------------------------------------------------------------


def junit(layout: Callable[[str, str], str], bodies: dict[str, str], head: str = "<testsuites>") -> str:
    cases = "".join(layout(name, bodies.get(name, "")) for name in NAMES)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{cases}</testsuites>'


def case(name: str, body: str, classname: str = "", **more: str) -> str:
    attributes = "".join(
        f" {key}={quoteattr(value)}" for key, value in {"classname": classname, "name": name, **more}.items()
    )
    return f'<testcase{attributes} time="0.001">{body}</testcase>'


def suite(name: str, body: str) -> str:
    return f"<testsuite name={quoteattr(name)}>{body}</testsuite>"


LAYOUTS: dict[str, Callable[[str, str], str]] = {
    "node": lambda name, body: case(name, body, "test"),
    "node, nested": lambda name, body: suite("badge", suite("vectors", case(name, body, "test"))),
    "node, a suite for each": lambda name, body: suite(name, case("reads", body, "test")),
    "vitest": lambda name, body: suite(
        "tests/badge.test.ts", case(f"badge > vectors > {name}", body, "tests/badge.test.ts")
    ),
    "vitest, with the text": lambda name, body: case(f"{name}: reads 1200x800 · 245 KB", body, "tests/badge.test.ts"),
    "jest": lambda name, body: suite("badge", case(f"badge vectors {name}", body, f"badge vectors {name}")),
    "jest, in quotes": lambda name, body: case(f'the badge of "{name}"', body),
    "pytest": lambda name, body: suite("pytest", case(f"test_badge[{name}]", body, "tests.test_badge.TestBadge")),
    "pytest, in a file of its name": lambda name, body: case(
        f"test_reads[{name}]", body, "tests.badge-vectors.test_badge"
    ),
    "class names": lambda name, body: case("reads", body, f"Badge.{name}"),
    "a log beside the result": lambda name, body: case(name, f"{body}<system-out>error &lt;failure/&gt;</system-out>"),
    "properties within": lambda name, body: case(
        name, f'<properties><property name="error" value="0"/></properties>{body}'
    ),
    "a status": lambda name, body: case(name, body, status="passed"),
    "a status of running": lambda name, body: case(name, body, status="run", result="completed"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "badge.xml"


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layout_is_read(file: Path, layout: Callable[[str, str], str]) -> None:
    """All passed: verified. One fails: a violation that names it. One skipped: not verified, naming it."""
    file.write_text(junit(layout, {}), encoding="utf-8")
    badge.judge(file, VECTORS)
    file.write_text(junit(layout, {"badge-1-kb": '<failure message="1024 B"/>'}), encoding="utf-8")
    with pytest.raises(Violation, match=f"1 of {len(NAMES)} vectors is another: badge-1-kb") as violation:
        badge.judge(file, VECTORS)
    assert (violation.value.expected, violation.value.actual) == ({"badge-1-kb": "1 KB"}, {"badge-1-kb": "1024 B"})
    file.write_text(junit(layout, {"badge-1-kb": "<skipped/>"}), encoding="utf-8")
    with pytest.raises(NotVerified, match=rf"1 of {len(NAMES)} vectors: badge-1-kb\Z"):
        badge.judge(file, VECTORS)


def test_root_may_be_one_suite(file: Path) -> None:
    file.write_text(suite("badge", "".join(case(name, "") for name in NAMES)), encoding="utf-8")
    badge.judge(file, VECTORS)


@pytest.mark.parametrize(
    "body, message",
    [
        ('<failure message="&amp;quot;1&amp;quot; KiB"/>', '"1" KiB'),
        ("<failure>\n  AssertionError:\n  1 KiB\n</failure>", "AssertionError: 1 KiB"),
        ('<error type="TypeError" message="bytes is null">at badge.mjs:7</error>', "bytes is null"),
        ("<failure/><skipped/>", ""),
        ("<skipped/><failure/>", ""),
        (f"<failure>{'1 KiB ' * 1000}</failure>", f"{'1 KiB ' * 33}…"),
    ],
)
def test_failure_tells_what_came(file: Path, body: str, message: str) -> None:
    file.write_text(f"<testsuite>{case('badge-1-kb', body)}</testsuite>", encoding="utf-8")
    assert badge.read(file) == [Case("badge-1-kb", Outcome.FAILED, message)]


@pytest.mark.parametrize("word", ["failed", "Error", "skipped", "notrun", "disabled", "todo"])
def test_status_is_heard_without_an_element(file: Path, word: str) -> None:
    file.write_text(junit(lambda name, body: case(name, body, status=word), {}), encoding="utf-8")
    with pytest.raises((Violation, NotVerified)):
        badge.judge(file, VECTORS)


def test_vector_that_ran_twice_passes_once_and_fails_once(file: Path) -> None:
    """In two browsers, say: skipped in one is well, failed in one is not."""
    file.write_text(junit(lambda name, body: case(name, "<skipped/>") + case(name, body), {}), encoding="utf-8")
    badge.judge(file, VECTORS)
    file.write_text(junit(lambda name, body: case(name, "") + case(name, "<failure/>"), {}), encoding="utf-8")
    with pytest.raises(Violation):
        badge.judge(file, VECTORS)


@pytest.mark.parametrize(
    "rename",
    [
        pytest.param(lambda name: f"{name}-and-more", id="a longer name"),
        pytest.param(lambda name: f"old-{name}", id="a name within a longer one"),
        pytest.param(str.upper, id="capitals"),
        pytest.param(lambda name: name.replace("-", " "), id="spaces"),
        pytest.param(lambda _: "reads as the vectors say", id="one test case for all"),
    ],
)
def test_test_case_of_another_name_proves_nothing(file: Path, rename: Callable[[str], str]) -> None:
    file.write_text(junit(lambda name, body: case(rename(name), body), {}), encoding="utf-8")
    with pytest.raises(NotVerified, match=f"{len(NAMES)} of {len(NAMES)} vectors"):
        badge.judge(file, VECTORS)


def test_failures_elsewhere_are_no_matter(file: Path) -> None:
    other = case("badge-of-an-older-set", "<failure/>") + case("login works", "<error/>")
    file.write_text(junit(case, {}, head=f"<testsuites>{other}"), encoding="utf-8")
    badge.judge(file, VECTORS)


def test_run_over_an_older_set_names_the_new_vectors(file: Path) -> None:
    file.write_text(junit(lambda name, body: "" if name in NAMES[3:5] else case(name, body), {}), encoding="utf-8")
    with pytest.raises(NotVerified, match=rf"2 of {len(NAMES)} vectors: {NAMES[3]}, {NAMES[4]}\Z"):
        badge.judge(file, VECTORS)


# --- no JUnit file ---------------------------------------------------------------------------------------------------

BOMB = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><testsuites><testcase name="&b;"/></testsuites>'
)


@pytest.mark.parametrize(
    "content, says",
    [
        pytest.param(b"", "no element found", id="empty"),
        pytest.param(b"<testsuites>", "no element found", id="cut short"),
        pytest.param(b"<testsuites></testsuite>", "mismatched tag", id="mismatched"),
        pytest.param(b"TAP version 13\nok 1 - badge-1-kb\n", "syntax error", id="TAP"),
        pytest.param(b'{"numPassedTests": 39}', "not well-formed", id="JSON"),
        pytest.param(b"<html><body/></html>", "its root is <html>", id="HTML"),
        pytest.param(b"<testcase name='badge-1-kb'/>", "its root is <testcase>", id="bare test case"),
        pytest.param(BOMB.encode(), "it has a document type", id="entities"),
        pytest.param(b'<?xml version="1.0" encoding="klingon"?><testsuites/>', "unknown encoding", id="encoding"),
        pytest.param(b"<testsuites>\xff\xfe</testsuites>", "not well-formed", id="no UTF-8"),
        pytest.param(b"<testsuites>\x1b[31m</testsuites>", "not well-formed", id="control characters"),
        pytest.param(b"\x00" * 100, "not well-formed", id="zeros"),
    ],
)
def test_what_is_no_junit_is_one_line(file: Path, content: bytes, says: str) -> None:
    file.write_bytes(content)
    with pytest.raises(TargetBroken) as broken:
        badge.judge(file, VECTORS)
    assert broken.value.message.startswith(f"badge_junit: {file}: is no JUnit XML: ")
    assert says in broken.value.message
    assert "\n" not in broken.value.message


def test_deep_nesting_is_borne(file: Path) -> None:
    file.write_text("<testsuite>" * 50_000 + "</testsuite>" * 50_000, encoding="utf-8")
    with pytest.raises(NotVerified):
        badge.judge(file, VECTORS)


@pytest.mark.parametrize("made", ["nothing", "folder"])
def test_file_that_cannot_be_read_is_not_verified(file: Path, made: str) -> None:
    if made == "folder":
        file.mkdir()
    with pytest.raises(NotVerified, match=r"badge_junit: .*badge\.xml: cannot be read: "):
        badge.judge(file, VECTORS)


# --- in a run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, exit_code, verdict", [("", 0, "passed"), ("<failure/>", 1, "failed"), ("<skipped/>", 5, "not_verified")]
)
def test_run_is_given_the_file_by_an_option(file: Path, body: str, exit_code: int, verdict: str) -> None:
    """Also with workers and for the bundled reference, which has no environment file to name it in."""
    file.write_text(junit(case, {NAMES[0]: body}), encoding="utf-8")
    run = [sys.executable, "-m", "conformance", "run", "--target", "app", "--clause", "BADGE-01"]
    done = subprocess.run(
        [*run, "--badge-junit", str(file), "--report-dir", str(file.parent), "-n", "1"],
        cwd=EXAMPLE.parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    report = json.loads((file.parent / "report.json").read_text(encoding="utf-8"))
    assert {c["id"]: c["verdict"] for c in report["clauses"]}["BADGE-01"] == verdict
