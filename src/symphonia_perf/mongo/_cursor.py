"""Page tokens: a place in a query's order as opaque text that only this query takes back.

A token is base64url of: one byte of version, 16 bytes of seal, and the place in BSON. The seal is
a keyed BLAKE2b (RFC 7693) of the query and the place: a MAC like HMAC, and a tenth of its time when
OpenSSL is cold (2 us instead of 26). Without keys it is no secret; then it tells an altered token
and another query's from its own, and a forged one can still hold nothing but plain values.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from hmac import compare_digest
from typing import Any

import bson
from bson.codec_options import DEFAULT_CODEC_OPTIONS, CodecOptions, DatetimeConversion
from bson.errors import BSONError

from symphonia_perf.errors import ConfigurationError, InvalidCursor, MongoOperationError
from symphonia_perf.mongo._keyset import Sort, place_fault
from symphonia_perf.typing import Document

__all__ = ["Seal", "signing_keys"]

_VERSION = b"\x01"
_OTHER_VERSIONS = bytes(range(2, 17))  # that may come; text that somebody typed begins higher
_SEAL = 16  # bytes: a forger's chance is one in 2**128
_LEAST = 1 + _SEAL + 5  # bytes of a token; the emptiest BSON has 5
_LONGEST = 4096  # characters of a token: what every proxy lets pass in a URL
_SHORTEST_KEY = 16  # bytes
_LONGEST_KEY = 64  # bytes; RFC 7693, section 2.1
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
# DATETIME_CLAMP makes the ends of Python's calendar of what lies beyond, in one zone or another.
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
# Whatever options the collection has, a place is read in one way, and losslessly.
_PLAIN: CodecOptions[Document] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


class Seal:
    """Makes and reads the tokens of one query on one collection.

    Args:
        collection: its name and its database's.
        query: find()'s keyword arguments; filter, sort and collation bind the token.
        options: its CodecOptions: how it encodes the filter's and the documents' values.
        keys: of `signing_keys`.

    Raises:
        ConfigurationError: the filter holds a value that BSON has no form for.
    """

    __slots__ = ("_keys", "_options", "_query", "_sort")

    def __init__(
        self,
        collection: str,
        query: Mapping[str, Any],
        options: Any,
        keys: Sequence[bytes],
    ) -> None:
        self._sort: Sort = query["sort"]
        # mongomock has options of its own, which bson does not take.
        self._options = options if isinstance(options, CodecOptions) else DEFAULT_CODEC_OPTIONS
        self._keys = keys
        bound = {
            "in": collection,
            "filter": dict(sorted(query["filter"].items())),
            "sort": [list(pair) for pair in self._sort],
            "collation": query.get("collation"),
        }
        try:
            self._query = bson.encode(bound, codec_options=self._options)
        except (BSONError, OverflowError) as error:
            raise ConfigurationError(f"filter={query['filter']!r}: {error}") from error

    def token(self, place: Sequence[Any]) -> str:
        """The token for a place, from the values of a document.

        Raises:
            MongoOperationError: no page can begin or end there.
        """
        numbered = {str(number): value for number, value in enumerate(place)}
        try:
            raw = bson.encode(numbered, codec_options=self._options)
            fault = self._clamped(place) or place_fault(_values(raw), self._sort)
        except BSONError as error:  # a value that the collection's options can only decode
            raw, fault = b"", str(error)
        if fault is None:
            sealed = _VERSION + self._seal(self._keys[0], raw) + raw
            token = urlsafe_b64encode(sealed).rstrip(b"=").decode()
            if len(token) <= _LONGEST:
                return token
            fault = f"the sort's values make a token of {len(token)} characters (most: {_LONGEST})"
        raise MongoOperationError(
            f"page: no page can begin or end here: {fault}; sort by fields with short, single "
            "values, such as dates, numbers and ids",
            operation="find",
        )

    def place(self, token: object) -> list[Any]:
        """The place a token of this query stands for.

        Raises:
            InvalidCursor: it was altered, is signed with another key, was made by another version,
                or belongs to another query.
        """
        data = _decoded(token)
        if data[:1] != _VERSION:
            plausible = len(data) >= _LEAST and data[:1] in _OTHER_VERSIONS
            raise InvalidCursor(
                "the page token was made by another version of the library"
                if plausible
                else "the page token is not one of ours; begin again at the first page"
            )
        seal, raw = data[1 : 1 + _SEAL], data[1 + _SEAL :]
        # Every key is tried, so that the time tells nothing about which one fits.
        fits = [compare_digest(self._seal(key, raw), seal) for key in self._keys]
        if not any(fits):
            raise InvalidCursor(
                "the page token was altered, is signed with another key, or belongs to another "
                "query, sort or collection; begin again at the first page"
            )
        try:
            place = _values(raw)
            fault = place_fault(place, self._sort)
        except (BSONError, ValueError, OverflowError) as error:  # only a forged one
            raise InvalidCursor(f"the page token holds no place: {error}") from error
        if fault is not None:
            raise InvalidCursor(f"the page token holds no place: {fault}")
        return place

    def _clamped(self, place: Sequence[Any]) -> str | None:
        """Whether the collection's options may have moved a date to the edge of Python's years."""
        if self._options.datetime_conversion is not DatetimeConversion.DATETIME_CLAMP:
            return None
        for (path, _), value in zip(self._sort, place, strict=True):
            if isinstance(value, datetime) and not _FIRST < value.replace(tzinfo=UTC) < _LAST:
                return (
                    f"{path!r} holds {value}, which DATETIME_CLAMP may have made of another date "
                    "(DATETIME_AUTO keeps them)"
                )
        return None

    def _seal(self, key: bytes, raw: bytes) -> bytes:
        # Both parts begin with their length, so no two pairs make one message.
        return blake2b(_VERSION + self._query + raw, key=key, digest_size=_SEAL).digest()


def signing_keys(keys: Iterable[bytes | str] | None) -> list[bytes]:
    """The keys as bytes; one empty key for None, which makes the seal a checksum.

    Raises:
        ConfigurationError: not a list of secrets of at least 16 bytes, or an empty one: keys that
            were lost on their way must not end in tokens that anybody can forge.
    """
    if keys is None:
        return [b""]
    given: object = keys
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigurationError("keys: expected a list of secrets, as in keys=[signing_key]")
    found: list[bytes] = []
    for number, key in enumerate(given):
        # The environment may hold what is no UTF-8; this way any text has bytes.
        secret = key.encode(errors="surrogatepass") if isinstance(key, str) else key
        if not isinstance(secret, bytes) or len(secret) < _SHORTEST_KEY:
            # The key itself has no place in a message.
            raise ConfigurationError(
                f"keys[{number}]: expected text or bytes, at least {_SHORTEST_KEY} bytes long, "
                "as from secrets.token_bytes(32)"
            )
        found.append(secret if len(secret) <= _LONGEST_KEY else blake2b(secret).digest())
    if not found:
        raise ConfigurationError("keys: empty; give at least one secret, or no keys at all")
    return found


def _decoded(token: object) -> bytes:
    if not isinstance(token, str) or len(token) > _LONGEST or not _TOKEN.fullmatch(token):
        raise InvalidCursor("the page token is not one of ours; begin again at the first page")
    # Anything but A-Z a-z 0-9 - _ is out already; what is left can only be of impossible length.
    data = urlsafe_b64decode(token + "=" * (-len(token) % 4)) if len(token) % 4 != 1 else b""
    if urlsafe_b64encode(data).rstrip(b"=") != token.encode():  # one text for one place
        raise InvalidCursor("the page token is not one of ours; begin again at the first page")
    return data


def _values(raw: bytes) -> list[Any]:
    return list(bson.decode(raw, codec_options=_PLAIN).values())
