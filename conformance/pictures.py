"""Pictures to scrape: real PNG files, each another one and of another look, made in a moment."""

from __future__ import annotations

import hashlib
import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SIDE = 16
"""How many fields a picture has in a row and in a column."""


def picture(name: str, width: int = 1200, height: int = 800) -> bytes:
    """A PNG of that many pixels; its bytes, its size (12 to 20 KiB), its colours and its pattern go by its name.

    The pattern is a chessboard's, its dark and light fields by chance: no two look alike to who compares looks.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    padding = hashlib.shake_256(digest).hexdigest(6144 + int.from_bytes(digest[:2], "big") % 2048)
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)  # one bit a pixel: a palette of two
    dark, light = bytes(value >> 2 for value in digest[2:5]), bytes(value >> 2 | 0xC0 for value in digest[5:8])
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", dark + light),
            _chunk(b"tEXt", b"Comment\0" + padding.encode()),
            _chunk(b"IDAT", _pixels(width, height, hashlib.sha256(digest).digest())),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pixels(width: int, height: int, pattern: bytes) -> bytes:
    """The rows of a picture whose fields are the bits of 32 bytes."""
    fields = f"{int.from_bytes(pattern, 'big'):0{_SIDE * _SIDE}b}"
    columns, rows = ([_size(length, place) for place in range(_SIDE)] for length in (width, height))
    packed = zlib.compressobj(1)
    data = b""
    for place, count in enumerate(rows):
        line = "".join(field * size for field, size in zip(fields[place * _SIDE :], columns, strict=False))
        data += packed.compress(
            (b"\0" + int(line.ljust(-(-width // 8) * 8, "0"), 2).to_bytes(-(-width // 8), "big")) * count
        )
    return data + packed.flush()


def _size(length: int, place: int) -> int:
    """How many of `length` pixels the field at a place has."""
    return length * (place + 1) // _SIDE - length * place // _SIDE
