"""`report.html`, and the matrix of rogues: self-contained pages without script or network, the verdict first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup, escape

from conformance.verdict import ExitCode

NAMES: Mapping[str, str] = {
    "failed": "failed",
    "error": "error",
    "not_verified": "not verified",
    "warned": "warned",
    "waived": "waived",
    "passed": "passed",
    "not_selected": "not selected",
}
"""The verdicts of a clause as a person reads them, in the order in which they matter."""

_TONES: Mapping[ExitCode, str] = {
    ExitCode.CONFORMING: "passed",
    ExitCode.FAILED: "failed",
    ExitCode.NOTHING_VERIFIED: "not_verified",
    ExitCode.NOT_RESTORED: "failed",
}
"""Exit code → the verdict whose colour it has, where that is not `error`."""

_SHOWN = 3
"""Failures of one clause that are shown whole."""


def page(report: Mapping[str, Any]) -> str:
    """The page of a report in the form of `report.schema.json`, whose secrets are redacted already."""
    exit_code = ExitCode(report["exit_code"])
    groups = [
        (verdict, clauses)
        for verdict in NAMES
        if (clauses := [clause for clause in report["clauses"] if clause["verdict"] == verdict])
    ]
    return template("report").render(
        report={"problems": [], "evidence": [], **report},
        headline=exit_code.meaning.capitalize(),
        tone=_TONES.get(exit_code, "error"),
        groups=groups,
        names=NAMES,
        shown=_SHOWN,
    )


def matrix(rows: Sequence[Mapping[str, Any]]) -> str:
    """The page of a matrix in the form of `rogues.schema.json`."""
    return template("rogues").render(rows=rows)


@cache
def template(name: str) -> jinja2.Template:
    """The template of a page, read once."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("conformance"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(prose=_prose, shown=_shown, exchange=_exchange)
    return templates.get_template(f"{name}.html.jinja")


def _prose(text: str) -> Markup:
    """A text in which what stands between backticks is code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # an unpaired backtick is text
        return escape(text)
    return Markup().join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def _shown(value: Any) -> str:
    """A text as it is, any other JSON value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _exchange(exchange: Mapping[str, Any]) -> str:
    """An exchange as it went over the wire, more or less."""
    request, response = exchange["request"], exchange["response"]
    lines = [f"{request['method']} {request['url']}", *_headers(request), "", request["body"] or ""]
    answer = ["(no answer)"]
    if response is not None:
        answer = [str(response["status"]), *_headers(response), "", response["body"] or ""]
    return "\n".join(lines).rstrip() + "\n\n" + "\n".join(answer).rstrip()


def _headers(message: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {value}" for name, value in message["headers"].items()]
