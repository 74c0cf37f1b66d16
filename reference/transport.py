"""How the services' own calls reach other systems."""

from __future__ import annotations

import httpx


class Transport(httpx.AsyncHTTPTransport):
    """Tells of a connection that ends as soon as it is made like of any other that cannot be had.

    By then uvloop has no socket of it, which anyio does not expect.
    """

    def __init__(self, limits: httpx.Limits) -> None:
        super().__init__(trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response; raises httpx.TransportError."""
        try:
            return await super().handle_async_request(request)
        except AttributeError as error:
            raise httpx.ConnectError("the connection was closed at once") from error
