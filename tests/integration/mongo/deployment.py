"""What ten processes deploy at once: creations, changes in place, a retirement."""

from symphonia_perf.mongo import Index, IndexRegistry

indexes = IndexRegistry()
indexes.add(
    "orders",
    Index("a", "-b"),
    Index("b", "a"),
    Index.text("note"),
    Index("at", expire_after=3600),
    Index("code", unique=True),
)
indexes.add("carriers", Index("code", unique=True), Index.wildcard("attributes"))
indexes.retire("orders", "old_1")
