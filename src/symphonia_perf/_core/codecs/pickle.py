"""Signed pickle, for those who ask for it."""

import hmac
import pickle
from collections.abc import Sequence
from typing import Any

from symphonia_perf._core.codecs.frame import Frame
from symphonia_perf.errors import ConfigurationError, CorruptEntry, NotEncodable, SymphoniaError

__all__ = ["PickleCodec"]

_TAG = 0x03
# Fixed: a peer lets the stored value choose its digest, and so lets an attacker choose a weak one.
_DIGEST, _DIGEST_SIZE = "sha256", 32
# The same key may sign page cursors too; one kind of message must never pass for the other.
_PURPOSE = b"symphonia_perf.codecs.pickle\0"
_MIN_KEY = 16


class PickleCodec:
    """Pickle for any picklable value, unpickled only after its signature was verified.

    Who knows a key, or can write where keys are read, can run code in this process; a key is as
    secret as the service's own password. The signature does not bind a value to its place: who can
    write to the store can still swap two signed values.

    Args:
        keys: the first signs, all verify, so that keys can be rotated; at least 16 bytes each.
        compress_above: bodies of more bytes than this are packed by zstd, None never.

    Raises:
        ConfigurationError: no key, a key that is not bytes or too short, or a bad `compress_above`.
        MissingExtra: `compress_above` without zstandard.

    ```python
    from collections import OrderedDict

    from symphonia_perf._core.codecs import PickleCodec

    codec = PickleCodec(keys=[b"32 bytes from secrets.token_bytes"])
    assert codec.decode(codec.encode(OrderedDict(a=1))) == OrderedDict(a=1)
    ```
    """

    def __init__(self, *, keys: Sequence[bytes], compress_above: int | None = None) -> None:
        self._keys = _checked(keys)
        self._frame = Frame(_TAG, compress_above=compress_above)

    def encode(self, value: Any) -> bytes:
        """The bytes to store.

        Raises:
            NotEncodable: the value cannot be pickled.
        """
        try:
            body = pickle.dumps(value, protocol=5)
        except Exception as error:
            # A value's own __reduce__ may raise anything.
            raise NotEncodable(f"the value cannot be pickled: {error}") from error
        sealed = self._frame.seal(body)
        return sealed[:1] + _sign(self._keys[0], sealed) + sealed[1:]

    def decode(self, data: bytes) -> Any:
        """The value that was stored.

        Raises:
            CorruptEntry: the signature is not of one of the keys, or the value cannot be unpickled
                here (for example because its class was moved).
        """
        signature, sealed = data[1 : 1 + _DIGEST_SIZE], data[:1] + data[1 + _DIGEST_SIZE :]
        if not any(hmac.compare_digest(signature, _sign(key, sealed)) for key in self._keys):
            raise CorruptEntry("the signature is not of one of the keys")
        try:
            return pickle.loads(self._frame.open(sealed))  # noqa: S301 - verified above
        except (SymphoniaError, MemoryError):
            raise
        except Exception as error:
            # A class's own __setstate__ may raise anything.
            raise CorruptEntry(f"the value cannot be unpickled: {error}") from error


def _checked(keys: object) -> tuple[bytes, ...]:
    # The keys themselves stay out of the messages.
    if not isinstance(keys, list | tuple) or not keys:
        raise ConfigurationError("keys: expected a list of at least one key")
    for position, key in enumerate(keys):
        if not isinstance(key, bytes) or len(key) < _MIN_KEY:
            raise ConfigurationError(f"keys[{position}]: expected {_MIN_KEY} bytes or more")
    return tuple(keys)


def _sign(key: bytes, sealed: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + sealed, _DIGEST)
