"""Redis and Valkey: one role for all stores, over the client a service has already."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf.redis.adapter import wrap as wrap
    from symphonia_perf.redis.commands import Argument as Argument
    from symphonia_perf.redis.commands import Commands as Commands
    from symphonia_perf.redis.commands import Reply as Reply
    from symphonia_perf.redis.commands import Script as Script
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "adapter": ("wrap",),
            "commands": ("Argument", "Commands", "Reply", "Script"),
        },
    )

__all__ = ["Argument", "Commands", "Reply", "Script", "wrap"]
