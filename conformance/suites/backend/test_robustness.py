"""GEN-01: whatever is sent to a pinned endpoint, there is an answer, and it is no 5xx."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from conformance.backend import Backend, Caller, Gallery
from conformance.errors import Violation
from conformance.exchange import Exchange, Failure, Header, Request
from contracts import Contracts

JSON_TYPE: Header = ("Content-Type", "application/json")


def is_answered(exchange: Exchange, what: str) -> None:
    """There is an answer, and it is no 5xx."""
    if exchange.failure in (Failure.CLOSED, Failure.TIMEOUT, Failure.PROTOCOL):
        raise Violation(
            f"{what} got no answer", expected="an answer below 500", actual=exchange.outcome(), exchange=exchange
        )
    if exchange.status >= 500:
        raise Violation(
            f"{what} was answered {exchange.outcome()}",
            expected="an answer below 500",
            actual=exchange.outcome(),
            exchange=exchange,
        )


def require_writes(backend: Backend) -> None:
    """What is malformed here may still be taken for a toggle."""
    if not backend.may_write:
        backend.toggle("", "", True)  # says why it is not verified


# --- scripted: what is known to break servers ------------------------------------------------------------------------

BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a NUL": b"\x00",
    "invalid UTF-8": b'{"facebank_seed": "\xff\xfe"}',
    "invalid UTF-8 alone": b"\xff\xfe\xfd",
    "UTF-16": '{"facebank_seed": true}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"facebank_seed": 2}',
    "a lone surrogate": b'{"facebank_seed": "\\ud800"}',
    "a lone surrogate as a member": b'{"\\ud800": true}',
    "a NUL in a string": b'{"facebank_seed": "\\u0000"}',
    "deep lists": b"[" * 20_000 + b"]" * 20_000,
    "deep lists, open": b"[" * 100_000,
    "deep objects": b'{"facebank_seed":' * 5_000 + b"1" + b"}" * 5_000,
    "a huge integer": b'{"facebank_seed": ' + b"9" * 5_000 + b"}",
    "a huge exponent": b'{"facebank_seed": 1e999}',
    "NaN": b'{"facebank_seed": NaN}',
    "Infinity": b'{"facebank_seed": -Infinity}',
    "a long string": b'{"facebank_seed": "' + b"x" * 200_000 + b'"}',
    "many members": json.dumps({f"m{n}": n for n in range(5_000)}).encode(),
    "a form": b"facebank_seed=true",
    "JSON in single quotes": b"{'facebank_seed': true}",
}

CONTENT_TYPES = (
    "",
    "text/plain",
    "application/xml",
    "multipart/form-data",
    "application/json; charset=nonsense",
    "/",
    "x" * 500,
)

QUERIES = (
    "seed_only=%00",
    "seed_only=%FF",
    "seed_only[]=true",
    "seed_only=true&limit=-1",
    "limit=0",
    "limit=-9223372036854775809",
    "limit=99999999999999999999999999",
    "limit=1e3",
    "limit=%00",
    "limit=",
    "offset=-1",
    "offset=9223372036854775807",
    "offset=9223372036854775808",
    "offset=99999999999999999999999999999",
    "offset=NaN",
    "limit=500&offset=9223372036854775807",
    "limit=1&limit=x",
    "&&&=&",
    "%",
    "%ZZ=%",
    "a" * 2_000,
)

PATH_IDS = (
    "%00",
    "%FF",
    "%0A",
    "%20",
    "%2F",
    "a%2Fb",
    "..%2F..",
    "null",
    "-1",
    "{person_id}",
    "%F0%9F%92%A9",
    "x" * 1_000,
)

AUTHORIZATIONS: tuple[bytes, ...] = (
    b"Bearer",
    b"bearer",
    b"Bearer a b c",
    b"Bearer ..",
    b"Bearer a.b",
    b"Bearer a.b.c",
    b"Bearer eyJhbGciOiJIUzI1NiJ9.e30.",
    b"Bearer eyJhbGciOiJub25lIn0.e30.",
    b"Bearer e30.e30.e30",
    b"Bearer bnVsbA.bnVsbA.bnVsbA",
    b"Bearer WzFd.WzFd.WzFd",
    b"Bearer eyJhbGciOjF9.eyJleHAiOiJ4In0.AAAA",
    b"Bearer !!!.???.###",
    b"Basic !!!",
    b"Digest x=",
    b",",
    b"=",
)


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])
def test_any_body_is_answered(backend: Backend, body: bytes) -> None:
    """A malformed body is answered, and not with a 5xx."""
    with backend.some_link() as person:
        is_answered(backend.toggle(person.person_id, person.links[0].link_id, body=body), "a malformed body")


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("content_type", CONTENT_TYPES, ids=lambda text: ascii(text)[:24])
@pytest.mark.parametrize("body", [b"", b"x", b'{"facebank_seed": 2}'], ids=["no body", "x", "two"])
def test_any_content_type_is_answered(backend: Backend, content_type: str, body: bytes) -> None:
    """A malformed Content-Type is answered, and not with a 5xx."""
    require_writes(backend)
    with backend.some_link() as person:
        url = backend.toggle_url(person.person_id, person.links[0].link_id)
        headers = (*backend.service.headers, ("Content-Type", content_type))
        is_answered(backend.client.send(Request("PATCH", url, headers, body)), "a malformed Content-Type")


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("query", QUERIES, ids=lambda text: ascii(text)[:40])
def test_any_query_is_answered(backend: Backend, query: str) -> None:
    """A malformed query is answered, and not with a 5xx."""
    with backend.some_person() as person_id:
        url = f"{backend.photos_url(person_id)}?{query}"
        is_answered(backend.client.send(Request("GET", url, backend.reader.headers)), "a malformed query")


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("raw", PATH_IDS, ids=lambda text: text[:24])
def test_any_path_is_answered(backend: Backend, raw: str) -> None:
    """A malformed id in a path is answered, and not with a 5xx."""
    require_writes(backend)
    with backend.some_link() as person:
        mark = "00000000-0000-0000-0000-00000000dead"
        body = b'{"facebank_seed": true}'
        for url, method, caller in (
            (backend.toggle_url(person.person_id, mark), "PATCH", backend.service),
            (backend.toggle_url(mark, person.links[0].link_id), "PATCH", backend.service),
            (backend.photos_url(mark), "GET", backend.reader),
        ):
            headers = (*caller.headers, JSON_TYPE) if method == "PATCH" else caller.headers
            content = body if method == "PATCH" else None
            is_answered(
                backend.client.send(Request(method, url.replace(mark, raw), headers, content)), "a malformed path"
            )


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("authorization", AUTHORIZATIONS, ids=lambda value: value.decode())
def test_any_authorization_is_answered(backend: Backend, authorization: bytes) -> None:
    """A malformed Authorization is answered, and not with a 5xx."""
    with backend.some_link(kept=True) as person:
        (link,) = person.links
        for caller in (Caller(authorization), Caller(authorization, backend.service.secret)):
            exchange = backend.toggle(person.person_id, link.link_id, link.flagged, caller=caller, changes_nothing=True)
            is_answered(exchange, "a malformed Authorization")
        is_answered(backend.photos(person.person_id, caller=Caller(authorization)), "a malformed Authorization")


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("token", [b"\xff", b"t\xc3\xb6ken", b"a.b\xe9.c", b"\x80" * 300], ids=ascii)
def test_authorization_that_is_not_ascii_is_no_server_error(backend: Backend, token: bytes) -> None:
    """Bytes beyond ASCII in Authorization get no 5xx; as with the secret (AUTH-03), a server may close instead."""
    caller = Caller(b"Bearer " + token)
    with backend.some_link(kept=True) as person:
        (link,) = person.links
        toggled = backend.toggle(person.person_id, link.link_id, link.flagged, caller=caller, changes_nothing=True)
        for exchange in (toggled, backend.photos(person.person_id, caller=caller)):
            if exchange.failure is not Failure.CLOSED:
                is_answered(exchange, "an Authorization beyond ASCII")


# --- drawn: what no one thought of -----------------------------------------------------------------------------------


# stand in a drawn path for the person and the link that are made when it is sent
PERSON, LINK = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"


@cache
def _operation(contracts: Contracts, operation_id: str) -> Any:
    """A pinned operation. Credentials are the suite's business, and slow to draw."""
    document = contracts.openapi("backend")
    document.pop("security", None)
    document.get("components", {}).pop("securitySchemes", None)
    for path in document["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                operation.pop("security", None)
    schema = schemathesis.openapi.from_dict(document)
    return schema.find_operation_by_id(operation_id)


@cache
def _cases(contracts: Contracts, operation_id: str, mode: Any, known: bool) -> st.SearchStrategy[Any]:
    """Requests of an operation; with `known` ids, or with ids of any kind."""
    operation = _operation(contracts, operation_id)
    names = {"person_id": PERSON, "link_id": LINK}
    ids = {name: names[name] for name in names if f"{{{name}}}" in operation.path}
    strategy: st.SearchStrategy[Any] = operation.as_strategy(
        generation_mode=mode, path_parameters=ids if known else None
    )
    return strategy


def send(backend: Backend, case: Any, caller: Caller, ids: dict[str, str]) -> Exchange:
    """Sends a drawn case with the caller's credentials, to the person and link that stand for the drawn ones."""
    wire = case.as_transport_kwargs(base_url=backend.environment.need("backend_url"))
    wire.pop("cookies", None)
    prepared = requests.Request(**wire).prepare()
    url = str(prepared.url)
    for drawn_id, real in ids.items():
        url = url.replace(drawn_id, real)
    ours = {name.lower() for name, _ in caller.headers}
    ours |= {"user-agent", "accept", "accept-encoding", "connection", "content-length"}
    drawn = tuple((name, value) for name, value in prepared.headers.items() if name.lower() not in ours)
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
    return backend.client.send(Request(str(prepared.method), url, (*caller.headers, *drawn), body))


def keeps_the_document(case: Any, exchange: Exchange, of_shape: str) -> None:
    """An answer is what the OpenAPI fragment documents; `of_shape` is the clause that pins the 200."""
    is_answered(exchange, "a drawn request")
    answer = exchange.answer
    request = httpx.Request(exchange.request.method, exchange.request.url)
    response = httpx.Response(answer.status, headers=list(answer.headers), content=answer.body, request=request)
    response.elapsed = datetime.timedelta(seconds=exchange.ended - exchange.started)
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
    try:
        case.validate_response(response, checks=checks)
    except (schemathesis.errors.SchemathesisError, AssertionError, BaseExceptionGroup) as error:
        found = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
        raise Violation(
            f"the answer is not what the OpenAPI fragment documents: {found}",
            clause=of_shape,
            expected="an answer that the fragment documents",
            actual=exchange.outcome(),
            exchange=exchange,
        ) from None


@contextmanager
def link_in_some_gallery(backend: Backend) -> Iterator[Gallery]:
    """A link that drawn requests may reach, where this is allowed."""
    require_writes(backend)
    with backend.some_link() as person:
        yield person


MODES = [schemathesis.GenerationMode.NEGATIVE, schemathesis.GenerationMode.POSITIVE]


@pytest.mark.clause("GEN-01", "TOG-03")
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("known", [True, False], ids=["a known link", "any link"])
@given(data=st.data())
def test_drawn_toggles_are_answered(backend: Backend, mode: Any, known: bool, data: st.DataObject) -> None:
    """Toggles drawn from the OpenAPI fragment, valid and not, are answered as it documents."""
    case = data.draw(_cases(backend.contracts, "toggleFacebankSeed", mode, known), label="request")
    with link_in_some_gallery(backend) as person:
        ids = {PERSON: person.person_id, LINK: person.links[0].link_id}
        keeps_the_document(case, send(backend, case, backend.service, ids), of_shape="TOG-03")


@pytest.mark.clause("GEN-01", "PHO-01")
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("known", [True, False], ids=["a known person", "anybody"])
@given(data=st.data())
def test_drawn_reads_are_answered(backend: Backend, mode: Any, known: bool, data: st.DataObject) -> None:
    """Reads drawn from the OpenAPI fragment, valid and not, are answered as it documents."""
    case = data.draw(_cases(backend.contracts, "listPersonPhotos", mode, known), label="request")
    with backend.some_person() as person_id:
        keeps_the_document(case, send(backend, case, backend.reader, {PERSON: person_id}), of_shape="PHO-01")
