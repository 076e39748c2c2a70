"""The role every codec plays."""

from typing import Any, Protocol

__all__ = ["Codec"]


class Codec(Protocol):
    """Turns a value into bytes and back into an equal value of the same type."""

    def encode(self, value: Any) -> bytes:
        """The bytes to store.

        Raises:
            NotEncodable: the value could not be given back unchanged.
        """
        ...

    def decode(self, data: bytes) -> Any:
        """The value that was stored.

        Raises:
            CorruptEntry: the bytes are not what this codec writes.
        """
        ...
