"""Pictures to scrape: real PNG files, each another one, made in a moment."""

from __future__ import annotations

import hashlib
import struct
import zlib
from functools import cache

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def picture(name: str, width: int = 1200, height: int = 800) -> bytes:
    """A PNG of that many pixels; its bytes, its colours and its size (5 to 10 KiB) go by its name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    padding = hashlib.shake_256(digest).hexdigest(2048 + int.from_bytes(digest[:2], "big") % 2048)
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)  # one bit a pixel: a palette of two
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", digest[2:8]),
            _chunk(b"tEXt", b"Comment\0" + padding.encode()),
            _chunk(b"IDAT", _pixels(width, height, digest[8])),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@cache
def _pixels(width: int, height: int, pattern: int) -> bytes:
    row = b"\0" + bytes([pattern]) * ((width + 7) // 8)
    return zlib.compress(row * height, 1)
