"""`report.html` and `evidence.md`: what a person gets to see of a run."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import contracts
from conformance import evidence, html, report
from conformance.verdict import ExitCode

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<script>alert(1)</script> & `unpaired <b>"


def clause(clause_id: str, verdict: str, **more: Any) -> dict[str, Any]:
    statement = f"What {clause_id} says, with `code`."
    plain: dict[str, Any] = {"level": "MUST", "statement": statement, "reason": None, "tests": [], "failures": []}
    return {"id": clause_id, "verdict": verdict, **plain, **more}


FAILURE = {
    "level": "MUST",
    "message": f"a toggle was answered 200\n{HOSTILE}",
    "expected": "403",
    "actual": {"status": 200, "body": HOSTILE},
    "exchange": {
        "request": {"method": "PATCH", "url": "https://backend.invalid/x", "headers": {"A": "b"}, "body": HOSTILE},
        "response": None,
    },
    "reproduce": "curl -i -X PATCH https://backend.invalid/x -H 'Authorization: Bearer <redacted:service_role_token>'",
}

REPORT: dict[str, Any] = {
    "schema_version": "1.0.0",
    "tool_version": "1.0.0",
    "contracts_version": "1.0.0",
    "environment": "prod",
    "targets": {"backend": "https://backend.invalid"},
    "started_at": "2026-02-06T12:00:00+00:00",
    "duration_s": 4.25,
    "exit_code": 1,
    "verdict": "failed",
    "seed": 7,
    "problems": ["--require is not met"],
    "evidence": [{"stage": "Backend auth guard", "observed": ["`403` without the internal secret", "*_[x](y)_*"]}],
    "clauses": [
        clause("AUTH-01", "passed"),
        clause("AUTH-02", "failed", reason="granted", failures=[FAILURE] * 5),
        clause("AUTH-03", "not_verified", reason="credentials.internal_admin_secret is not set"),
        clause("AUTH-04", "not_selected"),
        clause("PHO-05", "warned", level="SHOULD", reason="other order", failures=[{**FAILURE, "level": "SHOULD"}]),
    ],
}


class Page(HTMLParser):
    """The tags of a page, its text, and whether each tag is closed in order."""

    VOID = ("meta", "link", "br", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def test_the_sample_is_a_report() -> None:
    assert not list(contracts.load().validator("report").iter_errors(REPORT))


def test_the_page_stands_alone() -> None:
    """No script, and nothing that is fetched from elsewhere."""
    page = Page(html.page(REPORT))
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    fetched = [
        name for _, attributes in page.tags for name in attributes if name in ("src", "srcset", "data", "action")
    ]
    assert not fetched
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in page.tags)
    assert not re.search(r"url\(|@import", html.page(REPORT))


def test_the_verdict_comes_first_and_what_matters_before_what_passed() -> None:
    text = Page(html.page(REPORT)).text
    order = ["Not conforming", "--require is not met", "Failed (1)", "Not verified (1)", "Warned (1)", "Passed (1)"]
    assert sorted(order, key=text.index) == order


def test_the_page_says_each_clause_with_its_why() -> None:
    text = Page(html.page(REPORT)).text
    for each in REPORT["clauses"]:
        assert each["statement"].replace("`", "") in text
        assert each["reason"] is None or each["reason"] in text
    assert FAILURE["reproduce"] in text
    assert HOSTILE in text
    assert "(no answer)" in text
    assert "… and 2 more, in report.json" in text


def test_the_evidence_has_what_was_seen_and_what_was_not() -> None:
    text = evidence.markdown(REPORT)
    assert "1. Backend auth guard:\n   - `403` without the internal secret\n   - \\*\\_\\[x\\](y)\\_\\*\n" in text
    assert "**Not conforming** (exit 1)" in text
    assert "> **--require is not met**" in text
    assert "## Not verified (1)\n\n- **AUTH-03**" in text
    assert "credentials.internal\\_admin\\_secret is not set" in text
    assert "AUTH-04" not in text


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_has_its_headline(code: ExitCode) -> None:
    bare = {key: value for key, value in REPORT.items() if key not in ("problems", "evidence")}
    headline = code.meaning.capitalize()
    assert f"<h1>{headline}</h1>" in html.page({**bare, "exit_code": int(code)})
    assert f"**{headline}**" in evidence.markdown({**bare, "exit_code": int(code)})


def test_the_command_makes_both_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT), encoding="utf-8")
    assert report.main([str(tmp_path)]) == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == html.page(REPORT)
    assert (tmp_path / "evidence.md").read_text(encoding="utf-8") == evidence.markdown(REPORT)


def _without(key: str) -> dict[str, Any]:
    broken = copy.deepcopy(REPORT)
    del broken["clauses"][0][key]
    return broken


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"[]", b"\xff", b"[" * 100_000, json.dumps(_without("verdict")).encode()],
    ids=["missing", "empty", "half", "list", "no UTF-8", "deep", "a clause without verdict"],
)
def test_a_broken_report_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "report.json").write_bytes(content)
    assert report.main([str(tmp_path)]) == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(tmp_path / "report.json") in said


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_runs_over_the_edge_in_a_browser(tmp_path: Path, width: int) -> None:
    """In a real browser: the page is as wide as its window, also with a long URL in it, on a phone too."""
    long = copy.deepcopy(REPORT)
    long["clauses"][1]["failures"][0]["exchange"]["request"]["url"] = "https://backend.invalid/" + "x" * 2000
    measure = (
        "<script>onload = () => document.title ="
        " `${document.documentElement.scrollWidth}<=${document.documentElement.clientWidth}`</script>"
    )
    frame = tmp_path / "page.html"
    frame.write_text(html.page(long).replace("</body>", f"{measure}</body>"), encoding="utf-8")
    # the window itself cannot be as narrow as a phone
    body = f'<iframe id="f" style="width:{width}px;height:600px;border:0" src="page.html"></iframe>'
    outer = tmp_path / "outer.html"
    show = "<script>f.onload = () => setTimeout(() => document.title = f.contentDocument.title)</script>"
    outer.write_text(f"<!doctype html>{body}{show}", encoding="utf-8")
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--dump-dom",
    ]
    if sys.platform == "linux" and not os.environ.get("HOME"):
        command.append(f"--user-data-dir={tmp_path / 'profile'}")
    done = subprocess.run([*command, outer.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r"<title>(\d+)&lt;=(\d+)</title>", done.stdout)
    assert found, done.stdout
    assert int(found[1]) <= int(found[2]) <= width


def test_what_failed_is_told_for_a_replay() -> None:
    tests = [{"nodeid": f"test_{n}", "outcome": n, "duration_s": 0.1} for n in ("passed", "failed", "not_verified")]
    told = {**REPORT, "clauses": [clause("AUTH-02", "failed", tests=tests), clause("AUTH-03", "passed")]}
    assert report.failed_tests(told) == {"test_failed"}


def test_a_replay_runs_what_failed_and_nothing_else(tmp_path: Path) -> None:
    """First on a rogue, then on the true reference, with the report's seed."""
    root = Path(__file__).parents[1]

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        words = ["run", "--target", "screenalytics", "-n", "0", "--report-dir", str(tmp_path / "report"), *arguments]
        done = subprocess.run([sys.executable, "-m", "conformance", *words], cwd=root, capture_output=True, check=False)
        return done.returncode, report.read(tmp_path / "report" / "report.json")

    code, failed = run("--clause", "FALL-02", "--rogue", "last-page-decides", "--seed", "7", "--profile", "quick")
    assert code == 1
    shutil.copy(tmp_path / "report" / "report.json", tmp_path / "failed.json")
    code, again = run("--replay", str(tmp_path / "failed.json"))
    assert code == 0
    assert (again["seed"], again["profile"]) == (7, "quick")
    ran = {test["nodeid"] for each in again["clauses"] for test in each["tests"]}
    assert ran == report.failed_tests(failed)
    assert {each["id"] for each in again["clauses"] if each["verdict"] != "not_selected"} == {"FALL-02"}


def test_the_matrix_of_rogues_shows_the_missed_first() -> None:
    rows = [
        {"name": "good", "target": "app", "breaks": ["PRX-01"], "failed": ["PRX-01"], "caught": True, "named": True},
        {"name": "loud", "target": "app", "breaks": ["PRX-01"], "failed": ["PRX-01", "PRX-02"], "caught": True},
        {"name": "quiet", "target": "app", "breaks": ["PRX-01"], "failed": [], "caught": False},
    ]
    page = Page(html.matrix([{"named": False, "seconds": 1.5, **row} for row in rows]))
    assert page.open == []
    assert "2 of 3 rogues caught, 1 named" in page.text
    order = ["Missed (1)", "quiet", "Caught, but not named (1)", "loud", "Caught and named (1)", "good"]
    positions = [page.text.index(word) for word in order]
    assert positions == sorted(positions)
    assert "Schemathesis" not in page.text


def test_the_matrix_of_rogues_shows_the_baseline_where_it_was_measured() -> None:
    row = {"target": "app", "breaks": ["PRX-01"], "failed": ["PRX-01"], "caught": True, "named": True, "seconds": 1.5}
    measured = {"caught": False, "cases": 70, "seconds": 9.5}
    page = Page(html.matrix([{"name": "both", "schemathesis": measured, **row}, {"name": "ours", **row}]))
    assert page.open == []
    assert "found 0 of 1, with 70 requests" in " ".join(page.text.split())
    assert page.text.index("both") < page.text.index("missed") < page.text.index("9.5") < page.text.index("ours")
