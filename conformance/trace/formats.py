"""Access logs, line by line: uvicorn's, the combined (and common) format of nginx and Apache, and JSON lines.

A line is a `Record`, or readable but no record of a request (`Unread.OTHER`), or broken (`Unread.BROKEN`). What a host
puts before the line is skipped: syslog, journald, docker compose, kubernetes, colours; a JSON object whose message is
itself such a line is read through. Fields that are added at the end of the combined format are fine.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

FORMATS = ("uvicorn", "combined", "json")

FIELDS = ("time", "client", "method", "path", "query", "status", "bytes", "user_agent")
"""What a JSON record can tell; `path` may have the query with it, or be a whole request line."""

MAX_LINE_BYTES = 1 << 20
"""What is longer is no line of an access log."""


class Record(NamedTuple):
    """One request as an access log has it; None is what the line does not say."""

    method: str
    target: str
    """Path and query as they were sent."""
    status: int | None
    """0 where no answer was sent."""
    size: int | None
    """Of the answer's body, in bytes."""
    at: float | None
    """Seconds since the epoch; where the line names no zone, as if in UTC."""
    client: str | None
    user_agent: str | None
    """Empty where the client sent none."""


class Unread(enum.Enum):
    """Why a line is no record."""

    OTHER = "readable, but about no request"
    BROKEN = "not a line of the format"


# --- times -----------------------------------------------------------------------------------------------------------

_NAMES_OF_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES_OF_MONTHS, 1)}
_CLF_TIME = re.compile(r"(\d\d)/([A-Z][a-z][a-z])/(\d{4}):(\d\d):(\d\d):(\d\d)(\.\d+)?(?: ?([+-])(\d\d):?(\d\d))?")
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?")
_SYSLOG_TIME = re.compile(r"([A-Z][a-z][a-z]) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)")


@lru_cache(maxsize=256)
def time_in(text: str) -> float | None:
    """The first time of day with its date in a text, in seconds since the epoch, or None."""
    try:
        if found := _CLF_TIME.search(text):
            day, month, year, hour, minute, second, fraction, sign, zone_h, zone_m = found.groups()
            date = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), tzinfo=UTC)
            at = date.timestamp() + int(second) + float(fraction or 0)
            offset = (int(zone_h) * 60 + int(zone_m)) * 60 if sign else 0
            return at - offset if sign == "+" else at + offset
        if found := _ISO_TIME.search(text):
            parsed = datetime.fromisoformat(re.sub(" ?(?:Z|UTC)$| (?=[+-])", "", found[0]).replace(",", "."))
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
        if found := _SYSLOG_TIME.search(text):
            # it names no year: a leap year has every day
            name, (day, hour, minute, second) = found[1], map(int, found.groups()[1:])
            return datetime(2000, _MONTHS[name], day, hour, minute, second, tzinfo=UTC).timestamp()
    except (ValueError, KeyError, OverflowError):
        pass
    return None


def time_of(value: Any) -> float | None:
    """A JSON member as a time: seconds, milli-, micro- or nanoseconds since the epoch, or a text with a time in it."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return time_in(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e20:
        return None
    # the size tells the unit: 1e11 seconds are some 3000 years away
    steps = math.ceil((math.log10(value) - 11) / 3) if value > 1e11 else 0
    return float(value / 1000**steps)


# --- lines of text ---------------------------------------------------------------------------------------------------

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_COMBINED_TIME = re.compile(r"(?:^| )\[([^\[\]]{1,64})\] \"")
_COMBINED_REST = re.compile(
    r"((?:[^\"\\]|\\.)*+)\" (\d{3}|-) (\d+|-)(?: \"((?:[^\"\\]|\\.)*+)\" \"((?:[^\"\\]|\\.)*+)\")?"
    r"(?:\s++(?:\"(?:[^\"\\]|\\.)*+\"|[^\s\"]\S*+))*+\s*+$"
)
_UVICORN_REST = re.compile(r"([A-Za-z]+) ([^\"]*) HTTP/\d(?:\.\d)?\" (\d{3})(?!\d)(?!.* HTTP/\d)")
_UVICORN_LEVEL = re.compile(r"(?:TRACE|DEBUG|INFO|WARNING|ERROR|CRITICAL): +[A-Z][a-z]")
_REQUEST_LINE = re.compile(r"([A-Za-z]+) (.*?)(?: (?:HTTP/)?\d(?:\.\d)?)?$", re.DOTALL)
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::\d+)?$|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%\w+)?(?:\]:\d+|\])?$")


def _dashed(text: str | None) -> str | None:
    """A quoted field: empty where the log has a dash."""
    return "" if text == "-" else text


class Reader:
    """Reads the lines of one log. It knows the log by what it has read: a line of fewer fields is a broken one."""

    def __init__(self, format: str | None = None, fields: Mapping[str, str] | None = None) -> None:
        """`format`: one of `FORMATS`, or None to tell by each line; `fields`: of `FIELDS`, the key in a JSON record."""
        self._format = format
        self._keys = dict(fields or {})
        self._has_user_agents = False

    def read(self, line: bytes) -> Record | Unread:
        """What a line says. Never raises."""
        if len(line) > MAX_LINE_BYTES:
            return Unread.BROKEN
        text = line.decode("utf-8", "replace").strip().removeprefix("\ufeff")
        found: Record | Unread = Unread.BROKEN
        if self._format in (None, "json") and text.endswith("}"):
            found = self._json(text)
        if found is Unread.BROKEN and self._format != "json":
            found = self._text(text)
        return found

    def _text(self, text: str) -> Record | Unread:
        if "\x1b" in text:
            text = _COLOURS.sub("", text)
        if self._format != "uvicorn" and (found := self._combined(text)) is not None:
            return found
        if self._format != "combined":
            return _uvicorn(text)
        return Unread.BROKEN

    def _combined(self, text: str) -> Record | Unread | None:
        """None where it is no line of that format at all."""
        time = _COMBINED_TIME.search(text)
        before = text[: time.start()].split() if time else []
        if time is None or len(before) < 3:
            return None
        rest = _COMBINED_REST.match(text, time.end())
        if rest is None:
            return Unread.BROKEN
        request, status, size, _, user_agent = rest.groups()
        if user_agent is not None:
            self._has_user_agents = True
        elif self._has_user_agents:
            return Unread.BROKEN
        method, target = _request(request)
        client = before[-3]
        if not _ADDRESS.match(client):
            # a user's name may have spaces
            client = next((word for word in before if _ADDRESS.match(word)), client)
        return Record(
            method,
            target,
            0 if status == "-" else int(status),
            None if size == "-" else _integer(size),
            time_in(time[1]),
            client,
            _dashed(user_agent),
        )

    # --- JSON ---

    def _json(self, text: str) -> Record | Unread:
        start = text.find("{")
        if start < 0 or (start and '"' in text[:start]):
            return Unread.BROKEN
        try:
            value = json.loads(text[start:], strict=False)
        except (ValueError, RecursionError):
            return Unread.BROKEN
        members = dict(_members(value))
        fields = _known(members)
        for name, key in self._keys.items():
            fields[name] = _at(value, key)
        path = fields.get("path")
        if not isinstance(path, str):
            message = fields.get("message")
            return self._through(message, fields) if isinstance(message, str) else Unread.OTHER
        method, target = fields.get("method"), path
        if not path.startswith("/") and " " in path:
            method, target = _request(path)
        return Record(
            method.upper() if isinstance(method, str) else "GET",
            _with_query(target, fields.get("query"), members),
            _status(fields.get("status")),
            _size(fields.get("bytes")),
            time_of(fields.get("time")),
            _text_of(fields.get("client")),
            _dashed(_text_of(fields.get("user_agent"))),
        )

    def _through(self, message: str, fields: Mapping[str, Any]) -> Record | Unread:
        """A line that a log driver has put into a JSON record."""
        found = Reader()._text(message.strip())
        if not isinstance(found, Record):
            return Unread.OTHER
        return found if found.at is not None else found._replace(at=time_of(fields.get("time")))


def _uvicorn(text: str) -> Record | Unread:
    start = text.find(' - "')
    rest = _UVICORN_REST.match(text, start + 4) if start >= 0 else None
    if rest is None:
        return Unread.OTHER if _UVICORN_LEVEL.search(text, 0, 200) else Unread.BROKEN
    before = text[:start].split()
    client = before[-1] if before and text[start - 1] != " " else ""
    host, _, port = client.rpartition(":")
    return Record(
        rest[1].upper(),
        rest[2],
        int(rest[3]),
        None,
        time_in(text[:start][:200]),
        (host if port.isdigit() else client) or None,
        None,
    )


def _request(line: str) -> tuple[str, str]:
    """Method and target of a request line."""
    found = _REQUEST_LINE.match(line)
    return (found[1].upper(), found[2]) if found else ("", line)


def _integer(text: str) -> int | None:
    return int(text) if len(text) < 19 and text.isascii() and text.isdigit() else None


# --- JSON records ----------------------------------------------------------------------------------------------------

_NAMES: dict[str, str] = {
    "time": "time timestamp @timestamp ts time_iso8601 time_local datetime date asctime start_time startutc msec",
    "client": "client client_addr client_ip clientip remote_addr remote_ip remoteip remoteaddress clienthost remote ip",
    "method": "method request_method requestmethod http_method verb",
    "path": "path request_uri uri url target request_path requestpath requesturl http_path request_target raw_path "
    "original_url request_line request",
    "query": "query query_string querystring args params qs",
    "status": "status status_code statuscode code response_status response_code downstreamstatus http_status",
    # neither Google's responseSize nor nginx's bytes_sent, which are not of the body alone
    "bytes": "bytes body_bytes_sent size response_size response_length resp_size content_length length "
    "body_bytes bytes_written response_bytes downstreamcontentsize",
    "user_agent": "user_agent useragent http_user_agent agent user_agent.original request_user_agent",
    "message": "message msg log textpayload event",
}
_RANKS = {key: (field, rank) for field, keys in _NAMES.items() for rank, key in enumerate(keys.split())}


def field_named(name: str) -> str | None:
    """Which of FIELDS a name means, as itself or as servers commonly call it."""
    field, _ = _RANKS.get(name.lower().replace("-", "_"), (None, 0))
    return field if field in FIELDS else None


_NESTED_RANK = 100
_MAX_DEPTH, _MAX_MEMBERS = 4, 500


def _members(value: Any, before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The members of a JSON object by their dotted names, those of nested objects too."""
    for count, (key, item) in enumerate(value.items()):
        if count == _MAX_MEMBERS:
            return
        yield before + key, item
        if isinstance(item, dict) and depth < _MAX_DEPTH:
            yield from _members(item, f"{before}{key}.", depth + 1)


def _known(members: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record by the names that servers commonly give them; an outer one goes before a nested one."""
    best: dict[str, tuple[int, Any]] = {}
    for name, value in members.items():
        if value is None or isinstance(value, dict):
            continue
        plain = name.lower().replace("-", "_")
        *parents, last = plain.split(".")
        field, rank = _RANKS.get(plain) or _RANKS.get(last) or ("", 0)
        if not field or (field in ("bytes", "status") and {"request", "req"} & set(parents)):
            continue  # the size of a request is not that of its answer
        rank += _NESTED_RANK * len(parents)
        if field not in best or rank < best[field][0]:
            best[field] = (rank, value)
    return {field: value for field, (_, value) in best.items()}


def _at(value: Any, key: str) -> Any:
    """A member by its name, or by the names on the way to it with dots between them."""
    while isinstance(value, dict):
        if key in value:
            return value[key]
        name, _, key = key.partition(".")
        value = value.get(name) if key else None
    return None


def _text_of(value: Any) -> str | None:
    """Some proxies log a header as the list of its values."""
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else None


def _status(value: Any) -> int | None:
    if isinstance(value, str):
        found = re.match(r"(\d{3})(?!\d)", value)
        return int(found[1]) if found else 0 if value in ("-", "0", "") else None
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1000 else None


def _size(value: Any) -> int | None:
    if isinstance(value, str):
        return _integer(value)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e18 else None


def _with_query(target: str, query: Any, members: Mapping[str, Any]) -> str:
    if "?" in target:
        return target
    if not isinstance(query, str):
        known = [(name.lower().rpartition("."), value) for name, value in members.items()]
        pairs = [(key, item) for (parent, _, key), item in known if _RANKS.get(parent.split(".")[-1]) in _QUERIES]
        query = "&".join(f"{key}={_plain(item)}" for key, item in pairs)
    query = query.removeprefix("?")
    return f"{target}?{query}" if query and query != "-" else target


_QUERIES = {found for found in _RANKS.values() if found[0] == "query"}


def _plain(value: Any) -> str:
    """A member of a query that is logged as an object."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else json.dumps(value)
