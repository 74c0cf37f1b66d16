"""GEN-01: whatever is sent to a pinned endpoint, there is an answer, and it is no 5xx."""

from __future__ import annotations

import datetime
import json
import uuid
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
from schemathesis.core import NotSet
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from conformance import sse
from conformance.backend import Backend, Caller, Gallery
from conformance.errors import Violation
from conformance.exchange import JSON_TYPE, Exchange, Failure, Header, Request
from conformance.media import Media
from conformance.suites.backend.upkeep import few
from contracts import Contracts


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
    "a NUL in a string": b'{"facebank_seed": "\\u0000"}',
    "deep lists": b"[" * 20_000 + b"]" * 20_000,
    "deep lists, open": b"[" * 100_000,
    "deep objects": b'{"facebank_seed":' * 5_000 + b"1" + b"}" * 5_000,
    "a huge integer": b'{"facebank_seed": ' + b"9" * 5_000 + b"}",
    "a long string": b'{"facebank_seed": "' + b"x" * 200_000 + b'"}',
    "many members": json.dumps({f"m{n}": n for n in range(5_000)}).encode(),
    "a form": b"facebank_seed=true",
    "JSON in single quotes": b"{'facebank_seed': true}",
}

UNSAYABLE: dict[str, bytes] = {
    "a lone surrogate": b'{"facebank_seed": "\\ud800", "url": "\\ud800", "source_url": "\\ud800"}',
    "a lone surrogate as a member": b'{"\\ud800": true}',
    "a huge exponent": b'{"facebank_seed": 1e999, "url": 1e999, "source_url": 1e999}',
    "NaN": b'{"facebank_seed": NaN, "url": NaN, "source_url": NaN}',
    "Infinity": b'{"facebank_seed": -Infinity, "url": -Infinity, "source_url": -Infinity}',
}
"""What a refusal that repeats it cannot say in JSON or UTF-8: it breaks frameworks' own refusals, and loses nothing."""

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


HEADERS: tuple[Header, ...] = (
    ("X-Forwarded-For", "unknown, 10.0.0.1"),
    ("X-Forwarded-For", ""),
    ("X-Real-IP", "unknown"),
    ("Forwarded", "for=_;;=,"),
    ("X-Request-ID", "not-a-uuid"),
    ("traceparent", "00-0-0"),
    ("Cookie", '=; a="b; %FF;;'),
    ("Origin", "null"),
    ("Accept", "/;q=x"),
    ("Accept-Language", "-;q=,"),
    ("Content-Encoding", "gzip"),
    ("Content-Language", ";"),
    ("If-Match", '"'),
    ("If-Modified-Since", "yesterday"),
    ("Range", "bytes=9-1"),
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
    with backend.some_link() as person:
        (link,) = person.links
        exchange = backend.toggle(person.person_id, link.link_id, body=body, content_type=content_type)
    is_answered(exchange, "a malformed Content-Type")


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
@pytest.mark.parametrize(("name", "value"), HEADERS, ids=lambda text: ascii(text)[:24])
def test_any_header_is_answered(backend: Backend, name: str, value: str) -> None:
    """A malformed header that the endpoints have no use for is answered, and not with a 5xx."""
    with backend.some_link() as person:
        (link,) = person.links
        exchange = backend.toggle(person.person_id, link.link_id, True, headers=[(name, value)])
        is_answered(exchange, f"a malformed {name}")
        headers = (*backend.reader.headers, (name, value))
        url = backend.photos_url(person.person_id)
        is_answered(backend.client.send(Request("GET", url, headers)), f"a malformed {name}")


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


# --- scripted: the media workflow ------------------------------------------------------------------------------------

# refused at once, without asking anybody for an address
NOWHERE = "http://127.0.0.1:1/nowhere"

STRANGE_VALUES: dict[str, Any] = {
    "null": None,
    "number": 7,
    "huge number": 10**30,
    "negative": -1,
    "empty": "",
    "word": "nonsense",
    "NUL": "a\x00b",
    "long": "x" * 20_000,
    "list": [],
    "list of nulls": [None],
    "object": {},
}

STRANGE_ADDRESSES = (
    "http://",
    "http:///nowhere",
    "http://[::1",
    "http://[127.0.0.1]/",
    "http://127.0.0.1:port/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:1/\x00",
    "http://127.0.0.1:1/a b\r\nX-Header: c",
    "http://127.0.0.1:1/%ZZ%",
    "http://user:password@127.0.0.1:1/",
    "http://\u2100:1/",
    f"http://{'a' * 70}:1/",
    f"http://{'a.' * 150}a:1/",
    "//127.0.0.1:1/",
    f"{NOWHERE}/{'x' * 10_000}",
)

_IDS = {"entity_type": "season", "season_id": "00000000-0000-4000-8000-00000000000c"}
_IMAGE = {"candidate_id": "1", "url": NOWHERE, "kind": "promo"}


def strange_requests() -> Iterator[tuple[str, str, bytes]]:
    """Endpoint, what is strange, and the body of requests in which one member has a strange value."""
    values = [*STRANGE_VALUES.items(), *((address[:40], address) for address in STRANGE_ADDRESSES)]
    preview = {"url": NOWHERE}
    for member in ("url", "min_width", "limit", "entity_type", "entity_id"):
        for name, value in values if member == "url" else STRANGE_VALUES.items():
            yield "preview", f"{member}: {name}", json.dumps({**preview, member: value}).encode()
    for member in ("entity_type", "season_id", "season_number", "source_url", "images"):
        for name, value in STRANGE_VALUES.items():
            request = {**_IDS, "source_url": NOWHERE, "images": [_IMAGE], member: value}
            yield "import", f"{member}: {name}", json.dumps(request).encode()
    for member in ("candidate_id", "url", "kind", "caption", "person_ids"):
        for name, value in values if member == "url" else STRANGE_VALUES.items():
            request = {**_IDS, "source_url": NOWHERE, "images": [{**_IMAGE, member: value}]}
            yield "import", f"images[0].{member}: {name}", json.dumps(request).encode()
    for number in (51, 5_000):
        request = {**_IDS, "source_url": NOWHERE, "images": [{**_IMAGE, "kind": "nonsense"}] * number}
        yield "import", f"{number} images", json.dumps(request).encode()


def posted(media: Media, url: str, body: bytes, *headers: Header) -> Exchange:
    """A POST of the deployed app, its answer read whole."""
    ours = (*media.backend.service.headers, *(headers or (JSON_TYPE,)))
    return media.backend.client.send(Request("POST", url, ours, body))


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("endpoint", ["preview", "import", "import/stream"])
def test_any_member_of_a_media_request_is_answered(media: Media, endpoint: str) -> None:
    """A preview or import with any strange member is answered, and not with a 5xx."""
    media.require_writes()
    url = {"preview": media.preview_url, "import": media.import_url, "import/stream": media.stream_url}[endpoint]
    for request, what, body in strange_requests():
        # of the stream a part is enough: what else it reads, the plain import reads as well
        if request == endpoint or (request == "import" and what.endswith((": null", ": number", ": NUL", ": object"))):
            is_answered(posted(media, url, body), f"{endpoint} with a strange member ({what})")


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("name", ["caption", "source_url", "candidate_id"])
@pytest.mark.parametrize("endpoint", ["import", "import/stream"])
def test_text_that_cannot_be_stored_is_answered(media: Media, endpoint: str, name: str) -> None:
    """An import of a sound image whose texts hold what a database cannot is answered, and not with a 5xx."""
    site = media.site()
    url = media.import_url if endpoint == "import" else media.stream_url
    with media.person() as person:
        for text in ("a\x00b", "\U0010ffff\ufffe", "x" * 20_000):
            image = {"candidate_id": "1", "url": site.image().url, "kind": "promo"}
            source = text if name == "source_url" else site.url("page.html")
            body = media.import_body(person, source, [image if name == "source_url" else {**image, name: text}])
            is_answered(posted(media, url, body), f"an import whose {name} is {text[:9]!a}")


@pytest.mark.clause("GEN-01", level="SHOULD")
@pytest.mark.parametrize("name", ["caption", "source_url", "candidate_id", "url"])
def test_text_that_cannot_be_said_back_is_answered(media: Media, name: str) -> None:
    """S: the same for a lone surrogate in any of them."""
    site = media.site()
    with media.person() as person:
        image = {"candidate_id": "1", "url": site.image().url, "kind": "promo"}
        source = "\ud800" if name == "source_url" else site.url("page.html")
        images = [image if name == "source_url" else {**image, name: "\ud800"}]
        for url in (media.import_url, media.stream_url):
            body = media.import_body(person, source, images)
            is_answered(posted(media, url, body), f"an import whose {name} is a lone surrogate")


@pytest.mark.clause("GEN-01", level="SHOULD")
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in UNSAYABLE.items()])
def test_body_that_cannot_be_said_back_is_answered(media: Media, body: bytes) -> None:
    """S: a body with what a refusal cannot repeat is answered, and not with a 5xx."""
    require_writes(media.backend)
    with media.backend.some_link(kept=True) as person:
        link = person.links[0]
        is_answered(
            media.backend.toggle(person.person_id, link.link_id, body=body), "a toggle that cannot be said back"
        )
    for url in (media.preview_url, media.import_url, media.stream_url):
        is_answered(posted(media, url, body), "a body that cannot be said back")


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])
def test_any_body_of_a_media_request_is_answered(media: Media, body: bytes) -> None:
    """A malformed body is answered, and not with a 5xx."""
    media.require_writes()
    for url in (media.preview_url, media.import_url, media.stream_url):
        is_answered(posted(media, url, body), "a malformed body")


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("content_type", CONTENT_TYPES, ids=lambda text: ascii(text)[:24])
def test_any_content_type_of_a_media_request_is_answered(media: Media, content_type: str) -> None:
    """A malformed Content-Type is answered, and not with a 5xx."""
    media.require_writes()
    for url in (media.preview_url, media.import_url, media.stream_url):
        for body in (b"", b"x"):
            is_answered(posted(media, url, body, ("Content-Type", content_type)), "a malformed Content-Type")


ASSET_QUERIES = (
    "exclude=",
    "exclude=maybe",
    "exclude=%00",
    "exclude=%FF",
    "exclude=true&exclude=x",
    "force=2",
    "%",
    "&=&",
)
ASSET_IDS = (*PATH_IDS, "00000000-0000-0000-0000-00000000000", "' or 1=1 --".replace(" ", "%20"))


def is_switched_off(media: Media, action: str) -> bool:
    """Whether a sound call already says that there is no service for it, as where no detector is configured."""
    url = media.asset_url(str(uuid.uuid4()), action=action)
    return media.backend.client.send(media.request("POST", url)).status in (501, 502, 503, 504)


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize(
    ("method", "action"), [("DELETE", ""), ("POST", "auto-count"), ("POST", "detect-text-overlay")]
)
def test_any_asset_id_and_query_is_answered(media: Media, method: str, action: str) -> None:
    """A malformed asset id, or query, is answered, and not with a 5xx."""
    media.require_writes()
    if action and is_switched_off(media, action):
        return
    mark = "00000000-0000-0000-0000-00000000dead"
    unknown = media.asset_url(str(uuid.uuid4()), action=action)
    urls = [media.asset_url(mark, action=action).replace(mark, raw) for raw in ASSET_IDS]
    for url in (*urls, *(f"{unknown}?{query}" for query in ASSET_QUERIES)):
        exchange = media.backend.client.send(Request(method, url, media.backend.service.headers))
        is_answered(exchange, "a malformed asset id or query")
    for body in (b"x", b"[]", b"\xff", b'"' + b"x" * 20_000):
        exchange = media.backend.client.send(media.request(method, unknown, body=body))
        is_answered(exchange, "a malformed body of a call that needs none")


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("authorization", AUTHORIZATIONS, ids=lambda value: value.decode())
def test_any_authorization_of_a_media_request_is_answered(media: Media, authorization: bytes) -> None:
    """A malformed Authorization is answered, and not with a 5xx."""
    caller = Caller(authorization)
    unknown = str(uuid.uuid4())
    body = json.dumps({**_IDS, "source_url": NOWHERE, "images": [_IMAGE], "url": NOWHERE}).encode()
    for url in (media.preview_url, media.import_url, media.stream_url):
        is_answered(
            media.backend.client.send(media.request("POST", url, body=body, caller=caller)), "a malformed Authorization"
        )
    is_answered(media.delete(unknown, caller=caller), "a malformed Authorization")


# --- drawn: what no one thought of -----------------------------------------------------------------------------------


# stand in a drawn path for the person and the link that are made when it is sent
PERSON, LINK = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
# nobody's
ASSET = "00000000-0000-4000-8000-00000000000d"


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
    names = {"person_id": PERSON, "link_id": LINK, "asset_id": ASSET}
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
    checks = [status_code_conformance, content_type_conformance]
    if not (answer.header("Content-Type") or "").lower().startswith(sse.MEDIA_TYPE):
        # of a stream it would hold each event against the schema of the whole body; its grammar is in test_stream
        checks.append(response_schema_conformance)
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


def tamed(value: Any, ids: dict[str, str], where: str = "") -> Any:
    """A drawn body that leads nobody astray: addresses are ours, and ids those of people and shows that are there."""
    if isinstance(value, dict):
        return {name: tamed(item, ids, name) for name, item in value.items()}
    if isinstance(value, list):
        return [tamed(item, ids, where) for item in value]
    if not isinstance(value, str):
        return value
    if value.strip().lower().startswith(("http:", "https:")):
        return ids.get("url", NOWHERE)
    try:
        uuid.UUID(value)
    except ValueError:
        return value
    return ids.get(where, value)


@contextmanager
def entities(media: Media, known: bool) -> Iterator[dict[str, str]]:
    """What stands for the ids and addresses of a drawn body, where they are to be known ones."""
    if not known:
        yield {}
        return
    site = media.site()
    # without images, so that the answer is about the page alone
    page = site.page()
    with media.show() as show, media.person() as person:
        yield {
            "url": page,
            "show_id": show.show_id,
            "season_id": show.season_id,
            "person_id": person.entity_id,
            "person_ids": person.entity_id,
            "entity_id": show.season_id,
        }


@pytest.mark.clause("GEN-01", "PRE-01", "IMP-01", "SSE-01")
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize(
    ("operation", "of_shape"), [("previewScrape", "PRE-01"), ("importImages", "IMP-01"), ("streamImport", "SSE-01")]
)
@given(data=st.data(), known=st.booleans())
@few()
def test_drawn_media_requests_are_answered(
    media: Media, operation: str, of_shape: str, mode: Any, known: bool, data: st.DataObject
) -> None:
    """Previews and imports drawn from the OpenAPI fragment, valid and not, are answered as it documents."""
    media.require_writes()
    case = data.draw(_cases(media.backend.contracts, operation, mode, known=True), label="request")
    with entities(media, known and media.has_origin) as ids:
        if not isinstance(case.body, bytes | NotSet):
            case.body = tamed(case.body, ids)
        keeps_the_document(case, send(media.backend, case, media.backend.service, {}), of_shape=of_shape)


@pytest.mark.clause("GEN-01")
@pytest.mark.parametrize("operation", ["deleteMediaAsset", "countPeople", "detectTextOverlay"])
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@given(data=st.data())
@few()
def test_drawn_asset_requests_are_answered(media: Media, operation: str, mode: Any, data: st.DataObject) -> None:
    """Calls about assets drawn from the OpenAPI fragment, valid and not, are answered."""
    media.require_writes()
    action = {"countPeople": "auto-count", "detectTextOverlay": "detect-text-overlay"}.get(operation)
    case = data.draw(_cases(media.backend.contracts, operation, mode, known=False), label="request")
    if action is not None and is_switched_off(media, action):
        return
    is_answered(send(media.backend, case, media.backend.service, {}), "a drawn request")
