"""Encode and decode a 2 KB order: our codecs against bare msgspec, json and pickle.

Two documents: `json` holds what JSON knows, `mongo` the ObjectIds and datetimes that PyMongo gives
(bare msgspec turns the datetimes into text, which is why it is not enough). Rounds are interleaved;
the fastest round counts. One JSON line per document and codec.
"""

import json
import pickle
import platform
import timeit
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from typing import Any

import msgspec
from bson import ObjectId

from symphonia_perf._core.codecs import JsonCodec, MsgpackCodec, PickleCodec

ROUNDS = 7
NUMBER = 3000


def order(identity: Callable[[int], Any], moment: Callable[[int], Any]) -> dict[str, Any]:
    """A transport order as the service stores it."""
    place = {
        "street": "12 rue de la République",
        "city": "Lyon",
        "location": {"type": "Point", "coordinates": [4.8357, 45.764]},
    }
    return {
        "_id": identity(1),
        "reference": "TR-2026-000123",
        "status": "IN_TRANSIT",
        "clientId": identity(2),
        "createdAt": moment(1),
        "pickup": place,
        "delivery": {**place, "city": "Paris"},
        "items": [
            {"sku": f"SKU-{n:05d}", "quantity": n, "weight": n * 1.5, "name": "pallet of things"}
            for n in range(10)
        ],
        "history": [
            {"status": status, "at": moment(n), "by": identity(n)}
            for n, status in enumerate(("CREATED", "ASSIGNED", "PICKED_UP", "IN_TRANSIT"), start=1)
        ],
        "notes": "x" * 500,
        "fragile": False,
        "driver": None,
    }


DOCUMENTS = {
    "json": order(lambda n: f"{n:024x}", lambda n: f"2026-11-{n:02d}T10:00:00Z"),
    "mongo": order(
        lambda n: ObjectId(f"{n:024x}"),
        lambda n: datetime(2026, 11, n, 10),  # noqa: DTZ001 - as PyMongo gives it
    ),
}


def sides(document: str) -> dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]]:
    """Encode and decode, by name."""
    pickled = PickleCodec(keys=[b"a key of at least 16 bytes"])
    packed = MsgpackCodec(compress_above=512)
    found: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
        "MsgpackCodec": (MsgpackCodec().encode, MsgpackCodec().decode),
        "MsgpackCodec zstd": (packed.encode, packed.decode),
        "PickleCodec": (pickled.encode, pickled.decode),
        "pickle": (lambda value: pickle.dumps(value, 5), pickle.loads),
    }
    if document == "json":
        found["JsonCodec"] = (JsonCodec().encode, JsonCodec().decode)
        found["json"] = (lambda value: json.dumps(value).encode(), json.loads)
        found["msgspec"] = (msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode)
    return found


def measure(
    encode: Callable[[Any], bytes], decode: Callable[[bytes], Any], document: Any
) -> tuple[float, float]:
    """Microseconds to encode and to decode."""
    data = encode(document)
    assert decode(data) == document
    return (
        timeit.timeit(lambda: encode(document), number=NUMBER) / NUMBER * 1e6,
        timeit.timeit(lambda: decode(data), number=NUMBER) / NUMBER * 1e6,
    )


def main() -> None:
    for name, document in DOCUMENTS.items():
        codecs = sides(name)
        rounds = [
            {codec: measure(*pair, document) for codec, pair in codecs.items()}
            for _ in range(ROUNDS)
        ]
        for codec in codecs:
            encoding, decoding = (min(turn[codec][side] for turn in rounds) for side in (0, 1))
            print(
                json.dumps(
                    {
                        "benchmark": "codecs",
                        "document": name,
                        "codec": codec,
                        "encode_us": round(encoding, 2),
                        "decode_us": round(decoding, 2),
                        "bytes": len(codecs[codec][0](document)),
                        "python": platform.python_version(),
                        "msgspec": version("msgspec"),
                        "zstandard": version("zstandard"),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
