"""The first byte of every stored value: codec, format version, and whether the rest is packed.

A reader that finds another byte does not guess. Bumping the version is therefore all it takes to
change a format: entries of the old one become misses.
"""

import threading
from typing import Any

from symphonia_perf.errors import ConfigurationError, CorruptEntry, MissingExtra

__all__ = ["MAX_SIZE", "Frame"]

MAX_SIZE = 64 * 2**20
"""Bytes a packed entry may unpack to; larger values are stored as they are."""

_PACKED = 0x80


class Frame:
    """Puts the first byte on, checks it when it comes back, and packs large bodies by zstd.

    Args:
        tag: codec and version, 1 to 127; each codec and each version of its format has its own.
        compress_above: bodies of more bytes than this are packed; None never packs. What was
            packed is read whatever the setting says, so it can be changed at any time.
    """

    def __init__(self, tag: int, *, compress_above: int | None) -> None:
        if compress_above is not None and (type(compress_above) is not int or compress_above < 0):
            raise ConfigurationError(
                f"compress_above={compress_above!r}: expected a number of bytes, 0 or more, or None"
            )
        self._tag = tag
        self._plain = bytes([tag])
        self._packed = bytes([tag | _PACKED])
        self._above = MAX_SIZE if compress_above is None else compress_above
        self._zstd = _Zstd()
        if compress_above is not None:
            self._zstd.load()  # MissingExtra when it is built, not at the first large value

    def seal(self, body: bytes) -> bytes:
        """The bytes to store for `body`."""
        if self._above < len(body) <= MAX_SIZE:
            packed = self._zstd.load().pack(body)
            if len(packed) < len(body):
                return self._packed + packed
        return self._plain + body

    def open(self, data: bytes) -> bytes:
        """The body that was sealed.

        Raises:
            CorruptEntry: another codec or version wrote the bytes, or they were damaged.
        """
        first = data[:1]
        if first == self._plain:
            return data[1:]
        if first == self._packed:
            return self._zstd.load().unpack(data[1:])
        found = f"0x{data[0]:02x}" if data else "nothing"
        raise CorruptEntry(
            f"first byte is {found}, expected 0x{self._tag:02x} or 0x{self._tag | _PACKED:02x}: "
            "another codec or version wrote this entry"
        )


class _Zstd(threading.local):
    """One compressor and one decompressor per thread: they are fast to reuse and unsafe to share.

    A reused context takes a third of the time of a fresh one at 2.8 KB.
    """

    _compressor: Any = None

    def load(self) -> "_Zstd":
        """Itself, ready to work."""
        if self._compressor is None:
            try:
                import zstandard  # noqa: PLC0415 - only who packs needs it
            except ModuleNotFoundError as error:
                raise MissingExtra("zstandard", "redis") from error
            self._error = zstandard.ZstdError
            self._size_of = zstandard.frame_content_size
            self._decompressor = zstandard.ZstdDecompressor()
            self._compressor = zstandard.ZstdCompressor(level=1)
        return self

    def pack(self, body: bytes) -> bytes:
        packed: bytes = self._compressor.compress(body)
        return packed

    def unpack(self, data: bytes) -> bytes:
        try:
            # The frame says how much memory it wants: ask before giving (a bomb is 20 bytes long).
            size = self._size_of(data)
            if not 0 <= size <= MAX_SIZE:
                raise CorruptEntry(f"packed entry claims {size} bytes, at most {MAX_SIZE} allowed")
            body: bytes = self._decompressor.decompress(data, allow_extra_data=False)
        except self._error as error:
            raise CorruptEntry(f"packed entry cannot be unpacked: {error}") from error
        return body
