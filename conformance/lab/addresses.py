"""The addresses of the lab's listeners. Whoever starts the lab binds them, and so knows them before it runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

from conformance.lab.server import BACKLOG, bind

LISTENERS = ("stub_backend", "page_origin", "stub_vision")
LOOPBACK = "127.0.0.1:0"


_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def normal(url: str) -> str:
    """The one spelling that URL libraries leave as it is, for addresses below it are compared as text.

    Scheme and host in lower case, no port where it is the scheme's own, no slash at the end.
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, authority(parts), parts.path, "", "")).rstrip("/")


def authority(parts: SplitResult) -> str:
    """Whom an address names, in lower case, and the port where it is not the scheme's own."""
    return parts.netloc.lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, "")).removesuffix(":")


@dataclass(frozen=True)
class Address:
    """An address that is had, and listened at: calls wait there for the lab to come up."""

    url: str
    """How the target reaches it."""
    sockets: tuple[socket.socket, ...]

    @classmethod
    def bound(cls, where: str, url: str | None = None) -> Address:
        """Takes `host:port` (port 0: any that is free); raises OSError, OverflowError or ValueError."""
        host, _, port = where.rpartition(":")
        host = host.strip("[]")
        chosen = int(port)
        sockets: list[socket.socket] = []
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, chosen, type=socket.SOCK_STREAM):
                sockets.append(bind(family, (address[0], chosen, *address[2:])))
                sockets[-1].listen(BACKLOG)
                chosen = sockets[-1].getsockname()[1]
        except BaseException:
            for each in sockets:
                each.close()
            raise
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        shown = f"[{reachable}]" if ":" in reachable else reachable
        return cls(normal(url or f"http://{shown}:{chosen}"), tuple(sockets))

    @staticmethod
    def all_as_json(addresses: Mapping[str, Address]) -> str:
        """Addresses by listener, for a process that inherits their file descriptors."""
        return json.dumps({name: [each.url, [s.fileno() for s in each.sockets]] for name, each in addresses.items()})

    @staticmethod
    def all_from_json(text: str) -> dict[str, Address]:
        """The inverse of `all_as_json`."""
        return {
            name: Address(url, tuple(socket.socket(fileno=number) for number in numbers))
            for name, (url, numbers) in json.loads(text).items()
        }

    def close(self) -> None:
        """Gives the sockets up in this process."""
        for each in self.sockets:
            each.close()
