"""How the reference fetches what others serve: http(s) alone, in bounded time and size, redirects followed by hand."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple
from urllib.parse import urljoin

import httpx

from reference.access import Access, Settings
from reference.database import one_line
from reference.page import is_http
from reference.transport import Transport

MAX_REDIRECTS = 5
IDENTITY = {"Accept-Encoding": "identity"}
"""Asked for where the length of what is sent matters."""

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w:.-]{1,40})", re.ASCII | re.IGNORECASE)


class FetchError(Exception):
    """What can't be had from an address: one line that says why."""


class Fetched(NamedTuple):
    """A whole body."""

    url: str
    """Where it was found, after redirects."""
    media_type: str
    """In lower case, without parameters; empty where not stated."""
    charset: str | None
    content: bytes


class Fetcher(Access):
    """TRR-Backend as a client of other servers, decision by decision."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        super().__init__(settings, database_url)
        # Nothing is kept from one request to the next, and no setting of the machine has a say.
        self.client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=30,
            transport=Transport(httpx.Limits(max_connections=200, max_keepalive_connections=0)),
            headers={"User-Agent": "trr-reference"},
        )

    def check_address(self, url: str) -> None:
        """Raise FetchError for an address that is not http(s)."""
        if not is_http(url):
            raise FetchError("only http and https addresses are fetched")

    @contextlib.asynccontextmanager
    async def open(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """The answer, its body unread, at the end of the redirects, each of which must lead to http(s) again."""
        for _ in range(MAX_REDIRECTS + 1):
            self.check_address(url)
            try:
                response = await self.client.send(self.client.build_request(method, url, headers=headers), stream=True)
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise FetchError(f"{url} can't be fetched: {one_line(error)}") from error
            async with contextlib.aclosing(response):
                if not response.has_redirect_location:
                    yield response
                    return
                try:
                    url = urljoin(url, response.headers["location"])
                except ValueError as error:
                    raise FetchError(f"{url} redirects to no address") from error
        raise FetchError(f"{url} is behind more than {MAX_REDIRECTS} redirects")

    async def fetch(
        self, url: str, max_bytes: int, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Fetched:
        """What a GET finds; FetchError for anything but a success of bounded size in bounded time."""
        try:
            async with asyncio.timeout(timeout_s), self.open("GET", url, headers) as response:
                if not response.is_success:
                    raise FetchError(f"{url} answers {response.status_code}")
                content = bytearray()
                async for piece in response.aiter_bytes():
                    content += piece
                    if len(content) > max_bytes:
                        raise FetchError(f"{url} is longer than {max_bytes} bytes")
                declared = response.headers.get("content-type", "")
                charset = _CHARSET.search(declared)
                media_type = declared.partition(";")[0].strip().lower()
                return Fetched(str(response.url), media_type, charset and charset[1], bytes(content))
        except TimeoutError as error:
            raise FetchError(f"{url} took longer than {timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise FetchError(f"{url} can't be fetched: {one_line(error)}") from error
