"""What was asked of the lab, in order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

UNSCRIPTED = "unscripted"
"""The key under which the calls that no script answers are found as well."""


@dataclass
class Call:
    """One call that the lab received; times are seconds of the lab's monotonic clock."""

    number: int
    """The order in which calls arrived, over all keys."""
    operation: str
    """At the stub backend `photos`, `cast`, `toggle`, `media asset`, `scrape` or `image`, at the page origin `fetch`,
    at the stub vision service `people count`; `other` for what none of them knows."""
    key: str
    """What the journal goes by: the id in the path or body, at the page origin the first segment of the path, and at
    the stub vision service that of the image's address. Empty where there is none."""
    method: str
    target: str
    """Path and query as they were sent, one character for each byte."""
    headers: tuple[tuple[str, str], ...]
    body: str
    """One character for each byte."""
    client: str
    """The peer's host and port."""
    started: float
    listener: str = "stub_backend"
    """`stub_backend`, `page_origin` or `stub_vision`."""
    scripted: bool = False
    answer: str = ""
    """What was answered, in a word: `rows(3)`, `empty`, `503`, `timeout`, `reset`, `cut short` …"""
    ended: float | None = None
    """When the answer was sent or given up; None while it is under way."""
    completed: bool = False
    """Whether a whole answer was sent."""
    query: dict[str, str] = field(init=False)
    """The decoded query; of a repeated name the last value."""

    def __post_init__(self) -> None:
        self.query = dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def path(self) -> str:
        """The path as it was sent."""
        return self.target.partition("?")[0]

    @cached_property
    def image_url(self) -> str:
        """The image that a vision call is about; empty where it names none."""
        return asked_about(self.body)

    def header(self, name: str) -> str | None:
        """The first value of a header, its name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def as_dict(self) -> dict[str, Any]:
        """The call as JSON-like data."""
        return {name: value for name, value in asdict(self).items() if name != "query"}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Call:
        """The inverse of `as_dict`."""
        return cls(**{**data, "headers": tuple((name, value) for name, value in data["headers"])})


class Journal:
    """All calls, in the order of their arrival."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._by_key: dict[str, list[Call]] = {}

    def add(self, call: Call) -> None:
        """Notes a call that has arrived."""
        self._calls.append(call)
        self._by_key.setdefault(call.key, []).append(call)

    @property
    def next_number(self) -> int:
        """The number of the next call."""
        return len(self._calls) + 1

    def select(
        self,
        *,
        key: str | None = None,
        keys: Sequence[str] = (),
        containing: str | None = None,
        place: Place | None = None,
        image: str | None = None,
        method: str | None = None,
        since: int = 0,
    ) -> list[Call]:
        """The calls after `since`: of one key, of several, with a text in target or body, about one place of the page
        origin, with a text in the address of the image (texts in any case), or all; of one method, or of any."""
        if place is not None:
            origin_calls = [c for c in self._by_key.get(place.key, ()) if c.listener == "page_origin"]
            places = [Place.of(call.target) for call in origin_calls]
            found = [c for c, p in zip(origin_calls, places, strict=True) if place in (p, p.with_any_query)]
        elif image is not None:
            text = image.lower()
            found = [c for c in self._calls if c.listener == "stub_vision" and text in c.image_url.lower()]
        elif key == UNSCRIPTED:
            found = [call for call in self._calls if not call.scripted]
        elif key is not None or keys:
            found = [call for each in ([key] if key is not None else keys) for call in self._by_key.get(each, ())]
            found.sort(key=lambda call: call.number)
        elif containing is not None:
            text = containing.lower()
            found = [call for call in self._calls if text in call.target.lower() or text in call.body.lower()]
        else:
            found = self._calls
        return [call for call in found if call.number > since and method in (None, call.method)]


def path_segments(target: str) -> list[str]:
    """The segments of a target's path as they were sent, without the empty one before the first slash."""
    path = urlsplit(target).path if target.startswith("http") else target.partition("?")[0]
    return path.split("/")[1:]


def first_segment(target: str) -> str:
    """The first segment of the path of a target or an address, as keys are compared; empty where there is none."""
    try:
        return unquote(next(iter(path_segments(target)), "")).lower()
    except ValueError:  # an address that is none
        return ""


@dataclass(frozen=True)
class Place:
    """An address at the page origin as scripts know it: percent-encoding undone; without a query it stands for any."""

    path: str
    query: str | None = None

    @classmethod
    def of(cls, target: str) -> Place:
        """The place of a target."""
        path = "/" + "/".join(path_segments(target))
        _, mark, query = target.partition("?")
        return cls(unquote(path), unquote(query) if mark else None)

    @property
    def with_any_query(self) -> Place:
        """The same path with whatever query."""
        return Place(self.path)

    @property
    def key(self) -> str:
        """The key of its calls."""
        return self.path.split("/")[1].lower()


def asked_about(body: str) -> str:
    """The `image_url` of a vision request; empty where there is none."""
    try:
        url = json.loads(body.encode("latin-1"))["image_url"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return url if isinstance(url, str) else ""
