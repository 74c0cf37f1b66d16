"""Which decisions of a service are taken, and when: for whoever wants to know what a test of it depends on."""

from __future__ import annotations

import functools
import inspect
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

Note = Callable[[str], None]


def notebook(path: Path) -> Note:
    """Writes each name that it is given to the file, after the seconds of the monotonic clock."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(name: str) -> None:
        os.write(file, f"{time.monotonic():.6f} {name}\n".encode())

    return note


def traced(service: type[T], note: Note) -> type[T]:
    """The service, whose methods say their names when they are called."""
    methods = {
        name: _noting(name, method, note)
        for name in dir(service)
        if not name.startswith("__") and inspect.isfunction(method := inspect.getattr_static(service, name))
    }
    return type(service.__name__, (service,), methods)


def _noting(name: str, method: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @functools.wraps(method)
    def noting(*arguments: Any, **named: Any) -> Any:
        note(name)
        return method(*arguments, **named)

    return noting


def overridden(implementation: type[Any], service: type[Any]) -> list[str] | None:
    """The methods of a service that a class takes otherwise; None where more, or something else, is different."""
    if not issubclass(implementation, service):
        return None
    names: set[str] = set()
    for each in implementation.__mro__[: implementation.__mro__.index(service)]:
        for name, value in vars(each).items():
            if name in ("__module__", "__doc__", "__qualname__", "__firstlineno__", "__static_attributes__"):
                continue
            # what is no method of the service is called by one that is
            if inspect.isfunction(value) and name != "__init__" and hasattr(service, name):
                names.add(name)
            elif not inspect.isfunction(value) or name.startswith("__"):
                return None
    return sorted(names)
