"""Provider states, by Pact's convention: the data that a check stands on, made fresh for it and taken away after it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from conformance.environment import Environment
from conformance.errors import NotVerified, TargetBroken
from conformance.exchange import JSON_TYPE, Client, Exchange, Request

T = TypeVar("T")


@contextmanager
def where_given(state: AbstractContextManager[T]) -> Iterator[T | None]:
    """A state, or None where it cannot be had: for a check of which another one says *not verified* already."""
    with ExitStack() as given:
        try:
            value = given.enter_context(state)
        except NotVerified:
            value = None
        yield value


@dataclass(frozen=True)
class ProviderStates:
    """The provider states of one target; `key` is the environment's key of their URL."""

    environment: Environment
    client: Client
    key: str

    @contextmanager
    def given(self, state: str, **params: Any) -> Iterator[Mapping[str, Any]]:
        """Sets the state up, yields what it returns, and tears it down by these values."""
        values = self._setup(state, params)
        try:
            yield values
        finally:
            torn_down = self._post({"state": state, "action": "teardown", "params": values})
            if torn_down.response is None or torn_down.response.status != 200:
                warnings.warn(f"state {state!r} was not torn down: {torn_down.outcome()}", stacklevel=2)

    def _setup(self, state: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        exchange = self._post({"state": state, "action": "setup", "params": dict(params)})
        if exchange.status == 404:
            raise NotVerified(f"{self.key}: the state {state!r} is not known there")
        if exchange.status != 200:
            raise TargetBroken(f"{self.key}: setup of {state!r} answered {exchange.outcome()}", exchange)
        try:
            values = exchange.answer.json()
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise TargetBroken(f"{self.key}: setup of {state!r} answered no JSON object", exchange)
        return Values(values, f"{self.key}: setup of {state!r}", exchange)

    def _post(self, body: Mapping[str, Any]) -> Exchange:
        url = self.environment.need(self.key)
        return self.client.send(Request("POST", url, (JSON_TYPE,), json.dumps(body).encode()))


class Values(dict[str, Any]):
    """What a state returned; a value that is missing is the target's fault, not a KeyError."""

    def __init__(self, values: Mapping[str, Any], where: str, exchange: Exchange) -> None:
        super().__init__(values)
        self._where, self._exchange = where, exchange

    def __missing__(self, key: str) -> Any:
        raise TargetBroken(f"{self._where} returned no {key}", self._exchange)
