"""What the suites take for a message."""

from __future__ import annotations

import json
from collections.abc import Collection

import pytest

from conformance import expect
from conformance.errors import Violation
from conformance.exchange import Exchange, Request, Response


def answered(body: str) -> Exchange:
    """An exchange with this body."""
    return Exchange(Request("GET", "http://a.invalid"), Response(502, (), body.encode()), None, 0.0, 1.0)


@pytest.mark.parametrize(
    "body",
    [
        "Bad Gateway",
        "失败",
        "<h1>502 Bad Gateway</h1>",
        json.dumps("no"),
        json.dumps({"detail": [{"loc": ["body"], "msg": "missing"}]}),
        json.dumps({"type": "about:blank", "title": "Refused", "status": 502}),
        json.dumps({"detail": "http://a.invalid/b.png can't be fetched"}),
        "{vision service down",
    ],
)
def test_a_message_is_found(body: str) -> None:
    assert expect.has_message(answered(body))


@pytest.mark.parametrize(
    "body",
    [
        "",
        " \n",
        "502",
        "-",
        "null",
        "<html><body></body></html>",
        json.dumps("OK"),
        json.dumps({"detail": " ok. "}),
        json.dumps({"detail": None, "asset_id": "3F2504E0-4F89-11D3-9A0C-0305E82C3301"}),
        json.dumps({"asset_id": "3f2504e04f8911d39a0c0305e82c3301", "url": "https://a.invalid/b.png"}),
        json.dumps({"type": "about:blank", "status": 502}),
        "[" * 100_000,
    ],
)
def test_what_says_nothing_is_no_message(body: str) -> None:
    assert not expect.has_message(answered(body))


@pytest.mark.parametrize(
    ("allowed", "told"),
    [
        ((401,), "401"),
        ((403, 401), "401 or 403"),
        (range(200, 300), "a 2xx"),
        (frozenset(range(400, 500)), "a 4xx"),
        ([424, *range(500, 600), 200], "200 or 424 or a 5xx"),
    ],
)
def test_expected_statuses_are_told_in_short(allowed: Collection[int], told: str) -> None:
    with pytest.raises(Violation) as violated:
        expect.status(Exchange(Request("GET", "http://a.invalid"), Response(301, (), b""), None, 0.0, 1.0), allowed)
    assert violated.value.expected == told
