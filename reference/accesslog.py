"""The access log of a service, in the combined format of nginx and Apache."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class AccessLog:
    """Writes a line for every request at its end, as ASGI middleware."""

    def __init__(self, app: ASGIApp, path: Path) -> None:
        self._app = app
        self._file = path.open("a", encoding="latin-1", buffering=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request and write it down."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, size = 0, 0

        async def count(message: Message) -> None:
            nonlocal status, size
            status = message.get("status", status)
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, count)
        finally:
            self._file.write(_line(scope, status or 500, size))


def _line(scope: Scope, status: int, size: int) -> str:
    headers = {name: _quoted(value) for name, value in scope["headers"]}
    query = scope["query_string"]
    target = _quoted(scope.get("raw_path") or scope["path"].encode()) + (f"?{_quoted(query)}" if query else "")
    client = (scope.get("client") or ("-",))[0]
    time = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    request = f"{scope['method']} {target} HTTP/{scope['http_version']}"
    agents = f'"{headers.get(b"referer", "-")}" "{headers.get(b"user-agent", "-")}"'
    return f'{client} - - [{time}] "{request}" {status} {size} {agents}\n'


def _quoted(value: bytes) -> str:
    """As it stands between double quotes."""
    text = value.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
