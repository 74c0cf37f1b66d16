(
    """From files to the lines that matter, at about the speed at which the bytes can be read.

Only lines that may be photos calls are read for what they say. Of the others it is only told how many there are and how
many are broken, a block at a time: of a block is kept what is no letter, digit, or plain punctuation, which for the
lines of one log is all but always the same few bytes, such as `[]"""
    """` in the combined format. A line is taken for
readable where another of the same remains was; any other is read in full.
"""
)

from __future__ import annotations

import io
import os.path
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol, cast

from conformance.trace.formats import MAX_LINE_BYTES, Reader, Unread

BLOCK_BYTES = 1 << 16
"""What fits the processor's caches and malloc's own pages."""

_GZIP = b"\x1f\x8b"
_TELLING = set(range(0x20)) | set(range(0x7F, 0x100)) | set(b'"[]{}\\')
"""Neither letter, digit nor plain punctuation: the bytes that tell one kind of line from another."""
_PLAIN = bytes(set(range(0x100)) - _TELLING)
_HEAD_LINES = 1000
_PIECE_BYTES = 1 << 12
_MAX_SHAPES = 256
_MAX_SHAPE_BYTES = 1024


class UnreadableLog(Exception):
    """A log that cannot be read; the message is one line that names it."""


class _Stream(Protocol):
    def read1(self, size: int = ..., /) -> bytes: ...


class Line(NamedTuple):
    """A line that may be a photos call, and its number, from 1."""

    number: int
    text: bytes


def named(words: Sequence[str]) -> list[str]:
    """The files that the words of a command line name, patterns filled in; of rotated logs the oldest first."""
    names: list[str] = []
    for word in words:
        if word != "-" and set(word) & set("*?[") and not os.path.exists(word):
            from glob import glob

            found = sorted(filter(os.path.isfile, glob(word, recursive=True)), key=_by_age)
            if not found:
                raise UnreadableLog(f"{word}: no such file")
            names += found
        else:
            names.append(word)
    return names


def _by_age(name: str) -> tuple[str, int, str]:
    """`access.log.2.gz` is older than `access.log.1`, and that than `access.log`; names with a date sort by it."""
    found = re.fullmatch(r"(.*?)\.(\d{1,4})(\.gz)?", name, re.DOTALL)
    stem, age = (found[1], -int(found[2])) if found else (name, 0)
    # access.log-20260206 is older than access.log
    dated = re.fullmatch(r"(.*?)[-.](\d{6,}\S*)", stem, re.DOTALL)
    return (dated[1], -(10**6), dated[2]) if dated else (stem, age, "")


@contextmanager
def opened(name: str) -> Iterator[_Stream]:
    """A log as a stream of bytes, unzipped where it is gzip; `-` is standard input. Raises UnreadableLog."""
    try:
        with _raw(name) as raw:
            yield _Unzipped(raw, name) if raw.peek(2)[:2] == _GZIP else raw
    except OSError as error:
        raise UnreadableLog(f"{name}: {error.strerror or error}") from None


class _Unzipped:
    """What is in a gzip stream; raises UnreadableLog where it is broken or cut."""

    def __init__(self, raw: io.BufferedReader, name: str) -> None:
        import gzip
        import zlib

        self._file = gzip.GzipFile(fileobj=raw)
        self._name = name
        self._errors = (gzip.BadGzipFile, zlib.error, EOFError)

    def read1(self, size: int = -1, /) -> bytes:
        try:
            return self._file.read1(size)
        except self._errors as error:
            raise UnreadableLog(f"{self._name}: broken gzip: {error}") from None


@contextmanager
def _raw(name: str) -> Iterator[io.BufferedReader]:
    if name == "-":
        if sys.stdin is None:
            raise UnreadableLog("-: there is no standard input")
        yield cast(io.BufferedReader, sys.stdin.buffer)
    else:
        if "\0" in name:  # which `open` takes for another mistake than all others
            raise UnreadableLog(f"{name!r}: no name of a file")
        with open(name, "rb") as file:
            yield file


def blocks(stream: _Stream) -> Iterator[bytes]:
    """The stream in blocks of whole lines. The middle of a line that is no line of a log any more is left out."""
    rest = b""
    while chunk := stream.read1(BLOCK_BYTES):
        end = chunk.rfind(b"\n") + 1
        if end:
            yield b"".join((rest, memoryview(chunk)[:end]))
            rest = chunk[end:]
        elif len(rest) <= MAX_LINE_BYTES:
            rest += chunk
    if rest:
        yield rest


def _word(block: bytes) -> bytes:
    """What every photos call of a block has in its line: the longer, the quicker it is found."""
    return b"photos" if b"%" in block or b"\\" in block else b"screenalytics/people/"


class Scan:
    """Goes through the blocks of a log, or of several in turn."""

    def __init__(self, reader: Reader) -> None:
        self.lines = 0
        self.broken = 0
        self.head_at: float | None = None
        """When the first line of the log was written that says so."""
        self._reader = reader
        self._shapes: set[bytes] = set()
        self._usual = b""

    def candidates(self, blocks: Iterable[bytes]) -> Iterator[Line]:
        """The lines that may be photos calls; all others are counted by the way."""
        for block in blocks:
            if self.head_at is None and self.lines < _HEAD_LINES:
                self._look_at_head(block)
            done, word = 0, _word(block)
            while (found := block.find(word, done)) >= 0:
                start = block.rfind(b"\n", done, found) + 1 or done
                end = block.find(b"\n", found) + 1 or len(block)
                if start > done:
                    self._count(block[done:start])
                self.lines += 1
                yield Line(self.lines, block[start:end])
                done = end
            if done < len(block):
                self._count(block[done:] if done else block)

    def _look_at_head(self, block: bytes) -> None:
        for line in block.split(b"\n", _HEAD_LINES)[:_HEAD_LINES]:
            found = self._reader.read(line)
            if not isinstance(found, Unread) and found.at is not None:
                self.head_at = found.at
                return

    def _count(self, segment: bytes) -> None:
        if self._are_usual(segment.translate(None, _PLAIN)):
            return
        start = 0
        while start < len(segment):
            # a few odd lines make few pieces odd
            end = segment.find(b"\n", start + _PIECE_BYTES) + 1 or len(segment)
            piece = segment[start:end]
            remains = piece.translate(None, _PLAIN)
            if not self._are_usual(remains):
                self._count_each(piece, remains)
            start = end

    def _are_usual(self, remains: bytes) -> bool:
        """Whether all lines left what most leave; if so, counts them."""
        usual = self._usual
        if not usual:
            return False
        times, odd = divmod(len(remains), len(usual))
        if odd or remains != usual * times:
            return False
        self.lines += times
        return True

    def _count_each(self, segment: bytes, remains: bytes) -> None:
        known, shapes = self._shapes, remains.split(b"\n")
        if not shapes[-1] and segment.endswith(b"\n"):
            shapes.pop()
        self.lines += len(shapes)
        unknown = [index for index, shape in enumerate(shapes) if shape not in known]
        if unknown:
            lines = segment.split(b"\n")
            for index in unknown:
                self._count_odd(lines[index], shapes[index])
        if 2 * shapes.count(self._usual[:-1]) < len(shapes):
            shape, _ = Counter(shapes).most_common(1)[0]
            self._usual = shape + b"\n" if shape in known else b""

    def _count_odd(self, line: bytes, shape: bytes) -> None:
        if shape in self._shapes:
            return
        found = self._reader.read(line)
        if found is Unread.BROKEN:
            self.broken += bool(line.strip())
        elif found is not Unread.OTHER and len(self._shapes) < _MAX_SHAPES and len(shape) < _MAX_SHAPE_BYTES:
            self._shapes.add(shape)
