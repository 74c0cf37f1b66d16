"""PRX-10 to PRX-12, SSE-01, SSE-08 and BKD-01: the app's media routes, before a backend that the lab plays."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote
from weakref import WeakSet

import pytest
from hypothesis import given
from hypothesis import strategies as st

import contracts
from conformance import expect, sse
from conformance.app import App, Import, Session, shown
from conformance.errors import NotVerified, TargetBroken, Violation
from conformance.exchange import Exchange, Header, Incoming
from conformance.lab import Answer, Call, answers
from conformance.polling import polls
from conformance.states import where_given

# --- PRX-10: delete --------------------------------------------------------------------------------------------------

DELETED = {"deleted_links": 1, "deleted_asset": True, "s3_deleted": True, "s3_error": None}
TRUE, FALSE = frozenset({"true", "1", "yes", "on", "t", "y"}), frozenset({"false", "0", "no", "off", "f", "n"})
"""What a backend may read as a boolean, in any case."""


def excludes(call: Call) -> list[str]:
    """The values of `exclude` in a call's query, in order."""
    pairs = parse_qsl(call.target.partition("?")[2], keep_blank_values=True)
    return [value for name, value in pairs if name == "exclude"]


def reading(value: str) -> bool | str:
    """What a backend makes of a value: a boolean, or the text that it refuses."""
    lower = value.strip().lower()
    return lower in TRUE if lower in TRUE | FALSE else value


def deletes(app: App, query: str, *before: Answer) -> tuple[Exchange, list[Call]]:
    """An admin's delete of a fresh asset, and the deletes that the backend, which knows it, received.

    It accepts what it receives, after it has answered otherwise `before`.
    """
    asset_id = str(uuid.uuid4())
    app.lab.script(asset_id, *before, answers.json_value({"asset_id": asset_id, **DELETED}, "200"))
    exchange = app.delete(asset_id, query)
    app.require_toggles()
    return exchange, [call for call in app.received(asset_id) if call.method == "DELETE"]


def hands_on(app: App, query: str, expected: str, *, may_refuse: bool = False) -> None:
    """The delete is accepted, and the backend receives this value of `exclude`, once in each call.

    Where it `may_refuse`, a 4xx and no call is as good.
    """
    exchange, calls = deletes(app, query)
    if may_refuse and 400 <= exchange.status < 500 and not calls:
        return
    if not 200 <= exchange.status < 300 or not calls:
        raise Violation(
            f"an admin's delete did not get through; {app.where_it_should_go}",
            expected="a 2xx, and a DELETE at the backend",
            actual=f"{exchange.outcome()}, {len(calls)} DELETEs at the backend",
            exchange=exchange,
        )
    if any(excludes(call) != [expected] for call in calls):
        raise Violation(
            f"the backend did not receive exclude={expected}",
            expected=f"DELETE /api/v1/admin/media-assets/…?exclude={expected}",
            actual="\n".join(shown(calls)),
            exchange=exchange,
        )


@pytest.mark.clause("PRX-10")
@pytest.mark.parametrize("value", ["true", "false"])
def test_exclude_is_handed_on(app: App, value: str) -> None:
    """`true` and `false` arrive as they are, once."""
    hands_on(app, f"?exclude={value}", value)


@pytest.mark.clause("PRX-10")
@pytest.mark.parametrize("value", ["true", "false"])
@pytest.mark.parametrize("query", ["?cache=no&exclude={}", "?exclude={}&reason=wrong%20person"])
def test_exclude_is_handed_on_from_among_others(app: App, query: str, value: str) -> None:
    """Whatever else the browser's query says: `exclude` arrives as it is, or the delete is refused."""
    hands_on(app, query.format(value), value, may_refuse=True)


@pytest.mark.clause("PRX-10")
@given(values=st.lists(st.booleans(), min_size=1, max_size=6))
def test_each_delete_has_its_own_exclude(app: App, values: list[bool]) -> None:
    """Whatever was deleted before, each delete is sent with its own value."""
    for value in values:
        text = str(value).lower()
        hands_on(app, f"?exclude={text}", text)


@pytest.mark.clause("PRX-10")
def test_deletes_at_once_have_each_their_own_exclude(app: App) -> None:
    """The same of deletes that are under way together."""
    app.require_toggles()
    values = ["true", "false"] * 4
    app.at_once([partial(hands_on, query=f"?exclude={value}", expected=value) for value in values])


@pytest.mark.clause("PRX-10", level="SHOULD")
@pytest.mark.parametrize("query", ["", "?cache=no"])
def test_absent_exclude_means_true(app: App, query: str) -> None:
    """Where the browser says nothing of it, the image is excluded from now on."""
    hands_on(app, query, "true", may_refuse=bool(query))


@pytest.mark.clause("PRX-10")
@pytest.mark.parametrize(
    "given_values",
    [
        ("TRUE",),
        ("False",),
        ("FALSE",),
        ("1",),
        ("0",),
        ("no",),
        ("maybe",),
        ("2",),
        ("false", "false"),
        ("true", "true"),
    ],
    ids="&".join,
)
def test_other_exclude_keeps_its_meaning(app: App, given_values: tuple[str, ...]) -> None:
    """Another spelling, a repeat, or what is no boolean: the backend reads the same from it, or receives nothing."""
    exchange, calls = deletes(app, "?" + "&".join(f"exclude={value}" for value in given_values))
    wanted = {reading(value) for value in given_values}
    for call in calls:
        if {reading(value) for value in excludes(call)} != wanted:
            raise Violation(
                f"exclude={given_values[0]} became something else",
                expected=f"exclude={given_values[0]}, or no call of the backend",
                actual="\n".join(shown(calls)),
                exchange=exchange,
            )


@pytest.mark.clause("PRX-10")
@pytest.mark.parametrize(
    "value", ["true%26exclude%3Dfalse", "false%26exclude%3Dtrue", "false%23", "false%3Bexclude%3Dtrue"]
)
def test_exclude_is_one_value(app: App, value: str) -> None:
    """What is encoded in the one value is no further parameter: the backend reads the same, or receives nothing."""
    exchange, calls = deletes(app, f"?exclude={value}")
    for call in calls:
        if excludes(call) != [unquote(value)]:
            raise Violation(
                f"exclude={value} became something else",
                expected=f"exclude={value}, or no call of the backend",
                actual="\n".join(shown(calls)),
                exchange=exchange,
            )


@pytest.mark.clause("PRX-10")
@pytest.mark.parametrize("value", ["true", "false"])
@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(answers.reset, id="reset"),
        pytest.param(answers.close, id="closed"),
        *(pytest.param(partial(answers.status, code), id=str(code)) for code in (401, 404, 409, 503)),
    ],
)
def test_another_try_has_the_same_exclude(app: App, failure: Callable[[], Answer], value: str) -> None:
    """Whoever tries a delete again that failed says the same of the exclusion."""
    exchange, calls = deletes(app, f"?exclude={value}", failure())
    if not calls:
        hands_on(app, f"?exclude={value}", value)
    if any(excludes(call) != [value] for call in calls):
        raise Violation(
            f"the backend, which failed once, did not receive exclude={value}",
            expected=f"DELETE /api/v1/admin/media-assets/…?exclude={value}",
            actual="\n".join(shown(calls)),
            exchange=exchange,
        )


@pytest.mark.clause("PRX-10")
@pytest.mark.parametrize("given_values", [("true", "false"), ("false", "true")], ids="&".join)
def test_contradiction_is_not_resolved_elsewhere(app: App, given_values: tuple[str, str]) -> None:
    """Of two values that contradict each other one is handed on, or both, or the delete is refused."""
    exchange, calls = deletes(app, "?" + "&".join(f"exclude={value}" for value in given_values))
    for call in calls:
        if not excludes(call) or not set(excludes(call)) <= set(given_values):
            raise Violation(
                "neither value of exclude reached the backend",
                expected=list(given_values),
                actual="\n".join(shown(calls)),
                exchange=exchange,
            )


# --- PRX-11, SSE-01, SSE-08: the import's stream ---------------------------------------------------------------------


BACKEND_STREAM = "/api/v1/admin/scrape/import/stream"


def progress(order: Import, number: int, **members: Any) -> dict[str, Any]:
    """What is told of an image, by its number from 1."""
    return {"current": number, "total": order.count, "url": order.urls[number - 1], **members}


def story(order: Import, caption: str = "Zoë: “¡Olé!” 🎬") -> list[dict[str, Any]]:
    """The events of an import in which every third image is a duplicate, and every fourth broken.

    The first image is fetched twice, and the two events that say so are the same; each tells how many are imported.
    """
    events: list[dict[str, Any]] = []
    assets: list[dict[str, Any]] = []
    errors: list[str] = []
    for number in range(1, order.count + 1):
        begun = progress(order, number, status="downloading", imported=len(assets))
        events += [begun] * (2 if number == 1 else 1)
        if number % 4 == 0:
            errors.append(f"{order.urls[number - 1]}: no image")
            events.append(progress(order, number, status="error", error="no image"))
            continue
        asset_id = str(uuid.uuid5(uuid.UUID(order.key), str(number)))
        status = "duplicate" if number % 3 == 0 else "success"
        events.append(progress(order, number, status=status, media_asset_id=asset_id))
        if status == "success":
            assets.append({"id": asset_id, "hosted_url": None, "width": 1200, "height": 800, "caption": caption})
    skipped = order.count - len(assets) - len(errors)
    summary = {"imported": len(assets), "skipped_duplicates": skipped, "errors": errors, "assets": assets}
    return [*events, summary]


@dataclass(frozen=True)
class Wire:
    """How a backend may write its events; `{}` is an event's JSON, `#` its number."""

    name: str
    form: str = "event: progress\ndata: {}\n\n"
    ascii: bool = True
    content_type: str = "text/event-stream"

    def write(self, event: Any, number: int) -> bytes:
        """An event's bytes."""
        text = json.dumps(event, ensure_ascii=self.ascii)
        return self.form.replace("#", str(number)).replace("{}", text).encode()


WIRES = (
    Wire("plain"),
    Wire("no event names", "data: {}\n\n"),
    Wire("other event names", "data: {}\nevent: image-#\n\n", content_type="text/event-stream; charset=utf-8"),
    Wire("CRLF", "event: progress\r\ndata: {}\r\n\r\n"),
    Wire("heartbeats", ": keep-alive #\n\n:\n\nevent: progress\ndata: {}\n\n"),
    Wire("ids", "id: #\nretry: 3000\nevent: progress\ndata: {}\n\n"),
    Wire("more blank lines", "\n\ndata: {}\n\n\n"),
    Wire("UTF-8", ascii=False, content_type="text/event-stream;charset=UTF-8"),
)
MANY = 12
"""So many images are an import that some stages of a proxy treat otherwise than a small one."""
LIVE_WIRES = ("plain", "CRLF", "heartbeats", "ids")
"""What a proxy that reads events may wait for in vain."""

each_wire = pytest.mark.parametrize("wire", [pytest.param(wire, id=wire.name) for wire in WIRES])


def got_through(app: App, exchange: Exchange) -> None:
    """The stream's answer is a success. Raises PremiseBroken for PRX-01 where not even a toggle gets through."""
    if exchange.status == 200:
        return
    app.require_toggles()
    raise Violation(
        f"an admin's import did not get through; {app.where_it_should_go}",
        clause="PRX-11",
        expected="200, and the backend's events",
        actual=exchange.outcome(),
        exchange=exchange,
    )


def events_of(incoming: Incoming) -> Iterator[sse.Event]:
    """The events of an answer, each as soon as it is whole."""
    parser = sse.Parser()
    while piece := incoming.read():
        yield from parser.feed(piece)
    yield from parser.end()


def value_of(event: sse.Event) -> Any:
    """An event's JSON value; Ellipsis, which equals no JSON value, where its data is none."""
    try:
        return event.value
    except ValueError:
        return ...


def is_passed_on(event: sse.Event, sent: Any) -> bool:
    """Whether an event is what the backend sent: the same to its reader, with whatever further members."""
    return holds(value_of(event), sent) and event.role is sse.Event("message", json.dumps(sent), ()).role


def holds(value: Any, sent: Any) -> bool:
    """Whether a JSON value is another one, but for members that its objects have besides."""
    if isinstance(value, dict) and isinstance(sent, dict):
        return all(name in value and holds(value[name], item) for name, item in sent.items())
    if isinstance(value, list) and isinstance(sent, list):
        return len(value) == len(sent) and all(map(holds, value, sent))
    return bool(value == sent)


def backends(events: Iterable[sse.Event], sent: Sequence[Any]) -> list[Any]:
    """Of the events that arrived those of the backend, as it sent them, and those that the app would take for some."""
    arrived = []
    for event in events:
        value = next((one for one in sent if is_passed_on(event, one)), ...)
        if value is ... and event.role is not sse.Role.OTHER:
            value = value_of(event)
        if value is not ...:
            arrived.append(value)
    return arrived


def whole_stream(app: App, order: Import, answer: Answer) -> tuple[list[sse.Event], Exchange]:
    """All events of an import that the backend answers so, and the exchange."""
    app.lab.script(order.page, answer)
    with app.stream(order) as incoming:
        got_through(app, incoming.exchange)
        events = list(events_of(incoming))
        return events, incoming.exchange


def passes_on(app: App, order: Import, sent: Sequence[Any], answer: Answer) -> None:
    """The backend's events arrive, each once, in their order, and the answer ends as the backend's did."""
    events, exchange = whole_stream(app, order, answer)
    arrived = backends(events, sent)
    if arrived != list(sent):
        raise Violation(
            f"{len(sent)} events of the backend, {len(arrived)} at the browser: {first_difference(sent, arrived)}",
            expected=list(sent),
            actual=arrived,
            exchange=exchange,
        )
    if exchange.failure is not None:
        raise TargetBroken(f"the stream passed every event on, and then: {exchange.outcome()}", exchange)


def first_difference(sent: Sequence[Any], arrived: Sequence[Any]) -> str:
    """Where two lists of events part, in words."""
    for number, event in enumerate(sent, 1):
        if event not in arrived:
            return f"event {number} is missing or altered"
    return "an event is repeated, new, or out of its place"


_warm: WeakSet[App] = WeakSet()


def warm_up(app: App) -> None:
    """Has one import streamed before the first that is timed: a development server builds a route when it is asked."""
    if app not in _warm:
        order = Import(1)
        whole_stream(app, order, answers.stream([WIRES[0].write(event, 0) for event in story(order)]))
        _warm.add(app)


_waited_for: WeakSet[App] = WeakSet()


@contextmanager
def backend_goes_on_at_last(app: App, order: Import) -> Iterator[threading.Event]:
    """Lets go of what the backend holds after a while, so that every stream ends; yields whether that was needed.

    The while is half the time limit, and short for an app that needed one already.
    """
    needed = threading.Event()

    def let_go() -> None:
        needed.set()
        _waited_for.add(app)
        app.lab.release(order.page)

    timer = threading.Timer(0.5 if app in _waited_for else app.timeout_s / 2, let_go)
    timer.start()
    try:
        yield needed
    finally:
        timer.cancel()
        timer.join()
        app.lab.release(order.page)


def arrive_before_the_next(
    app: App, order: Import, wire: Wire, sent: Sequence[Any], headers: Sequence[Header] = ()
) -> None:
    """The backend sends each event only once the browser has those before."""
    warm_up(app)
    app.lab.script(order.page, answers.stream(list(gated(wire, [[event] for event in sent])), wire.content_type))
    arrived: list[sse.Event] = []
    with backend_goes_on_at_last(app, order) as needed, app.stream(order, headers) as incoming:
        got_through(app, incoming.exchange)
        events = events_of(incoming)
        for number in range(1, len(sent) + 1):
            while len(backends(arrived, sent)) < number and (event := next(events, None)) is not None:
                arrived.append(event)
            if needed.is_set():
                raise too_late(f"event {number} is not at the browser before the backend sends the next", incoming)
            if backends(arrived, sent) != list(sent[:number]):
                raise Violation(
                    f"event {number} at the browser is not the backend's",
                    expected=list(sent[:number]),
                    actual=backends(arrived, sent),
                    exchange=incoming.exchange,
                )
            app.lab.release(order.page, f"after {number}")


def gated(wire: Wire, steps: Sequence[Sequence[Any]]) -> Iterator[bytes | answers.Gate]:
    """The bytes of all events, with a gate after each step, named by the number of events before it."""
    number = 0
    for step in steps:
        if number:
            yield answers.gate(f"after {number}")
        for event in step:
            yield wire.write(event, number)
            number += 1


def too_late(message: str, incoming: Incoming) -> Violation:
    """Events that the browser had only once the backend was let go."""
    return Violation(
        message,
        expected="each event as it comes",
        actual="events that came only after the backend had gone on",
        exchange=incoming.exchange,
    )


@pytest.mark.clause("PRX-11")
@pytest.mark.parametrize("wire", [pytest.param(wire, id=wire.name) for wire in WIRES if wire.name in LIVE_WIRES])
def test_events_come_one_by_one(app: App, wire: Wire) -> None:
    """Each event is at the browser before the backend sends the next, however the backend writes them."""
    order = Import(2)
    arrive_before_the_next(app, order, wire, story(order))


@pytest.mark.clause("PRX-11")
def test_events_come_one_by_one_to_a_browser_that_takes_gzip(app: App) -> None:
    """Whoever compresses a stream must not collect it."""
    order = Import(2)
    arrive_before_the_next(app, order, WIRES[0], story(order), (("Accept-Encoding", "gzip"),))


@pytest.mark.clause("PRX-11")
def test_many_events_come_one_by_one(app: App) -> None:
    """The same of an import of many images, whose events are long."""
    order = Import(MANY)
    arrive_before_the_next(app, order, WIRES[0], [event | {"note": "long " * 2_000} for event in story(order)])


@pytest.mark.clause("PRX-11")
def test_imports_at_once_are_each_its_own(app: App) -> None:
    """Of two imports that are under way together, each has its own events."""
    warm_up(app)
    orders = [Import(3), Import(3)]
    sent = {order.key: story(order) for order in orders}
    for order in orders:
        first, second, *others = (WIRES[0].write(event, 0) for event in sent[order.key])
        # in the middle of a line of data
        middle = second.index(b"{") + 10
        app.lab.script(
            order.page, answers.stream([first + second[:middle], answers.gate(), second[middle:] + b"".join(others)])
        )

    begun = {order.key: threading.Event() for order in orders}

    def let_go() -> None:
        # who has one import at a time does not begin the second before
        for order in orders:
            begun[order.key].wait(app.timeout_s / 8)
        for order in orders:
            app.lab.release(order.page)

    def import_one(order: Import, other: App) -> tuple[list[sse.Event], Exchange]:
        events = []
        with other.stream(order) as incoming:
            for event in events_of(incoming):
                events.append(event)
                begun[order.key].set()
            return events, incoming.exchange

    for order, (events, exchange) in zip(
        orders, app.at_once([partial(import_one, order) for order in orders], let_go), strict=True
    ):
        if exchange.status == 200 and (arrived := backends(events, sent[order.key])) != sent[order.key]:
            raise Violation(
                f"of two imports at once: {first_difference(sent[order.key], arrived)}",
                expected=sent[order.key],
                actual=arrived,
                exchange=exchange,
            )


@pytest.mark.clause("PRX-11")
def test_import_that_was_left_can_be_made_again(app: App) -> None:
    """A browser that goes away in the middle leaves nothing behind: once the backend is done, it is asked again."""
    order = Import(2)
    sent = story(order)
    app.lab.script(order.page, answers.stream(list(gated(WIRES[0], [sent[:1], sent[1:]]))))
    with app.stream(order) as incoming:
        got_through(app, incoming.exchange)
        next(events_of(incoming), None)
    app.lab.release(order.page)
    answer = answers.stream([WIRES[0].write(event, 0) for event in sent])
    for _ in polls(app.timeout_s / 4, 0.1):
        app.lab.script(order.page, answer)
        with app.stream(order) as again:
            arrived = backends(events_of(again), sent)
        # it may take its time to see that the browser has left
        if again.exchange.response is not None and again.exchange.response.status == 200:
            break
    got_through(app, again.exchange)
    if arrived != sent:
        raise Violation(
            f"after an import that the browser has left: {first_difference(sent, arrived)}",
            expected=sent,
            actual=arrived,
            exchange=again.exchange,
        )


@pytest.mark.clause("SSE-08")
def test_first_event_comes_before_the_last_image(app: App) -> None:
    """The browser hears of the first image while the backend has still to fetch the last."""
    warm_up(app)
    order = Import(8)
    *before, last, summary = sent = story(order)
    app.lab.script(order.page, answers.stream(list(gated(WIRES[0], [before, [last, summary]]))))
    with backend_goes_on_at_last(app, order) as needed, app.stream(order) as incoming:
        got_through(app, incoming.exchange)
        arrived = (event for event in events_of(incoming) if backends([event], sent))
        if next(arrived, None) is None or needed.is_set():
            raise too_late("no event is at the browser before the backend fetches the last image", incoming)
        app.lab.release(order.page)
        for _ in arrived:  # to its end: a browser that leaves is another matter
            pass


@pytest.mark.clause("PRX-11")
@each_wire
def test_stream_is_an_event_stream(app: App, wire: Wire) -> None:
    """The answer is `text/event-stream`, and the browser gets the events of the backend's stream."""
    order = Import(4)
    sent = story(order)
    answer = answers.stream([wire.write(event, number) for number, event in enumerate(sent)], wire.content_type)
    _, exchange = whole_stream(app, order, answer)
    is_event_stream(exchange)
    if not any((call.method, call.path.rstrip("/")) == ("POST", BACKEND_STREAM) for call in app.lab.calls(order.page)):
        raise Violation(
            "the backend was not asked for a stream",
            expected=f"POST {BACKEND_STREAM}",
            actual="\n".join(shown(app.received(order.key))),
            exchange=exchange,
        )
    passes_on(app, order, sent, answer)


def is_event_stream(exchange: Exchange) -> None:
    """The answer says that it is `text/event-stream`, with whatever parameters."""
    declared = exchange.answer.header("Content-Type") or ""
    if declared.partition(";")[0].strip().lower() != sse.MEDIA_TYPE:
        raise Violation(
            "the stream is no event stream", expected=sse.MEDIA_TYPE, actual=declared or "no type", exchange=exchange
        )


@pytest.mark.clause("PRX-11")
@pytest.mark.parametrize("step", [1, 2, 3, 1000], ids=lambda step: f"{step} bytes at a time")
def test_events_survive_any_cut(app: App, step: int) -> None:
    """Characters and events that are cut anywhere on their way arrive whole."""
    order = Import(3)
    sent = story(order, caption="Ünïcödé ☂ 漢字 🎬")
    wire = next(wire for wire in WIRES if not wire.ascii)
    body = b"".join(wire.write(event, number) for number, event in enumerate(sent))
    passes_on(app, order, sent, answers.stream([body], step=step))


@pytest.mark.clause("PRX-11")
def test_compressed_events_arrive(app: App) -> None:
    """A backend, or what stands before it, may compress the stream for an app that takes that."""
    order = Import(3)
    sent = story(order)
    passes_on(app, order, sent, answers.compressed(answers.stream([WIRES[0].write(event, 0) for event in sent])))


@pytest.mark.clause("PRX-11")
def test_long_event_arrives(app: App) -> None:
    """The summary of an import of 50 images with long captions is one long line."""
    order = Import(50)
    sent = story(order, caption="A reunion that nobody had expected. " * 150)
    chunks = [WIRES[0].write(event, number) for number, event in enumerate(sent)]
    passes_on(app, order, sent, answers.stream(chunks))


@pytest.mark.clause("PRX-11")
@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"], ids=ascii)
def test_lines_end_where_those_of_a_stream_do(app: App, character: str) -> None:
    """What ends a line of text elsewhere ends none of an event stream, and a caption may hold it."""
    order = Import(2)
    sent = story(order, caption=f"One{character}two")
    wire = next(wire for wire in WIRES if not wire.ascii)
    passes_on(app, order, sent, answers.stream([wire.write(event, number) for number, event in enumerate(sent)]))


# what some readers of lines take for the end of one, and SSE does not, is left to the wire's own escapes
_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20)
_MEMBERS = st.dictionaries(st.sampled_from(["status", "detail", "caption", "stage"]), _TEXT | st.none(), max_size=3)


@pytest.mark.clause("PRX-11")
@given(members=st.lists(_MEMBERS, min_size=1, max_size=8), wire=st.sampled_from(WIRES), together=st.booleans())
def test_any_events_arrive(app: App, members: list[dict[str, Any]], wire: Wire, together: bool) -> None:
    """Whatever an event says, of an image on its way or at its end, it arrives as it is and in its place."""
    order = Import(len(members))
    sent = [progress(order, number, **more) for number, more in enumerate(members, 1)]
    chunks = [wire.write(event, number) for number, event in enumerate(sent)]
    passes_on(app, order, sent, answers.stream([b"".join(chunks)] if together else chunks, wire.content_type))


def without_summary(order: Import, end: answers.End) -> Answer:
    """The stream of a backend that ends it before its summary."""
    return answers.stream([WIRES[0].write(event, 0) for event in story(order)[:-1]], end=end)


@pytest.mark.clause("PRX-11")
@pytest.mark.parametrize("end", ["close", "reset"])
def test_broken_stream_has_no_other_end(app: App, end: answers.End) -> None:
    """Where the backend breaks off, the app makes up no summary and no image that went well; it may tell an error."""
    order = Import(3)
    told = story(order)[:-1]
    app.lab.script(order.page, without_summary(order, end))
    with app.stream(order) as incoming:
        events = list(events_of(incoming))
    for event in events:
        goes_well = event.role is sse.Role.SUMMARY or (event.role is sse.Role.RESULT and event.final_status != "error")
        if goes_well and not any(is_passed_on(event, one) for one in told):
            raise Violation(
                "the backend broke off, and the browser gets an event that it never sent",
                expected=told,
                actual=event.data,
                exchange=incoming.exchange,
            )


@pytest.mark.clause("SSE-01")
@each_wire
def test_each_event_is_one_line_of_data(app: App, wire: Wire) -> None:
    """As it comes from the app, each event's JSON stands whole on one `data: ` line of a `text/event-stream`."""
    order = Import(4)
    chunks = [wire.write(event, number) for number, event in enumerate(story(order))]
    _, exchange = whole_stream(app, order, answers.stream(chunks, wire.content_type))
    is_event_stream(exchange)
    is_read_line_by_line(order, exchange)


@pytest.mark.clause("SSE-01")
@pytest.mark.parametrize("end", ["close", "reset"])
def test_each_event_of_a_broken_stream_is_one_line_of_data(app: App, end: answers.End) -> None:
    """The same where the backend breaks off, also of what the app says of that."""
    order = Import(3)
    _, exchange = whole_stream(app, order, without_summary(order, end))
    is_read_line_by_line(order, exchange)


def is_read_line_by_line(order: Import, exchange: Exchange) -> None:
    """Each event's JSON stands whole on one `data: ` line; what a broken connection leaves of a line is no event."""
    content = exchange.answer.body
    if exchange.failure is not None:
        content = content[: max(content.rfind(b"\n"), content.rfind(b"\r")) + 1]
    for problem in sse.problems(content, order.urls):
        if problem.clause == "SSE-01":
            raise Violation(problem.message, expected=problem.expected, actual=problem.actual, exchange=exchange)


# --- PRX-12: people count and text overlay ---------------------------------------------------------------------------

ACTIONS = ("auto-count", "detect-text-overlay")
each_action = pytest.mark.parametrize("action", ACTIONS)

TEXT = (("Content-Type", "text/plain"),)
BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"

FAILURES: Mapping[str, Callable[[int], Answer]] = {
    "detail": lambda code: answers.status(code, {"detail": f"refused {uuid.uuid4().hex}"}),
    "details": lambda code: answers.status(
        code, {"detail": [{"loc": ["path", "asset_id"], "msg": "value is not a UUID", "type": "uuid"}]}
    ),
    "object of details": lambda code: answers.status(code, {"detail": {"code": "failed", "stage": "detector"}}),
    "error": lambda code: answers.status(code, {"error": "the detector is not configured"}),
    "error and nulls": lambda code: answers.status(
        code, {"error": "vision failed", "people_count": None, "has_text_overlay": None}
    ),
    "what was found": lambda code: answers.status(
        code, {"people_count": 3, "has_text_overlay": True, "error": "it could not be stored"}
    ),
    "problem": lambda code: answers.status(code, {"type": "about:blank", "title": "Refused", "status": code}),
    "empty detail": lambda code: answers.status(code, {"detail": ""}),
    "empty object": lambda code: answers.status(code, {}),
    "text": lambda code: answers.raw(b"Internal Server Error", headers=TEXT, code=code),
    "web page": lambda code: answers.raw(BAD_GATEWAY, headers=answers.HTML, code=code),
    "null": lambda code: answers.raw(b"null", code=code),
    # with words, which an app may show as they are
    "not JSON": lambda code: answers.raw(b'{"detail": "the detector is down', code=code),
    "nothing": lambda code: answers.raw(b"", headers=(), code=code),
}
STATUSES = (404, 422, 500, 503)

FOUND: Mapping[str, Mapping[str, Any]] = {
    "auto-count": {"people_count": 3, "face_count": 3, "detector": "yolo", "model": "yolo11n"},
    "detect-text-overlay": {"has_text_overlay": True, "detector": "ocr", "model": "ocr-1"},
}
"""What the backend answers where it finds something."""


def asset(app: App, *given_answers: Answer) -> str:
    """A fresh asset, for which the backend answers so."""
    asset_id = str(uuid.uuid4())
    app.lab.script(asset_id, *given_answers)
    return asset_id


def reached_the_backend(app: App, asset_id: str, action: str, exchange: Exchange) -> None:
    """The backend received the call, without which its answer means nothing."""
    exchange.status  # noqa: B018  (raises where the app limits the rate itself)
    calls = app.lab.calls(asset_id)
    if not any(call.method == "POST" and call.path.rstrip("/").endswith(f"/{action}") for call in calls):
        app.require_toggles()
        raise Violation(
            f"an admin's {action} did not get through; {app.where_it_should_go}",
            expected=f"POST /api/v1/admin/media-assets/{asset_id}/{action}",
            actual="\n".join(shown(calls)) or "no call of the backend",
            exchange=exchange,
        )


def fails(app: App, asset_id: str, action: str, *, because: str, query: str = "?force=true") -> Exchange:
    """The backend, which is asked, fails, and that is no 2xx at the browser."""
    exchange = app.act(asset_id, action, query)
    reached_the_backend(app, asset_id, action, exchange)
    return no_success(exchange, action, because=because)


def no_success(exchange: Exchange, action: str, *, because: str) -> Exchange:
    """The answer, which is no 2xx."""
    if exchange.status < 300:
        raise Violation(
            f"{action} looks like a success where {because}",
            expected="a non-2xx with a message",
            actual=f"{exchange.outcome()} {exchange.answer.text[:500]}",
            exchange=exchange,
        )
    return exchange


def says_so(exchange: Exchange, action: str, *, because: str) -> None:
    """The failure has a message."""
    if not expect.has_message(exchange):
        raise Violation(
            f"{action} says nothing where {because}",
            expected="a message",
            actual=f"{exchange.outcome()} {exchange.answer.text[:500]}".strip(),
            exchange=exchange,
        )


def is_told(app: App, asset_id: str, action: str, *, because: str, query: str = "?force=true") -> None:
    """The backend's failure is a non-2xx with a message."""
    says_so(fails(app, asset_id, action, because=because, query=query), action, because=because)


@pytest.mark.clause("PRX-12")
@each_action
@pytest.mark.parametrize("code", STATUSES)
@pytest.mark.parametrize("answer", [pytest.param(make, id=name) for name, make in FAILURES.items()])
def test_failure_is_told(app: App, action: str, code: int, answer: Callable[[int], Answer]) -> None:
    """The backend's error is a non-2xx at the browser, with a message whatever the backend's body says."""
    asset_id = asset(app, answer(code))
    is_told(app, asset_id, action, because=f"the backend answers {code}")


@pytest.mark.clause("PRX-12")
@given(
    # a 429 that is handed on is not told from one of the app's own
    code=st.integers(400, 428) | st.integers(430, 599),
    action=st.sampled_from(ACTIONS),
    detail=st.text(max_size=30).map("it failed: {}".format) | st.none(),
    query=st.sampled_from(["", "?force=false", "?force=true"]),
)
def test_any_failure_is_told(app: App, code: int, action: str, detail: str | None, query: str) -> None:
    """Any 4xx or 5xx, with any detail, of a first count and of a recount."""
    body = json.dumps({"detail": detail}).encode()
    asset_id = asset(app, answers.raw(body, code=code))
    is_told(app, asset_id, action, because=f"the backend answers {code}", query=query)


@pytest.mark.clause("PRX-12")
@each_action
def test_busy_backend_is_told(app: App, action: str) -> None:
    """A 429 of the backend is no 2xx; where it is handed on it can't be told from one of the app's own."""
    asset_id = asset(app, answers.status(429))
    exchange = app.act(asset_id, action)
    if not exchange.is_limited:
        reached_the_backend(app, asset_id, action, exchange)
        says_so(no_success(exchange, action, because="the backend answers 429"), action, because="the backend is busy")


@pytest.mark.clause("PRX-12")
@each_action
@pytest.mark.parametrize("code", [302, 307, 308])
def test_redirect_that_leads_nowhere_is_told(app: App, action: str, code: int) -> None:
    """A 3xx of the backend is no 2xx either, whoever follows it."""
    asset_id = asset(app, answers.redirect(code=code))
    exchange = fails(app, asset_id, action, because=f"the backend answers {code}")
    if exchange.status >= 400:
        says_so(exchange, action, because=f"the backend answers {code}")


@pytest.mark.clause("PRX-12")
@each_action
def test_failure_is_told_to_everybody_who_asked(app: App, action: str) -> None:
    """Whoever asks for what is under way is told of its failure too, or is refused."""
    app.require_toggles()
    asset_id = asset(app, answers.held(answers.status(502)))
    ask = partial(App.act, asset_id=asset_id, action=action)
    for exchange in app.while_held(asset_id, ask, ask):
        if not exchange.is_limited:
            says_so(
                no_success(exchange, action, because="the backend answers 502"), action, because="the backend fails"
            )


@pytest.mark.clause("PRX-12")
@each_action
def test_success_is_a_success(app: App, action: str) -> None:
    """What the backend found is no error, neither before nor after one."""
    asset_id = str(uuid.uuid4())
    found = answers.json_value({"asset_id": asset_id, "media_asset_id": asset_id, **FOUND[action]}, "200")
    succeeds(app, asset_id, action, found)
    app.lab.script(asset_id, answers.status(502))
    is_told(app, asset_id, action, because="the backend answers 502")
    succeeds(app, asset_id, action, found)


def succeeds(app: App, asset_id: str, action: str, found: Answer) -> None:
    """What the backend found is a 2xx at the browser."""
    app.lab.script(asset_id, found)
    exchange = app.act(asset_id, action)
    reached_the_backend(app, asset_id, action, exchange)
    if not 200 <= exchange.status < 300:
        raise Violation(
            f"{action} is an error where the backend succeeds",
            expected="a 2xx",
            actual=exchange.outcome(),
            exchange=exchange,
        )


each_unreachable = pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answers.reset, id="reset"),
        pytest.param(answers.close, id="closed"),
        pytest.param(lambda: replace(answers.cut_short({"detail": "no image"}), status=500), id="cut short"),
        pytest.param(None, id="refused", marks=pytest.mark.exclusive),
    ],
)


def unreachable(app: App, action: str, answer: Callable[[], Answer] | None) -> Exchange:
    """A count or detection whose connection to the backend breaks, or with no answer is refused: no 2xx."""
    asset_id = str(uuid.uuid4())
    if answer is not None:
        app.lab.script(asset_id, answer())
        return fails(app, asset_id, action, because="the backend breaks the connection")
    app.require_toggles()
    with app.lab.refusing("stub_backend"):
        return no_success(app.act(asset_id, action), action, because="the backend refuses the connection")


@pytest.mark.clause("PRX-12")
@each_action
@each_unreachable
def test_unreachable_backend_is_no_success(app: App, action: str, answer: Callable[[], Answer] | None) -> None:
    """A backend that refuses or breaks the connection is a non-2xx."""
    unreachable(app, action, answer)


@pytest.mark.clause("PRX-12", level="SHOULD")
@each_action
@each_unreachable
def test_unreachable_backend_is_told(app: App, action: str, answer: Callable[[], Answer] | None) -> None:
    """A backend that refuses or breaks the connection is told with a message."""
    says_so(unreachable(app, action, answer), action, because="the backend can't be reached")


# --- BKD-01: the backdrops that can be added -------------------------------------------------------------------------

STATE = "season backdrops"
ASSIGNED = "backdrop of a season"
"""One of them, `media_asset_id`, becomes a backdrop of the season `season_id`."""
GROUPS = ("unassigned", "assigned_by_link", "assigned_by_legacy", "other_source")


@dataclass(frozen=True)
class Backdrops:
    """A season, and images of its show by group, their ids in lower case."""

    season_id: str
    groups: Mapping[str, tuple[str, ...]]
    bare: Backdrops | None = None
    """The same of a show of which nothing is assigned, where the state has one."""

    def group(self, asset_id: str) -> str:
        """What an image is."""
        return next((name for name, ids in self.groups.items() if asset_id in ids), "an image of no group")


@contextmanager
def season_backdrops(app: App) -> Iterator[Backdrops]:
    """The provider state; raises NotVerified where one of its groups is empty."""
    with app.states.given(STATE) as values:
        groups = {name: tuple(_ids(values[name], name)) for name in GROUPS}
        if empty := next((name for name, ids in groups.items() if not ids), None):
            raise NotVerified(f"app_states_url: {STATE!r} returned no image in {empty}")
        bare = None
        if values.get("bare_season_id") is not None:
            unassigned = tuple(_ids(values["bare_unassigned"], "bare_unassigned"))
            bare = Backdrops(str(values["bare_season_id"]), {"unassigned": unassigned})
        yield Backdrops(str(values["season_id"]), groups, bare)


def _ids(value: Any, group: str) -> Iterator[str]:
    """The ids of a group, which is one id or a list of them."""
    for item in value if isinstance(value, list) else [] if value is None else [value]:
        if not isinstance(item, str):
            raise TargetBroken(f"app_states_url: {STATE!r} returned {group} {value!r}, not an id or a list of ids")
        yield item.lower()


def offered(exchange: Exchange) -> list[str]:
    """The `media_asset_id` of each backdrop in an answer, in lower case."""
    expect.status(exchange, {200}, what="the request for unassigned backdrops")
    try:
        value = exchange.answer.json()
        return [row["media_asset_id"].lower() for row in value["backdrops"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Violation(
            "the answer is no list of backdrops with their media_asset_id",
            expected='{"season": …, "backdrops": [{"media_asset_id": …}]}',
            actual=exchange.answer.text[:500],
            exchange=exchange,
        ) from None


def offers_exactly_the_unassigned(app: App, backdrops: Backdrops) -> None:
    """Each unassigned backdrop is offered once, and nothing else is."""
    exchange = app.backdrops(backdrops.season_id)
    actual, expected = Counter(offered(exchange)), Counter(backdrops.groups["unassigned"])
    lines = [f"{each} (unassigned) is missing" for each in expected - actual]
    lines += [
        f"{each} ({backdrops.group(each)}) is offered{' more than once' if each in expected else ''}"
        for each in actual - expected
    ]
    if lines:
        raise Violation(
            f"not exactly the unassigned TMDb backdrops are offered: {'; '.join(lines)}",
            expected=sorted(expected),
            actual=sorted(actual.elements()),
            exchange=exchange,
        )


@pytest.mark.clause("BKD-01")
def test_unassigned_backdrops_are_offered(app: App) -> None:
    """What no season has is offered; what one has by link or in the legacy table, and what TMDb has not, is not."""
    with season_backdrops(app) as backdrops:
        offers_exactly_the_unassigned(app, backdrops)


@pytest.mark.clause("BKD-01")
def test_other_shows_change_nothing(app: App) -> None:
    """Each of two shows offers its own backdrops, in whatever order they are asked, and asked again."""
    with season_backdrops(app) as one, season_backdrops(app) as other:
        for backdrops in (one, other, one):
            offers_exactly_the_unassigned(app, backdrops)


@pytest.mark.clause("BKD-01")
def test_backdrop_that_is_assigned_is_offered_no_more(app: App) -> None:
    """Once a season has one of them, the others are offered, and no earlier answer is."""
    with season_backdrops(app) as backdrops:
        offers_exactly_the_unassigned(app, backdrops)
        taken, *others = backdrops.groups["unassigned"]
        with where_given(app.states.given(ASSIGNED, season_id=backdrops.season_id, media_asset_id=taken)) as assigned:
            if assigned is None:
                return  # the tests above show what can be seen here
            now = {"unassigned": tuple(others), "assigned_by_link": (*backdrops.groups["assigned_by_link"], taken)}
            offers_exactly_the_unassigned(app, replace(backdrops, groups={**backdrops.groups, **now}))


@pytest.mark.clause("BKD-01")
def test_everything_is_offered_where_nothing_is_assigned(app: App) -> None:
    """Of a show that has no backdrop of a season yet, all are offered."""
    with season_backdrops(app) as backdrops:
        if backdrops.bare is not None:
            offers_exactly_the_unassigned(app, backdrops.bare)


@pytest.mark.clause("BKD-01", level="SHOULD")
def test_backdrops_have_the_pinned_shape(app: App) -> None:
    """The answer is what the contract's schema says."""
    with season_backdrops(app) as backdrops:
        exchange = app.backdrops(backdrops.season_id)
        offered(exchange)
        for error in contracts.load().validator("unassigned-backdrops").iter_errors(exchange.answer.json()):
            raise Violation(
                f"the answer has not the pinned shape: {error.json_path}: {error.message}",
                expected="what unassigned-backdrops.schema.json says",
                actual=exchange.answer.text[:500],
                exchange=exchange,
            )


STRANGERS: Mapping[str, Callable[[App], Session]] = {
    "no session": lambda app: Session(),
    "not allowlisted": lambda app: app.user,
}


@pytest.mark.clause("PRX-02", level="SHOULD")
@pytest.mark.parametrize("session", [pytest.param(make, id=name) for name, make in STRANGERS.items()])
def test_stranger_sees_no_backdrops(app: App, session: Callable[[App], Session]) -> None:
    """Without an admin's session there is no 2xx, for a season that has backdrops to offer."""
    stranger = session(app)
    with season_backdrops(app) as backdrops:
        exchange = app.backdrops(backdrops.season_id, stranger)
        if 200 <= exchange.status < 300:
            raise Violation(
                "the unassigned backdrops are shown to a stranger",
                expected="no 2xx",
                actual=exchange.outcome(),
                exchange=exchange,
            )
