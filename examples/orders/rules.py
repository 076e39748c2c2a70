"""What each change makes wrong: the study's "Cache Invalidation Rules"."""

from symphonia_perf.cache import InvalidationRules, on

__all__ = ["RULES"]

RULES = InvalidationRules(
    on("plan.changed", delete=["plans:list", "plan:{id}"]),
    # The study removes `carriers:list*`, for lists by filter. This service has one list, and one
    # key needs no walk through all of them.
    on("carrier.changed", delete=["carriers:list", "carrier:{id}"]),
    on("order.changed"),  # orders are never cached: they change too often
    on("user.changed", delete=["user:{id}"], match=["orders:list:{id}*"]),
)
