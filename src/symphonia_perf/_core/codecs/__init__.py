"""Values to bytes and back, so that what goes in equals what comes out.

Every codec writes one byte first that names codec and format version; bytes of another codec or
version, truncated bytes and noise raise `CorruptEntry` and never yield a wrong value.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf._core.codecs.codec import Codec as Codec
    from symphonia_perf._core.codecs.json import JsonCodec as JsonCodec
    from symphonia_perf._core.codecs.msgpack import MsgpackCodec as MsgpackCodec
    from symphonia_perf._core.codecs.pickle import PickleCodec as PickleCodec
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "codec": ("Codec",),
            "json": ("JsonCodec",),
            "msgpack": ("MsgpackCodec",),
            "pickle": ("PickleCodec",),
        },
    )

__all__ = ["Codec", "JsonCodec", "MsgpackCodec", "PickleCodec"]
