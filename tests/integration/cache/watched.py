"""What the tests of change streams and their processes agree on."""

from symphonia_perf.cache import InvalidationRules, Route, on

__all__ = ["ROUTES", "RULES"]

RULES = InvalidationRules(
    on("carrier.changed", delete=["carrier:{id}"], tags=["carriers"]),
    on("plan.changed", tags=["plans"]),
    on("contract.changed", delete=["contract:{id}"], tags=["client:{client_id}"]),
)
ROUTES: dict[str, str | Route] = {"carriers": "carrier.changed", "plans": "plan.changed"}
