"""The import's stream: from bytes to events, and from events to what is wrong with them.

Bytes become events by the rules of the HTML standard's EventSource: any line ending, comments, other fields, a byte
order mark, and however the bytes are cut. Unlike there, an event that only lacks its blank line at the end of the
stream counts: the app, which reads line by line, has read it. The app tells events apart by their members, and so does
this module; event names mean nothing.
"""

from __future__ import annotations

import codecs
import enum
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MEDIA_TYPE = "text/event-stream"
FINAL_STATUSES = ("success", "duplicate", "excluded", "error")
APP_PREFIX = "data: "
"""What a line begins with that the app reads."""

_LINE_END = re.compile("\r\n|\r|\n")
# what the surrogateescape handler makes of bytes that are no UTF-8; no UTF-8 has them
_ESCAPED = re.compile("[\udc80-\udcff]")


class Role(enum.Enum):
    """What an event is to the app."""

    RESULT = "how an image ended"
    SUMMARY = "how the import ended"
    FAILURE = "the whole import failed"
    OTHER = "progress, a heartbeat, or anything unknown"


@dataclass(frozen=True)
class Event:
    """One event, as EventSource dispatches it."""

    type: str
    data: str
    """The values of its data lines, joined by line feeds."""
    lines: tuple[str, ...]
    """Its data lines as they stood, from the field's name to the end."""
    is_utf8: bool = True
    """Whether its data lines were UTF-8; where not, they have replacement characters."""
    at: float | None = field(default=None, compare=False)
    """When it came, in seconds of the monotonic clock; None where that is not known."""

    @property
    def value(self) -> Any:
        """The data as JSON; raises ValueError where it is none (NaN and Infinity are none)."""
        try:
            return json.loads(self.data, parse_constant=_refuse)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    @property
    def members(self) -> Mapping[str, Any]:
        """The members of the JSON object that the data is; none where it is something else."""
        try:
            value = self.value
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def role(self) -> Role:
        """What the event is to the app, by its members."""
        members = self.members
        if members.get("status") in FINAL_STATUSES:
            return Role.RESULT
        if members.get("imported") is not None and members.get("assets") is not None:
            return Role.SUMMARY
        if members.get("error"):
            return Role.RESULT if members.get("current") is not None else Role.FAILURE
        return Role.OTHER

    @property
    def final_status(self) -> str:
        """How the image ended, of a RESULT: its status, or `error` where the event only has an error."""
        status = self.members.get("status")
        return status if status in FINAL_STATUSES else "error"

    @property
    def message(self) -> str | None:
        """What an error event says: the text in `error`, `message` or `detail`, or in a `message` in there."""
        for name in ("error", "message", "detail"):
            text = self.members.get(name)
            text = text.get("message") if isinstance(text, dict) else text
            if isinstance(text, str) and text.strip():
                return text
        return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


class Parser:
    """Turns the pieces of a stream into events, each as soon as its blank line is there, in linear time."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._unfinished: list[str] = []
        self._after_cr = False
        self._type = ""
        self._lines: list[str] = []

    def feed(self, piece: bytes) -> list[Event]:
        """The events that these bytes complete."""
        return self._read(self._decoder.decode(piece))

    def end(self) -> list[Event]:
        """The event, if any, that lacks nothing but its blank line."""
        events = self._read(self._decoder.decode(b"", True))
        return events + [event for line in ("".join(self._unfinished), "") for event in self._line(line)]

    def _read(self, text: str) -> list[Event]:
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")
        if not text:
            return []
        self._after_cr = text.endswith("\r")
        first, *rest = _LINE_END.split(text)
        self._unfinished.append(first)
        if not rest:
            return []
        *lines, last = ["".join(self._unfinished), *rest]
        self._unfinished = [last]
        return [event for line in lines for event in self._line(line)]

    def _line(self, line: str) -> Iterator[Event]:
        name, _, value = line.partition(":")
        if not line:
            if self._lines:
                yield _event(self._type or "message", self._lines)
            self._type, self._lines = "", []
        elif name == "event":
            self._type = value.removeprefix(" ")
        elif name == "data":
            self._lines.append(line)


def _event(name: str, lines: Sequence[str]) -> Event:
    shown = tuple(_ESCAPED.sub("\ufffd", line) for line in lines)
    data = "\n".join(line.partition(":")[2].removeprefix(" ") for line in shown)
    return Event(name, data, shown, is_utf8=not any(map(_ESCAPED.search, lines)))


def parse(content: bytes) -> list[Event]:
    """The events of a whole stream."""
    parser = Parser()
    return parser.feed(content) + parser.end()


# --- what is wrong with a stream -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """A clause that a stream breaks, and how."""

    clause: str
    message: str
    expected: Any
    actual: Any


def problems(content: bytes, sent: Sequence[str]) -> Iterator[Problem]:
    """What a whole stream breaks of SSE-01 to SSE-04, SSE-06 and SSE-07, as the answer to an import.

    `sent` are the addresses of the images sent; no two addresses are of the same image.
    """
    events = parse(content)
    if not events and re.search(rb"(?m)^[^:\r\n]", content):
        shown = content[:500].decode("utf-8", "replace")
        yield Problem("SSE-01", "nothing of the stream is an event", "events", shown)
        return
    for check in (_unreadable(events), _without_known_status(events, sent)):
        found = list(check)
        yield from found
        if found:
            return  # what was not understood would be missing below
    yield from _not_one_result_each(events, sent)
    yield from _miscounted(events, len(sent))
    yield from _without_asset(events)
    yield from _wrong_end(events)
    yield from _without_message(events)


def _results(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.role is Role.RESULT]


def _unreadable(events: Sequence[Event]) -> Iterator[Problem]:
    """SSE-01: each event's JSON stands whole on one `data: ` line."""
    for event in events:
        if event.lines == ("data:",) or event.lines == ("data",):
            continue  # no JSON, and nothing that the app reads
        if len(event.lines) > 1:
            yield Problem(
                "SSE-01",
                f"an event's data is spread over {len(event.lines)} lines",
                "one `data: ` line with the whole JSON",
                "\n".join(event.lines),
            )
            continue
        (line,) = event.lines
        if not line.startswith(APP_PREFIX):
            yield Problem(
                "SSE-01", "a data line does not begin with `data: `, so the app skips it", "`data: ` and JSON", line
            )
            continue
        try:
            event.value  # noqa: B018  (raises where it is no JSON)
        except ValueError as error:
            yield Problem("SSE-01", f"the data of an event is not JSON: {error}", "one JSON text", line[:500])
            continue
        if not event.is_utf8:
            yield Problem("SSE-01", "the data of an event is not UTF-8", "UTF-8", line[:500])


def _without_known_status(events: Sequence[Event], sent: Sequence[str]) -> Iterator[Problem]:
    """SSE-02: the last word about an image has a known status, or `error` and `current`."""
    ended = [event.members.get("url") for event in _results(events)]
    others = [event.members for event in events if event.role in (Role.OTHER, Role.FAILURE)]
    # what is said of images on their way to an end that is known
    on_the_way = [members.get("status") for members in others if members.get("url") in ended]
    # of an import that was told to its end, and not under other addresses
    is_whole = any(event.role is Role.SUMMARY for event in events) and all(url in sent for url in ended)
    for url in sent:
        last = next((members for members in reversed(others) if members.get("url") == url), None)
        if url in ended or last is None:
            continue
        says_the_end = any(last.get(name) for name in ("error", "media_asset_id", "asset_id", "asset"))
        if says_the_end or (is_whole and last.get("status") not in on_the_way):
            yield Problem(
                "SSE-02",
                f"the last event of the image {url} has no known status, nor `error` and `current`",
                f"`status`: {', '.join(FINAL_STATUSES)}; or `error` and `current`",
                dict(last),
            )


def _not_one_result_each(events: Sequence[Event], sent: Sequence[str]) -> Iterator[Problem]:
    """SSE-03: each image gets exactly one final event, with its own `url`; SSE-07 where an error ended the stream."""
    results = _results(events)
    told, expected = Counter(str(event.members.get("url")) for event in results), Counter(sent)
    actual = [[event.members.get("url"), event.final_status] for event in results]
    for url in told.keys() - expected.keys():
        yield Problem("SSE-03", "a final event has the url of no image that was sent", list(sent), [url, *actual])
    stopped = bool(results) and results[-1].final_status == "error"
    for url, count in expected.items():
        if told[url] < count and stopped:
            yield Problem("SSE-07", f"after an error the image {url} got no final event", list(sent), actual)
        elif told[url] != count:
            yield Problem("SSE-03", f"the image {url} got {told[url]} final events", list(sent), actual)


def _miscounted(events: Sequence[Event], total: int) -> Iterator[Problem]:
    """SSE-03: `current` runs 1..total, and `total` is the number of images sent where it is given."""
    results = _results(events)
    currents = [event.members.get("current") for event in results]
    # how many there are is told already
    if len(results) == total and {n for n in currents if _is_count(n)} != set(range(1, total + 1)):
        yield Problem("SSE-03", "`current` does not run from 1 to total", list(range(1, total + 1)), currents)
    for event in events:
        given = event.members.get("total")
        counts = event.role is Role.RESULT or event.members.get("current") is not None
        if (
            counts
            and event.role is not Role.SUMMARY
            and given is not None
            and not (_is_count(given) and given == total)
        ):
            yield Problem("SSE-03", "`total` is not the number of images sent", total, dict(event.members))


def _without_asset(events: Sequence[Event]) -> Iterator[Problem]:
    """SSE-04: a `success` or `duplicate` event names its asset, and no two new images have one asset."""
    new: set[str] = set()
    for event in _results(events):
        if event.final_status not in ("success", "duplicate"):
            continue
        asset = event.members.get("media_asset_id")
        if not isinstance(asset, str) or not asset.strip():
            yield Problem(
                "SSE-04",
                f"a {event.final_status} event does not carry media_asset_id",
                "media_asset_id: a string that names the asset",
                dict(event.members),
            )
        elif event.final_status == "success":
            if normal_id(asset) in new:
                message = "two images that were imported anew have the same media_asset_id"
                yield Problem("SSE-04", message, "an asset of its own for each", dict(event.members))
            new.add(normal_id(asset))


def _wrong_end(events: Sequence[Event]) -> Iterator[Problem]:
    """SSE-06: the last event is the one summary, and its counts are those of the events seen."""
    summaries = [event for event in events if event.role is Role.SUMMARY]
    if len(summaries) != 1:
        shown = [dict(event.members) for event in events[-3:]]
        message = f"the stream has {len(summaries)} summaries" if summaries else "the stream has no summary"
        yield Problem("SSE-06", message, "one event with `imported` and `assets`, the last", shown)
        return
    (summary,) = summaries
    after = [event for event in events[events.index(summary) + 1 :] if event.data]
    if after:
        yield Problem(
            "SSE-06", "events follow the summary", "the summary last", [dict(event.members) for event in after]
        )
    seen = Counter(event.final_status for event in _results(events))
    members = summary.members
    skipped = members.get("skipped_duplicates")
    errors = members.get("errors")
    counts = {
        "imported": (members["imported"], {seen["success"]}),
        "skipped_duplicates": (skipped, {seen["duplicate"], seen["duplicate"] + seen["excluded"]}),
        "errors": (len(errors) if isinstance(errors, list) else None, {seen["error"]}),
    }
    for name, (number, allowed) in counts.items():
        if not _is_count(number) or number not in allowed:
            yield Problem(
                "SSE-06",
                f"the summary's {name} is not what the events before it say",
                " or ".join(map(str, sorted(allowed))),
                dict(members),
            )
    if not isinstance(members["assets"], list):
        yield Problem("SSE-06", "the summary's assets are no array", "an array", dict(members))


def _without_message(events: Sequence[Event]) -> Iterator[Problem]:
    """SSE-07: an `error` status carries a message."""
    for event in _results(events):
        if event.final_status == "error" and event.message is None:
            yield Problem("SSE-07", "an error event says nothing", "a message", dict(event.members))


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def normal_id(text: str) -> str:
    """An id as one compares it: UUIDs in any case and form are equal."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return text
