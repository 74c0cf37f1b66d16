"""Rogues: the reference with one fault each, to show that the suite would notice.

A rogue is a subclass of a service that takes one decision differently. It declares the clauses that it breaks, at most
three and the main one first; its docstring says what it does, and its name is the class's in kebab case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

MAX_BREAKS = 3

S = TypeVar("S", bound=type[Any])


@dataclass(frozen=True)
class Rogue:
    """One named fault of one service."""

    name: str
    target: str
    breaks: tuple[str, ...]
    summary: str
    implementation: type[Any]
    profile: str = "default"
    """The suite's profile that it takes to notice: `thorough` where every other has not the time."""


_registry: dict[str, Rogue] = {}

ROGUES: Mapping[str, Rogue] = MappingProxyType(_registry)
"""Every rogue by its name, in the order of their clauses."""


def find(name: str) -> Rogue:
    """The rogue of that name; raises KeyError with a clear message."""
    if name not in ROGUES:
        raise KeyError(f"no rogue is called {name!r} (--list-rogues names them)")
    return ROGUES[name]


def rogue(breaks: list[str], profile: str = "default") -> Callable[[S], S]:
    """Register the decorated class as a rogue that breaks these clauses, the main one first; see `Rogue.profile`."""

    def register(implementation: S) -> S:
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", implementation.__name__).lower()
        if not 1 <= len(breaks) <= MAX_BREAKS:
            raise ValueError(f"rogue {name}: declare 1 to {MAX_BREAKS} clauses, not {len(breaks)}")
        if name in _registry:
            raise ValueError(f"rogue {name}: the name is taken")
        if not implementation.__doc__:
            raise ValueError(f"rogue {name}: say in its docstring what it does")
        # The first word of a module of rogues is its target; the media workflow is the backend's.
        target = implementation.__module__.rpartition(".")[2].partition("_")[0].replace("media", "backend")
        summary = implementation.__doc__.strip()
        _registry[name] = Rogue(name, target, tuple(breaks), summary, implementation, profile)
        return implementation

    return register


# (fills the registry)
from reference.rogues import (  # noqa: E402
    app,  # noqa: F401
    backend,  # noqa: F401
    backend_conditions,  # noqa: F401
    media_conditions,  # noqa: F401
    media_intake,  # noqa: F401
    media_openapi,  # noqa: F401
    media_upkeep,  # noqa: F401
    screenalytics,  # noqa: F401
)
