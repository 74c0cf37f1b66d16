"""Requests that are under way together, over connections of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier
from typing import TypeVar

from conformance.backend import Backend
from conformance.errors import NotVerified
from conformance.exchange import Exchange
from conformance.media import Media

T = TypeVar("T")

THREADS = 6
ROUNDS = {"quick": 4, "default": 8, "thorough": 60}


@contextmanager
def threads(backend: Backend, count: int = THREADS) -> Iterator[list[Backend]]:
    """Connections of their own to the same backend."""
    backends = [backend.another() for _ in range(count)]
    try:
        yield backends
    finally:
        for each in backends:
            each.client.close()


@contextmanager
def connections(media: Media, count: int) -> Iterator[list[Media]]:
    """The same for its media workflow."""
    with threads(media.backend, count) as backends:
        yield [media.over(backend) for backend in backends]


def at_once(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Runs the jobs on threads that start together; the first error of any is raised."""
    barrier = Barrier(len(jobs))

    def start(job: Callable[[], T]) -> T:
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(start, job) for job in jobs]]


def where_not_limited(jobs: Sequence[Callable[[], T]]) -> list[T | None]:
    """The same, and None for what the target does not do beside the rest (429): each alone is seen by other tests."""

    def heard(job: Callable[[], T]) -> T | None:
        try:
            result = job()
        except NotVerified:
            return None
        return None if isinstance(result, Exchange) and result.is_limited else result

    return at_once([partial(heard, job) for job in jobs])
