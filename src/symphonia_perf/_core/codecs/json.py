"""JSON by the standard library: readable by anything, and it knows little."""

import json
import math
from typing import Any

from symphonia_perf._core.codecs.frame import Frame
from symphonia_perf.errors import CorruptEntry, NotEncodable

__all__ = ["JsonCodec"]

_TAG = 0x02


class JsonCodec:
    """JSON for what JSON can give back: dict with str keys, list, str, int, float, bool, None.

    A tuple, a NaN, a key that is not text: all raise `NotEncodable` instead of coming back as
    something else. Needs nothing installed.

    Args:
        compress_above: bodies of more bytes than this are packed by zstd, None never.

    Raises:
        ConfigurationError: `compress_above` is not a number of bytes.
        MissingExtra: `compress_above` without zstandard.

    ```python
    from symphonia_perf._core.codecs import JsonCodec

    codec = JsonCodec()
    assert codec.decode(codec.encode({"plans": ["free", "pro"]})) == {"plans": ["free", "pro"]}
    ```
    """

    def __init__(self, *, compress_above: int | None = None) -> None:
        self._frame = Frame(_TAG, compress_above=compress_above)
        # ensure_ascii would join two lone surrogates into one character on the way back.
        self._encode = json.JSONEncoder(
            ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode
        self._decode = json.JSONDecoder(parse_constant=_refuse_constant).decode

    def encode(self, value: Any) -> bytes:
        """The bytes to store.

        Raises:
            NotEncodable: the value holds something that JSON cannot give back unchanged.
        """
        try:
            _check(value)
            body = self._encode(value).encode()
        except RecursionError as error:
            raise NotEncodable("the value is nested too deeply, or contains itself") from error
        except ValueError as error:
            raise NotEncodable(f"the value cannot be encoded: {error}") from error
        return self._frame.seal(body)

    def decode(self, data: bytes) -> Any:
        """The value that was stored.

        Raises:
            CorruptEntry: the bytes are not what this codec writes.
        """
        try:
            return self._decode(self._frame.open(data).decode())
        except (ValueError, RecursionError) as error:
            raise CorruptEntry(f"not what this codec writes: {error}") from error


def _check(value: Any) -> None:
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise NotEncodable(f"JSON has no key of type {type(key).__qualname__}")
            _check(item)
    elif kind is list:
        for item in value:
            _check(item)
    elif kind is float:
        if not math.isfinite(value):
            raise NotEncodable(f"JSON has no number {value!r}")
    elif kind not in {str, int, bool, type(None)}:
        raise NotEncodable(f"JSON has no {kind.__module__}.{kind.__qualname__}")


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
