"""PRX-01 to PRX-09: the app's signed proxy, judged by what the backend behind it, played by the lab, received."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import expect, tokens
from conformance.app import App, Import, MediaRoute, Photo, Session, fresh_photo, media_routes, shown
from conformance.backend import SECRET_HEADER
from conformance.errors import NotVerified, TargetBroken, Violation
from conformance.exchange import JSON_TYPE, Exchange, Failure, Header
from conformance.lab import Answer, Call, answers
from conformance.strategies import NO_BOOLEAN

TOGETHER = 12
"""How many requests are under way together where one could be taken for another."""

# --- what the backend received ---------------------------------------------------------------------------------------


def received_nothing(app: App, *markers: str, what: str, exchange: Exchange) -> None:
    """The backend received no call with any of these ids, also none that the app sends after its answer."""
    app.require_toggles()
    if calls := app.received(*markers):
        raise Violation(
            f"{what} reached the backend", expected="no call", actual="\n".join(shown(calls)), exchange=exchange
        )


def received_something(app: App, photo: Photo, exchange: Exchange) -> list[Call]:
    """The calls of an accepted toggle; without any, PRX-01 is what is broken."""
    calls = app.received(photo.person_id, photo.link_id)
    if exchange.status != 200 or not calls:
        raise app.not_through(exchange, calls)
    return calls


def parsed(text: str) -> Any:
    """A JSON text's value; Ellipsis, which equals no JSON value, where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return ...


# --- PRX-01: the admin toggles ---------------------------------------------------------------------------------------


def toggles(app: App, photo: Photo, value: bool) -> None:
    """The admin's toggle is answered with the backend's answer, and the last that the backend received is its value."""
    exchange = app.toggle(photo, value)
    calls = app.lab.calls(photo.link_id)
    if exchange.status != 200 or not calls:
        raise Violation(
            f"an allowlisted admin's toggle did not get through; {app.where_it_should_go}",
            expected="200, and a call of the backend",
            actual=f"{exchange.outcome()}, {len(calls)} calls of the backend",
            exchange=exchange,
        )
    answer = parsed(exchange.answer.text)
    if not (
        isinstance(answer, dict)
        and expect.same_uuid(answer.get("link_id"), photo.link_id)
        and expect.same_uuid(answer.get("person_id"), photo.person_id)
        and answer.get("facebank_seed") is value
    ):
        raise Violation(
            "the app did not answer with the backend's answer",
            expected={"link_id": photo.link_id, "person_id": photo.person_id, "facebank_seed": value},
            actual=exchange.answer.text[:500],
            exchange=exchange,
        )
    stored = parsed(calls[-1].body)
    if calls[-1].answer != "200" or not isinstance(stored, dict) or stored.get("facebank_seed") is not value:
        raise Violation(
            "the backend's state does not follow the admin's toggle",
            expected={"facebank_seed": value},
            actual="\n".join(shown(calls)),
            exchange=exchange,
        )


@pytest.mark.clause("PRX-01")
def test_admin_toggles_off_then_on(app: App) -> None:
    """OFF, then ON: each 200 with the backend's answer, and the backend has what was sent last."""
    photo = app.photo()
    for value in (False, True):
        toggles(app, photo, value)


@pytest.mark.clause("PRX-01")
def test_toggle_that_is_answered_compressed(app: App) -> None:
    """The same where the backend, or what stands before it, compresses its answer for an app that takes that."""
    app.require_toggles()
    try:
        toggles(app, app.photo(answers.compressed(answers.toggled())), True)
    except TargetBroken as broken:
        raise Violation(
            "the app's answer to a toggle can't be read where the backend compresses its own",
            expected="200 with the backend's answer",
            actual=str(broken),
            exchange=broken.exchange,
        ) from None


@pytest.mark.clause("PRX-01")
def test_toggle_that_is_answered_in_other_words(app: App) -> None:
    """The same where the backend's answer has its ids in capitals, and members that a later contract may add."""
    app.require_toggles()
    photo = fresh_photo()
    answer = {"link_id": photo.link_id.upper(), "person_id": photo.person_id.upper(), "facebank_seed": True}
    app.lab.script(photo.link_id, answers.json_value({**answer, "updated_at": "2026-02-06T12:00:00+00:00"}, "200"))
    toggles(app, photo, True)


@pytest.mark.clause("PRX-01")
@given(steps=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=8))
def test_state_follows_any_history(app: App, steps: list[tuple[int, bool]]) -> None:
    """Whatever is toggled in whatever order, repeats included: the backend is told each time."""
    person_id = str(uuid.uuid4())
    photos = [Photo(person_id, str(uuid.uuid4())) for _ in range(3)]
    app.lab.script_all({photo.link_id: [answers.toggled()] for photo in photos})
    for number, (index, value) in enumerate(steps):
        toggles(app, photos[index], value)
        calls = app.received(person_id)
        if len(calls) <= number:
            raise Violation(
                "a toggle was answered without the backend",
                expected=f"{number + 1} calls of the backend",
                actual="\n".join(shown(calls)),
            )


@pytest.mark.clause("PRX-01")
def test_toggles_at_once_are_each_its_own(app: App) -> None:
    """Toggles of several links that are under way together: each is its own link's, with its own value."""
    app.require_toggles()
    photos = [app.photo() for _ in range(TOGETHER)]
    app.at_once([partial(toggles, photo=photo, value=bool(number % 2)) for number, photo in enumerate(photos)])


@pytest.mark.clause("PRX-01")
def test_toggle_of_a_link_that_is_being_toggled(app: App) -> None:
    """ON while the OFF is under way is another toggle: where it is answered 200, it is answered ON, and was sent."""
    app.require_toggles()
    photo = app.photo(answers.held(answers.toggled()))
    both = app.while_held(photo.link_id, *(partial(App.toggle, photo=photo, value=value) for value in (False, True)))
    bodies = [parsed(call.body) for call in app.received(photo.link_id)]
    sent = [body.get("facebank_seed") for body in bodies if isinstance(body, dict)]
    for value, exchange in zip((False, True), both, strict=True):
        answer: Any = parsed(exchange.answer.text) if exchange.status == 200 else None
        answer = answer if isinstance(answer, dict) else None
        if answer is not None and (answer.get("facebank_seed") is not value or value not in sent):
            raise Violation(
                "of two toggles of a link at once, one was answered with the other's answer",
                expected={"facebank_seed": value},
                actual=f"{exchange.answer.text[:500]}; the backend received {bodies}",
                exchange=exchange,
            )


# --- PRX-02: who may -------------------------------------------------------------------------------------------------


def _tampered(token: str) -> str:
    """The token with one character in its middle, or in the middle of a JWT's signature, changed."""
    head, dot, signature = token.rpartition(".")
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    return f"{head}{dot}{signature[:middle]}{other}{signature[middle + 1 :]}"


def _unsigned(token: str) -> str:
    """The token without its signature; where it is no JWT, without its second half."""
    try:
        return tokens.without_signature(token)
    except NotVerified:
        return token[: len(token) // 2]


def _made_from_admin(name: str, make: Callable[[str], str]) -> Callable[[App], Session]:
    def session(app: App) -> Session:
        token = make(app.environment.credential("app_admin_token"))
        return app.session(app.redactor.add_derived(f"app_admin_token, {name}", token))

    return session


def _as_the_service(app: App) -> Session:
    """The backend's credentials, which open nothing here."""
    token, secret = (
        app.environment.credential("service_role_token"),
        app.environment.credential("internal_admin_secret"),
    )
    return Session((*app.session(token).headers, (SECRET_HEADER, secret)))


@dataclass(frozen=True)
class Stranger:
    """A caller who may do nothing, and what a toggle answers to them."""

    name: str
    session: Callable[[App], Session]
    statuses: frozenset[int]


REFUSED = frozenset({401, 403})

ANY_REFUSAL = frozenset(range(400, 500))


def _beside_the_admin(as_cookie: bool) -> Callable[[App], Session]:
    """A person who is not allowlisted, with a tampered session of the admin in the other place."""

    def session(app: App) -> Session:
        tampered = _tampered(app.environment.credential("app_admin_token"))
        forged = app.redactor.add_derived("app_admin_token, tampered", tampered)
        user = app.session(app.environment.credential("app_user_token"), as_cookie=as_cookie)
        return Session((*app.session(forged, as_cookie=not as_cookie).headers, *user.headers))

    return session


def _user_elsewhere(app: App) -> Session:
    """A person who is not allowlisted, with the token in the other place: no session to whoever does not look there."""
    token = app.environment.credential("app_user_token")
    return app.session(token, as_cookie=not app.environment.get("app_session_cookie"))


INSIDERS = (
    ("X-Middleware-Subrequest", ":".join(["middleware"] * 5)),
    ("X-Middleware-Subrequest", ":".join(["src/middleware"] * 5)),
    ("X-Forwarded-Host", "localhost:3000"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-HTTP-Method-Override", "GET"),
    ("Sec-Fetch-Site", "same-origin"),
)
"""What frameworks and proxies say of a request, and what anybody can say."""


def _who_says(name: str, value: str, app: App) -> Session:
    return Session(((name, value),))


STRANGERS = (
    Stranger("no session", lambda app: Session(), frozenset({401})),
    Stranger("not allowlisted", lambda app: app.user, frozenset({403})),
    Stranger("garbage", lambda app: app.session("garbage"), REFUSED),
    Stranger("empty Authorization", lambda app: Session((("Authorization", "Bearer"),)), REFUSED),
    Stranger("empty cookie", lambda app: Session((("Cookie", "__session="),)), REFUSED),
    Stranger("tampered", _made_from_admin("tampered", _tampered), REFUSED),
    Stranger("unsigned", _made_from_admin("unsigned", _unsigned), REFUSED),
    Stranger("not allowlisted, in the other place", _user_elsewhere, ANY_REFUSAL),
    Stranger("a cookie, and a tampered token", _beside_the_admin(True), ANY_REFUSAL),
    Stranger("a token, and a tampered cookie", _beside_the_admin(False), ANY_REFUSAL),
    Stranger("the service", _as_the_service, REFUSED),
    Stranger("the secret alone", lambda app: Session(_as_the_service(app).headers[-1:]), REFUSED),
    *(
        Stranger(f"no session, and {name}: {value}", partial(_who_says, name, value), ANY_REFUSAL)
        for name, value in INSIDERS
    ),
)

each_stranger = pytest.mark.parametrize("stranger", [pytest.param(row, id=row.name) for row in STRANGERS])


@pytest.mark.clause("PRX-02")
@each_stranger
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
def test_stranger_cannot_toggle(app: App, stranger: Stranger, value: bool) -> None:
    """401 without a session, 403 for a person who is not allowlisted, and the backend receives nothing."""
    session = stranger.session(app)
    photo = app.photo()
    exchange = app.toggle(photo, value, session=session)
    expect.status(exchange, stranger.statuses, what=f"a toggle ({stranger.name})")
    received_nothing(app, photo.person_id, photo.link_id, what=f"a toggle ({stranger.name})", exchange=exchange)


@pytest.mark.clause("PRX-02")
@each_stranger
@pytest.mark.parametrize("route", range(len(media_routes(""))), ids=[route.name for route in media_routes("")])
def test_stranger_cannot_use_the_media_proxies(app: App, stranger: Stranger, route: int) -> None:
    """No 2xx without an admin's session, and the backend receives nothing."""
    marker = str(uuid.uuid4())
    cannot_use(app, stranger, media_routes(marker)[route], marker)


def cannot_use(app: App, stranger: Stranger, route: MediaRoute, marker: str) -> None:
    """A media proxy gives a stranger no 2xx, and sends nothing about the marker's asset."""
    app.lab.script(marker, answers.json_value({}))
    exchange = app.media(route, marker, stranger.session(app))
    what = f"{route.name} ({stranger.name})"
    expect.not_granted(exchange, what=what)
    received_nothing(app, marker, what=what, exchange=exchange)


either_stranger = pytest.mark.parametrize("stranger", [pytest.param(row, id=row.name) for row in STRANGERS[:2]])


@pytest.mark.clause("PRX-02")
@either_stranger
@pytest.mark.parametrize("route", range(len(media_routes(""))), ids=[route.name for route in media_routes("")])
def test_stranger_cannot_use_the_media_proxies_by_another_query(app: App, stranger: Stranger, route: int) -> None:
    """The same without the query that a route has, and with one where it has none."""
    marker = str(uuid.uuid4())
    chosen = media_routes(marker)[route]
    path, asks, _ = chosen.path.partition("?")
    cannot_use(app, stranger, replace(chosen, path=path if asks else f"{path}?from=gallery"), marker)


@pytest.mark.clause("PRX-02")
@either_stranger
@pytest.mark.parametrize(
    ("spelled", "query", "content_type"),
    [
        (str.upper, "", "application/json"),
        (str.lower, "?from=gallery", "application/json"),
        (str.lower, "", "text/plain;charset=UTF-8"),
    ],
    ids=["in upper case", "with a query", "as text"],
)
def test_stranger_cannot_toggle_by_another_spelling(
    app: App, stranger: Stranger, spelled: Callable[[str], str], query: str, content_type: str
) -> None:
    """Neither ids in upper case, nor a query, nor a body that is declared as text open another door.

    There is no 2xx, and nothing is sent.
    """
    session, who = stranger.session(app), stranger.name
    photo = app.photo()
    exchange = app.toggle(
        Photo(spelled(photo.person_id), spelled(photo.link_id)),
        session=session,
        query=query,
        content_type=("Content-Type", content_type),
    )
    expect.not_granted(exchange, what=f"a toggle ({who}) by another spelling")
    ids = photo.person_id, photo.link_id, photo.person_id.upper(), photo.link_id.upper()
    received_nothing(app, *ids, what=f"a toggle ({who})", exchange=exchange)


@pytest.mark.clause("PRX-02")
def test_stranger_among_admins_cannot_toggle(app: App) -> None:
    """While admins toggle, who is not allowlisted is still a 403, and the backend receives nothing."""
    app.require_toggles()
    strangers, admins = ([app.photo() for _ in range(TOGETHER // 2)] for _ in range(2))
    asked = [
        (photo, who)
        for both in zip(strangers, admins, strict=True)
        for photo, who in zip(both, (app.user, app.admin), strict=True)
    ]
    exchanges = app.at_once([partial(App.toggle, photo=photo, session=who) for photo, who in asked])
    for photo, exchange in zip(strangers, exchanges[::2], strict=True):
        expect.status(exchange, {403}, what="a toggle (not allowlisted, among admins)")
        received_nothing(app, photo.person_id, photo.link_id, what="a toggle (not allowlisted)", exchange=exchange)


# --- PRX-03, PRX-04: what is sent ------------------------------------------------------------------------------------


def _values(call: Call, name: str) -> list[str]:
    return [value for key, value in call.headers if key.lower() == name.lower()]


def is_signed_toggle(app: App, call: Call, photo: Photo, value: bool) -> Iterator[str]:
    """What of a call is not the contract's, in words."""
    scheme, _, token = (_values(call, "Authorization") or [""])[0].partition(" ")
    if call.method != "PATCH":
        yield f"the method is {call.method}"
    if call.target.lower() != photo.path.lower():
        yield f"the target is {call.target}"
    # Python's 1 equals True
    if parsed(call.body) != {"facebank_seed": value} or parsed(call.body)["facebank_seed"] is not value:
        yield f"the body is {call.body!r}"
    if len(_values(call, "Authorization")) != 1 or scheme.lower() != "bearer":
        yield "Authorization is not one bearer token"
    elif token.strip() != app.environment.credential("service_role_token"):
        yield "the bearer token is not the service role's"
    if _values(call, SECRET_HEADER) != [app.environment.credential("internal_admin_secret")]:
        yield f"{SECRET_HEADER} is not the internal secret"


def received_as_signed(app: App, calls: Sequence[Call], photo: Photo, value: bool, exchange: Exchange) -> None:
    """Each call that the backend received is the contract's signed toggle."""
    for call in calls:
        if problems := list(is_signed_toggle(app, call, photo, value)):
            raise Violation(
                f"the backend did not receive the contract's toggle: {'; '.join(problems)}",
                expected=f'PATCH {photo.path} {{"facebank_seed": {json.dumps(value)}}}, signed',
                actual=_whole(call),
                exchange=exchange,
            )


BROWSERS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "plain": lambda value: {},
    "with a query": lambda value: {"query": "?force=true&facebank_seed=maybe"},
    "with spaces in the body": lambda value: {
        "body": json.dumps({"facebank_seed": value}, indent=4).encode() + b"\r\n"
    },
    "with more headers": lambda value: {
        "headers": (("X-HTTP-Method-Override", "DELETE"), ("X-Request-Id", uuid.uuid4().hex))
    },
}


@pytest.mark.clause("PRX-03")
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
@pytest.mark.parametrize("browser", [pytest.param(make, id=name) for name, make in BROWSERS.items()])
def test_backend_receives_the_signed_toggle(app: App, browser: Callable[[bool], dict[str, Any]], value: bool) -> None:
    """Exactly PATCH, the contract's path, the body with its one member, and both credentials."""
    photo = app.photo()
    exchange = app.toggle(photo, value, **browser(value))
    received_as_signed(app, received_something(app, photo, exchange), photo, value, exchange)


@pytest.mark.clause("PRX-03")
@pytest.mark.parametrize(
    "failure",
    [
        *(
            pytest.param(partial(answers.status, code), id=str(code))
            for code in (401, 403, 404, 409, 422, 500, 502, 503)
        ),
        pytest.param(answers.reset, id="reset"),
        pytest.param(answers.close, id="closed"),
    ],
)
def test_backend_that_fails_receives_the_signed_toggle_alone(app: App, failure: Callable[[], Answer]) -> None:
    """Where the backend refuses or breaks off, and the app tries again, it sends the same signed toggle alone."""
    app.require_toggles()
    photo = app.photo(failure(), answers.toggled())
    exchange = app.toggle(photo)
    received_as_signed(app, app.received(photo.person_id, photo.link_id), photo, True, exchange)


@pytest.mark.clause("PRX-03")
def test_backend_receives_the_signed_toggle_among_other_calls(app: App) -> None:
    """The same of toggles that are under way together with calls of the media proxies."""
    app.require_toggles()
    photos, assets = [app.photo() for _ in range(TOGETHER)], [str(uuid.uuid4()) for _ in range(TOGETHER)]
    app.lab.script_all({asset: [answers.json_value({"people_count": 1})] for asset in assets})
    jobs: list[Callable[[App], Exchange]] = [
        job
        for photo, asset in zip(photos, assets, strict=True)
        for job in (
            partial(App.toggle, photo=photo, value=True),
            partial(App.act, asset_id=asset, action="auto-count"),
        )
    ]
    exchanges = app.at_once(jobs)[::2]
    for photo, exchange in zip(photos, exchanges, strict=True):
        received_as_signed(app, app.lab.calls(photo.link_id), photo, True, exchange)


def _whole(call: Call) -> str:
    head = [f"{call.method} {call.target}", *(f"{name}: {value}" for name, value in call.headers)]
    return "\n".join([*head, call.body])


@dataclass(frozen=True)
class Smuggled:
    """What a browser adds to a toggle; `headers`, `members` and `before` hold a marker that must stay in the app."""

    name: str
    headers: Callable[[str], Sequence[Header]] = lambda marker: ()
    members: Callable[[str], dict[str, Any]] = lambda marker: {}
    before: Callable[[str], str] = lambda marker: ""
    """What of the body's text stands before the value."""
    as_cookie: bool | None = None
    """How the session is carried, where not as the environment says."""


SMUGGLED = (
    Smuggled("the secret", lambda m: ((SECRET_HEADER, m),)),
    Smuggled("the secret, in lower case", lambda m: ((SECRET_HEADER.lower(), m),)),
    Smuggled("the secret, twice", lambda m: ((SECRET_HEADER, m), (SECRET_HEADER, f"{m}-2"))),
    Smuggled("a second Authorization", lambda m: (("Authorization", f"Bearer {m}"),)),
    Smuggled("a second Authorization, as Basic", lambda m: (("Authorization", f"Basic {m}"),)),
    Smuggled("an Authorization beside the cookie", lambda m: (("Authorization", f"Bearer {m}"),), as_cookie=True),
    Smuggled("a value before the value", before=lambda m: f'"facebank_seed": "{m}", '),
    Smuggled("a note", members=lambda m: {"note": m}),
    Smuggled("other ids", members=lambda m: {"link_id": m, "person_id": m, "linkId": m, "personId": m}),
    Smuggled("credentials", members=lambda m: {"authorization": m, "secret": m, "headers": {SECRET_HEADER: m}}),
    Smuggled("nested members", members=lambda m: {"context": {"people_ids": [m]}, "data": [[m]]}),
    Smuggled("members of the link", members=lambda m: {"kind": m, "caption": m, "is_primary": m, "seed": m}),
    Smuggled("a member named by it", members=lambda m: {m: True}),
    Smuggled(
        "everything",
        lambda m: ((SECRET_HEADER, m), ("X-Facebank-Seed", "true")),
        lambda m: {"updated_by": m, "__proto__": {"seed": m}},
    ),
)


def stays_in_the_app(app: App, photo: Photo, marker: str, exchange: Exchange, *, what: str) -> None:
    """No call for the photo carries the marker in target, headers or body, and no other in target or body."""
    for call in app.received(photo.person_id, photo.link_id, marker):
        if marker in _whole(call):
            raise Violation(
                f"the backend received {what} from the browser",
                expected=f"no {marker}",
                actual=_whole(call),
                exchange=exchange,
            )


@pytest.mark.clause("PRX-04")
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
@pytest.mark.parametrize("smuggled", [pytest.param(row, id=row.name) for row in SMUGGLED])
def test_what_the_browser_adds_stays_in_the_app(app: App, smuggled: Smuggled, value: bool) -> None:
    """A secret, an Authorization or members that the browser sends never reach the backend; refusing them is fine."""
    marker = f"smuggled-{uuid.uuid4().hex}"
    photo = app.photo()
    members = json.dumps({"facebank_seed": value, **smuggled.members(marker)})
    body = f"{{{smuggled.before(marker)}{members[1:]}".encode()
    admin = app.session(app.environment.credential("app_admin_token"), as_cookie=smuggled.as_cookie)
    exchange = app.toggle(photo, body=body, headers=smuggled.headers(marker), session=admin)
    app.require_toggles()
    stays_in_the_app(app, photo, marker, exchange, what=smuggled.name)


@pytest.mark.clause("PRX-04")
def test_session_stays_in_the_app(app: App) -> None:
    """The admin's own session never reaches the backend, neither as Authorization nor anywhere else."""
    photo = app.photo()
    exchange = app.toggle(photo)
    received_something(app, photo, exchange)
    token = app.environment.credential("app_admin_token")
    stays_in_the_app(app, photo, token, exchange, what="the session")


# --- PRX-05: values that are no booleans -----------------------------------------------------------------------------

NO_BOOLEAN_BODIES: dict[str, bytes] = {
    "member missing": b"{}",
    "another member": b'{"seed": true}',
    "member in camel case": b'{"facebankSeed": true}',
    "null": b'{"facebank_seed": null}',
    "true as text": b'{"facebank_seed": "true"}',
    "false as text": b'{"facebank_seed": "false"}',
    "yes": b'{"facebank_seed": "yes"}',
    "empty text": b'{"facebank_seed": ""}',
    "maybe": b'{"facebank_seed": "maybe"}',
    "zero": b'{"facebank_seed": 0}',
    "one": b'{"facebank_seed": 1}',
    "one as a fraction": b'{"facebank_seed": 1.0}',
    "two": b'{"facebank_seed": 2}',
    "empty list": b'{"facebank_seed": []}',
    "list of true": b'{"facebank_seed": [true]}',
    "object": b'{"facebank_seed": {"value": true}}',
    "true alone": b"true",
    "null alone": b"null",
    "a list": b'[{"facebank_seed": true}]',
    "not JSON": b"facebank_seed=true",
    "YAML": b"facebank_seed: true",
    "yes of YAML": b'{"facebank_seed": yes}',
    "True of Python": b'{"facebank_seed": True}',
    "cut short": b'{"facebank_seed": true',
    "empty body": b"",
}

each_body = pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in NO_BOOLEAN_BODIES.items()])


def refuses_body(app: App, body: bytes) -> None:
    """The body is a 4xx, and the backend receives nothing."""
    photo = app.photo()
    exchange = app.toggle(photo, body=body)
    expect.client_error(exchange, what="a body without a JSON boolean")
    received_nothing(app, photo.person_id, photo.link_id, what="a body without a JSON boolean", exchange=exchange)


@pytest.mark.clause("PRX-05")
@each_body
def test_body_without_a_boolean_is_refused(app: App, body: bytes) -> None:
    """What is no JSON boolean is a 4xx, and the backend receives nothing."""
    refuses_body(app, body)


@pytest.mark.clause("PRX-05")
@given(value=NO_BOOLEAN | st.integers(-1, 1) | st.sampled_from(["true", "True", "on", "off", "1", "0", " "]))
def test_any_other_value_is_refused(app: App, value: Any) -> None:
    """Whatever JSON value stands for the boolean: a 4xx, and the backend receives nothing."""
    refuses_body(app, json.dumps({"facebank_seed": value}).encode())


ELSEWHERE: dict[str, tuple[str, bytes, Header]] = {
    "in the query": ("?facebank_seed=true", b"{}", JSON_TYPE),
    "in the query alone": ("?facebank_seed=true", b"", JSON_TYPE),
    "in the query, null in the body": ("?facebank_seed=true", b'{"facebank_seed": null}', JSON_TYPE),
    "in a form": ("", b"facebank_seed=true", ("Content-Type", "application/x-www-form-urlencoded")),
    "in a part": (
        "",
        b'--part\r\nContent-Disposition: form-data; name="facebank_seed"\r\n\r\ntrue\r\n--part--\r\n',
        ("Content-Type", "multipart/form-data; boundary=part"),
    ),
}


@pytest.mark.clause("PRX-05")
@pytest.mark.parametrize("where", ELSEWHERE)
def test_word_elsewhere_is_no_boolean(app: App, where: str) -> None:
    """`true` as a word of the query or of a form is a text, and the toggle is refused like any without a boolean."""
    query, body, content_type = ELSEWHERE[where]
    photo = app.photo()
    exchange = app.toggle(photo, body=body, query=query, content_type=content_type)
    expect.client_error(exchange, what=f"a toggle whose value stands {where}")
    received_nothing(app, photo.person_id, photo.link_id, what=f"a value {where}", exchange=exchange)


@pytest.mark.clause("PRX-05", level="SHOULD")
@each_body
def test_body_without_a_boolean_is_400(app: App, body: bytes) -> None:
    """What is no JSON boolean is exactly 400."""
    expect.status(app.toggle(app.photo(), body=body), {400}, what="a body without a JSON boolean")


# --- PRX-06, PRX-07: a backend that refuses, and one that is not there -----------------------------------------------

REFUSALS = (403, 404, 409, 422, 502)
BAD_GATEWAY = b"<html><head><title>Error</title></head><body></body></html>"

REFUSAL_BODIES: dict[str, Callable[[int], Answer]] = {
    "detail": lambda code: answers.status(code, {"detail": f"refused {uuid.uuid4().hex}"}),
    "list of details": lambda code: answers.status(
        code, {"detail": [{"loc": ["body", "facebank_seed"], "msg": "value is not a boolean", "type": "bool"}]}
    ),
    "object of details": lambda code: answers.status(code, {"detail": {"code": "refused", "link": "another's"}}),
    "empty detail": lambda code: answers.status(code, {"detail": ""}),
    "detail of two lines in another script": lambda code: answers.status(code, {"detail": "拒否されました。\nRefusé."}),
    "the link as it is": lambda code: answers.status(
        code, {"link_id": str(uuid.uuid4()), "person_id": str(uuid.uuid4()), "facebank_seed": False}
    ),
    "problem": lambda code: answers.status(code, {"type": "about:blank", "title": "Refused", "status": code}),
    "web page": lambda code: answers.raw(BAD_GATEWAY, headers=answers.HTML, code=code),
    "null": lambda code: answers.raw(b"null", code=code),
    "nothing": lambda code: answers.raw(b"", headers=(), code=code),
    "long web page": lambda code: answers.raw(BAD_GATEWAY + b"<!-- -->" * 16_384, headers=answers.HTML, code=code),
}


@pytest.mark.clause("PRX-06")
@pytest.mark.parametrize("value", [True, False], ids=["ON", "OFF"])
@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize("answer", [pytest.param(make, id=name) for name, make in REFUSAL_BODIES.items()])
def test_refusal_arrives(app: App, answer: Callable[[int], Answer], code: int, value: bool) -> None:
    """The backend's status arrives as it is, with a message whatever the backend's body says."""
    app.require_toggles()
    photo = app.photo(answer(code))
    exchange = app.toggle(photo, value)
    expect.status(exchange, {code}, what=f"a toggle that the backend refuses with {code}")
    if not expect.has_message(exchange):
        raise Violation(
            f"a {code} of the backend arrives without a message",
            expected="a message",
            actual=exchange.answer.text,
            exchange=exchange,
        )


@pytest.mark.clause("PRX-06")
def test_refusal_is_of_its_own_request(app: App) -> None:
    """A refusal says nothing of the next toggle, nor a success of the next refusal."""
    app.require_toggles()
    photo = app.photo(answers.status(409), answers.toggled(), answers.status(403))
    expect.status(app.toggle(photo), {409}, what="a toggle that the backend refuses with 409")
    received_something(app, photo, app.toggle(photo))
    expect.status(app.toggle(photo, False), {403}, what="a toggle that the backend refuses with 403")


@pytest.mark.clause("PRX-06")
def test_refusals_at_once_are_each_of_their_own_request(app: App) -> None:
    """The same of toggles that are under way together."""
    app.require_toggles()
    codes = [200, *REFUSALS] * 2
    photos = [app.photo(answers.toggled() if code == 200 else answers.status(code)) for code in codes]
    exchanges = app.at_once([partial(App.toggle, photo=photo) for photo in photos])
    for code, exchange in zip(codes, exchanges, strict=True):
        if not exchange.is_limited:
            expect.status(exchange, {code}, what=f"a toggle that the backend answers with {code}, among others")


each_unreachable = pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answers.reset, id="reset"),
        pytest.param(answers.close, id="closed"),
        pytest.param(None, id="refused", marks=pytest.mark.exclusive),
    ],
)


def toggled_within(app: App, photo: Photo, timeout_s: float, value: bool = True) -> Exchange:
    """The admin's toggle, whose whole exchange has so many seconds."""
    target = f"/api/admin/trr-api/people/{photo.person_id}/gallery/{photo.link_id}/facebank-seed"
    return app.raw("PATCH", target, json.dumps({"facebank_seed": value}).encode(), timeout_s=timeout_s)


def unreachable(app: App, answer: Callable[[], Answer] | None, value: bool = True) -> Exchange:
    """A toggle whose connection to the backend breaks, or with no answer is refused, after one that got through.

    Raises Violation for a hang or a lost connection.
    """
    photo = app.photo(answers.toggled(), answer() if answer is not None else answers.toggled())
    received_something(app, photo, app.toggle(photo, value))
    with app.lab.refusing("stub_backend") if answer is None else nullcontext():
        exchange = toggled_within(app, photo, app.environment.get("app_timeout_s") or app.timeout_s, value)
    if exchange.failure in (Failure.TIMEOUT, Failure.CLOSED):
        raise Violation(
            "a toggle was not answered where the backend is unreachable",
            expected="a 5xx",
            actual=exchange.outcome(),
            exchange=exchange,
        )
    return exchange


@pytest.mark.clause("PRX-07")
@each_unreachable
def test_unreachable_backend_is_a_server_error(app: App, answer: Callable[[], Answer] | None) -> None:
    """A backend that refuses or drops the connection is a 5xx, never a hang or a 200, ON or OFF."""
    for value in (True, False):
        exchange = unreachable(app, answer, value)
        if exchange.status < 500:
            raise Violation(
                f"a toggle was answered {exchange.outcome()} where the backend is unreachable",
                expected="a 5xx",
                actual=exchange.outcome(),
                exchange=exchange,
            )


@pytest.mark.clause("PRX-07", level="SHOULD")
@each_unreachable
def test_unreachable_backend_is_502(app: App, answer: Callable[[], Answer] | None) -> None:
    """A backend that refuses or drops the connection is exactly 502."""
    expect.status(unreachable(app, answer), {502}, what="a toggle where the backend is unreachable")


@pytest.mark.thorough
@pytest.mark.clause("PRX-07", level="SHOULD")
def test_stalled_backend_is_given_up(app: App) -> None:
    """Within `app_timeout_s` the app gives a backend up that does not answer."""
    timeout_s = app.environment.need("app_timeout_s")
    app.require_toggles()
    photo = app.photo(answers.hold())
    try:
        exchange = toggled_within(app, photo, timeout_s)
    finally:
        app.lab.release(photo.link_id)
    if exchange.response is None or exchange.response.status < 500:
        raise Violation(
            f"a stalled backend was not given up within {timeout_s:g} s",
            expected="a 5xx",
            actual=exchange.outcome(),
            exchange=exchange,
        )


# --- PRX-08: secrets -------------------------------------------------------------------------------------------------


def _answered(answer: Callable[[], Answer]) -> Callable[[App], Exchange]:
    """A toggle that the backend answers so."""
    return lambda app: app.toggle(app.photo(answer()))


MEDIA_ANSWERS: dict[str, Callable[[], Answer]] = {
    "accepted": lambda: answers.json_value({"people_count": 1, "images": [], "deleted_asset": True}),
    "refused with 403": partial(answers.status, 403),
    "failed with 500": partial(answers.status, 500),
    "not JSON from the backend": answers.not_json,
    "refused with a web page": partial(answers.raw, BAD_GATEWAY, headers=answers.HTML, code=502),
    "redirected": partial(answers.redirect, code=307),
    "reset": answers.reset,
}


def _media(index: int, answer: Callable[[], Answer] | None = None) -> Callable[[App], Exchange]:
    def call(app: App) -> Exchange:
        marker = str(uuid.uuid4())
        route = media_routes(marker)[index]
        if answer is not None:
            body = route.body or {}
            app.lab.script(str(body.get("source_url") or body.get("url") or marker), answer())
        return app.media(route, marker, app.admin)

    return call


def _broken_stream(end: answers.End, app: App) -> Exchange:
    """An import of which the backend tells the beginning."""
    order = Import(2)
    app.lab.script(order.page, answers.stream([b'data: {"current": 1, "total": 2}\n\n'], end=end))
    with app.stream(order) as incoming:
        while incoming.read():
            pass
        return incoming.exchange


def _raw(method: str, target: str) -> Callable[[App], Exchange]:
    return lambda app: app.raw(method, target, None, timeout_s=app.timeout_s)


TOGGLE_TARGET = "/api/admin/trr-api/people/{}/gallery/{}/facebank-seed"

SITUATIONS: dict[str, Callable[[App], Exchange]] = {
    "accepted": _answered(answers.toggled),
    "no session": lambda app: app.toggle(fresh_photo(), session=Session()),
    "not allowlisted": lambda app: app.toggle(fresh_photo(), session=app.user),
    "no boolean": lambda app: app.toggle(fresh_photo(), body=b'{"facebank_seed": "maybe"}'),
    "not JSON": lambda app: app.toggle(fresh_photo(), body=b"{"),
    **{f"refused with {code}": _answered(partial(answers.status, code)) for code in (401, *REFUSALS, 500, 503)},
    "not JSON from the backend": _answered(answers.not_json),
    "refused with a web page": _answered(partial(answers.raw, BAD_GATEWAY, headers=answers.HTML, code=502)),
    "no object from the backend": _answered(lambda: answers.json_value([])),
    "no content from the backend": _answered(lambda: answers.status(204)),
    "redirected": _answered(answers.redirect),
    "redirected for good": _answered(lambda: answers.redirect("/elsewhere", 308)),
    "closed": _answered(answers.close),
    "reset": _answered(answers.reset),
    "cut short": _answered(lambda: answers.cut_short({"facebank_seed": True})),
    "hostile path": _raw("PATCH", TOGGLE_TARGET.format("%2e%2e%2f", "%0d%0ax")),
    "malformed escape": _raw("PATCH", TOGGLE_TARGET.format("%zz", "%ff")),
    "GET": _raw("GET", TOGGLE_TARGET.format("a", "b")),
    "OPTIONS": _raw("OPTIONS", TOGGLE_TARGET.format("a", "b")),
    "unknown route": _raw("GET", "/api/admin/trr-api/config"),
    "preview of nothing": _raw("POST", "/api/admin/scrape/preview"),
    "import of nothing": _raw("POST", "/api/admin/scrape/import/stream"),
    "season that is none": _raw("GET", "/api/admin/trr-api/seasons/none/unassigned-backdrops"),
    **{route.name: _media(index) for index, route in enumerate(media_routes(""))},
    **{
        f"{route.name}, {name}": _media(index, answer)
        for index, route in enumerate(media_routes(""))
        for name, answer in MEDIA_ANSWERS.items()
    },
    **{f"a stream that ends by {end}": partial(_broken_stream, end) for end in ("close", "reset")},
}


@pytest.mark.clause("PRX-08")
@pytest.mark.parametrize("situation", [pytest.param(make, id=name) for name, make in SITUATIONS.items()])
def test_no_secret_is_shown(app: App, situation: Callable[[App], Exchange]) -> None:
    """Whatever goes wrong, no answer shows the service-role token or the internal secret."""
    secrets = app.secrets()
    exchange = situation(app)
    if exchange.response is not None:
        expect.no_secret(exchange, secrets)


@pytest.mark.clause("PRX-08", level="SHOULD")
@pytest.mark.parametrize("code", [403, 422, 500])
def test_no_secret_is_shown_that_the_backend_repeats(app: App, code: int) -> None:
    """Not even a secret that the backend's own refusal repeats."""
    secrets = app.secrets()
    detail = "{service_role_token} with {internal_admin_secret} is refused".format(**secrets)
    exchange = app.toggle(app.photo(answers.status(code, {"detail": detail, "error": detail})))
    expect.no_secret(exchange, secrets)


@pytest.mark.exclusive
@pytest.mark.clause("PRX-08")
@pytest.mark.parametrize(
    "situation", [pytest.param(SITUATIONS[name], id=name) for name in ("accepted", "auto-count", "import/stream")]
)
def test_no_secret_is_shown_where_the_connection_is_refused(app: App, situation: Callable[[App], Exchange]) -> None:
    """The same where nothing listens at the backend's address."""
    secrets = app.secrets()
    with app.lab.refusing("stub_backend"):
        exchange = situation(app)
    if exchange.response is not None:
        expect.no_secret(exchange, secrets)


# --- PRX-09: hostile path parameters ---------------------------------------------------------------------------------

# M stands for a fresh id; what is left of it goes on the wire as it is
DOT_SEGMENTS = ("..", ".", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "%2e")
HOSTILE = (
    "%252e%252e",
    "..%2f",
    "%2e%2e%2f",
    "..%2fM",
    "M%2f..",
    "%2e%2e%2f%2e%2e%2fM",
    "..%2f..%2f..%2fscreenalytics%2fpeople%2fM%2fphotos%3fx=",
    "..%2fM%2fgallery%2f",
    "..%252fM",
    "..%5cM",
    "..%255cM",
    "..\\M",
    "M%5c..%5cx",
    "M?x=1",
    "M%3f",
    "M%3fx=1&y=2",
    "M%253f",
    "M#x",
    "M%23",
    "M%23x",
    "M%2523",
    "M%2fx",
    "M%2Fgallery%2F1%2Ffacebank-seed%3f",
    "M%252fx",
    "%2fM",
    "%2f%2fM",
    "//M",
    "M//x",
    "/M",
    "M%0d%0ax",
    "M%0ax",
    "M%0d%0aX-Injected:%20M",
    "M%20HTTP/1.1%0d%0aX-Injected:%20M%0d%0aX-Rest:%20",
    "M%20HTTP%2f1.1%0d%0aX-Injected:%20M%0d%0aX-Rest:%20",
    "M%250d%250ax",
    "M%00",
    "M%00x",
    "M%20",
    "M%20x",
    "M%09",
    "M;x=1",
    "M%3bx=1",
    "..;M",
    "M%40x",
    "@M",
    ":80M",
    "M%25",
    "M%zz",
    "M%2",
    "M&facebank_seed=1",
    "M%c3%a9",
    "%ef%bc%8e%ef%bc%8eM",
)

_PCHARS = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+")


def readings(raw: str) -> set[bytes]:
    """The values that an app may take a hostile segment for: decoded once, as it is, or what its router makes of it.

    A router may merge slashes, take a backslash for one, end the path at `?` and `#`, or drop a `;parameter`; all that
    changes whom the toggle is for, in the open, and steers nothing.
    """
    parts = {raw, *re.split(r"[/\\]", raw), *re.split(r"[?#;]", raw)[:1]}
    return {
        reading.lower()
        for part in parts
        for reading in (
            unquote_to_bytes(part),
            part.encode(),
            unquote(part, "latin-1").encode(),
            unquote(part).encode(),
        )
    } - {b"", b".", b".."}


def is_segment(segment: str, allowed: set[bytes]) -> bool:
    """Whether what stands in the backend's path is one of these values, encoded as one segment."""
    return _PCHARS.fullmatch(segment) is not None and unquote_to_bytes(segment).lower() in allowed


@dataclass(frozen=True)
class Position:
    """Where in the app's and in the backend's path the hostile segment stands, as the only `{}`; `K` is a fresh id."""

    name: str
    method: str
    app_path: str
    backend_path: str
    body: bytes | None = None

    def leads_where_it_should(self, call: Call, known: str, allowed: set[bytes]) -> bool:
        """Whether a call's path is the contract's with an allowed value in the one place."""
        before, after = self.backend_path.replace("K", known).lower().split("{}")
        if not (call.path.lower().startswith(before) and call.path.lower().endswith(after)):
            return False
        return is_segment(call.path[len(before) : len(call.path) - len(after)], allowed)


FLAG = b'{"facebank_seed": true}'

POSITIONS = (
    Position(
        "person",
        "PATCH",
        "/api/admin/trr-api/people/{}/gallery/K/facebank-seed",
        "/api/v1/admin/person/{}/gallery/K/facebank-seed",
        FLAG,
    ),
    Position(
        "link",
        "PATCH",
        "/api/admin/trr-api/people/K/gallery/{}/facebank-seed",
        "/api/v1/admin/person/K/gallery/{}/facebank-seed",
        FLAG,
    ),
    Position(
        "asset to delete", "DELETE", "/api/admin/trr-api/media-assets/{}?exclude=K", "/api/v1/admin/media-assets/{}"
    ),
    Position(
        "asset to count",
        "POST",
        "/api/admin/trr-api/media-assets/{}/auto-count?force=K",
        "/api/v1/admin/media-assets/{}/auto-count",
    ),
    Position(
        "asset to look at",
        "POST",
        "/api/admin/trr-api/media-assets/{}/detect-text-overlay?force=K",
        "/api/v1/admin/media-assets/{}/detect-text-overlay",
    ),
)


@pytest.mark.clause("PRX-09")
@pytest.mark.parametrize("position", [pytest.param(row, id=row.name) for row in POSITIONS])
@pytest.mark.parametrize("hostile", [*DOT_SEGMENTS, *HOSTILE])
def test_path_parameter_cannot_steer_the_call(app: App, position: Position, hostile: str) -> None:
    """The backend receives the contract's path with the segment encoded, or nothing; for a dot segment, nothing."""
    known = str(uuid.uuid4())
    raw = hostile.replace("M", known)
    allowed = set() if hostile in DOT_SEGMENTS else readings(raw)
    target = position.app_path.replace("K", known).format(raw)
    exchange = app.raw(position.method, target, position.body, timeout_s=app.timeout_s)
    app.require_toggles()
    for call in app.received(known):
        if not position.leads_where_it_should(call, known, allowed):
            raise Violation(
                f"{hostile} in the place of the {position.name} steers the signed call",
                expected="no call" if not allowed else f"no call, or {position.backend_path} with it as one segment",
                actual=_whole(call),
                exchange=exchange,
            )
