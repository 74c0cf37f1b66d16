"""OAS-01: what a backend says of itself."""

from __future__ import annotations

import pytest

from conformance.backend import Backend
from conformance.compat import openapi
from conformance.compat.linking import SchemaUnusable
from conformance.compat.openapi import NotOpenAPI, OpenAPI
from conformance.compat.report import payload
from conformance.compat.schemas import Verdict
from conformance.errors import NotVerified, Violation
from conformance.exchange import Exchange, Request


def published(exchange: Exchange) -> OpenAPI:
    """The backend's own document; NotVerified where it publishes none."""
    if exchange.status != 200:
        raise NotVerified(f"the backend publishes no OpenAPI document: {exchange.outcome()} for {exchange.request.url}")
    try:
        return OpenAPI(exchange.answer.json(), published=True)
    except ValueError:
        raise NotVerified(f"what is at {exchange.request.url} is no JSON") from None
    except NotOpenAPI as error:
        raise NotVerified(f"what is at {exchange.request.url} cannot be read as OpenAPI: {error}") from None


@pytest.mark.clause("OAS-01")
def test_own_document_promises_no_less(backend: Backend) -> None:
    """The backend's own document promises every path, method, required field, type and status of the contract."""
    url = f"{backend.environment.need('backend_url')}/openapi.json"
    exchange = backend.client.send(Request("GET", url, (("Accept", "application/json"),)))
    document, pinned = published(exchange), OpenAPI(backend.contracts.openapi())
    is_typed = openapi.describes_answers(pinned, exchange.answer.json())
    try:
        findings = openapi.drift(pinned, document)
    except SchemaUnusable as error:
        raise NotVerified(f"a schema at {exchange.request.url} cannot be compared: {error}") from None
    less = [
        finding
        for finding in findings
        if finding.change.verdict is Verdict.BREAKING and (is_typed or not finding.change.rule.startswith("response-"))
    ]
    if not less and not is_typed:
        raise NotVerified(f"what is at {exchange.request.url} describes no answer of a pinned endpoint")
    if less:
        first = less[0]
        more = f", and {len(less) - 1} more" if less[1:] else ""
        raise Violation(
            f"the backend's own document promises less: {first.operation}, {first.where} {first.change.path}: "
            f"{first.change.message}{more}",
            expected="no less than contracts/openapi/backend.yaml",
            actual=[
                f"{one.operation}, {one.where} {one.change.path}: {one.change.message}; "
                f"payload {payload(one.change.witness)}"
                for one in less
            ],
            exchange=exchange,
        )
