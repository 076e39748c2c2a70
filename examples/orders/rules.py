"""What each change makes wrong: the study's "Cache Invalidation Rules"."""

from symphonia_perf.cache import InvalidationRules, on

__all__ = ["RULES"]

RULES = InvalidationRules(
    # The study removes `plans:list`, and `carriers:list*` for lists by filter. A tag reaches every
    # list, without a walk through all keys.
    on("plan.changed", delete=["plan:{id}"], tags=["plans"]),
    on("carrier.changed", delete=["carrier:{id}"], tags=["carriers"]),
    on("order.changed"),  # orders are never cached: they change too often
    on("user.changed", delete=["user:{id}"], match=["orders:list:{id}*"]),
)
