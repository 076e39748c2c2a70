"""What every cache store must do, as tests: a store of your own subclasses them.

The tests are coroutines, so they need a pytest plugin that runs these (anyio with
`anyio_mode = "auto"`, or pytest-asyncio).
"""

# ruff: noqa: D102, S101 - these are tests: a name says what each demands, an assert demands it

from symphonia_perf.cache import CacheStore, Entry

__all__ = ["CacheStoreContract"]


class CacheStoreContract:
    """The conformance suite for `CacheStore`.

    Give a fixture `store` that makes an empty store, and say how its time passes:

    ```python
    import pytest

    from symphonia_perf.cache import MemoryCacheStore
    from symphonia_perf.testing.cache_store import CacheStoreContract


    class ManualClock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now


    class TestMyStore(CacheStoreContract):
        @pytest.fixture
        def store(self) -> MemoryCacheStore:
            self.clock = ManualClock()
            return MemoryCacheStore(clock=self.clock)

        async def advance(self, delay: float) -> None:
            self.clock.now += delay
    ```
    """

    async def advance(self, delay: float) -> None:
        """Let `delay` seconds pass for the store; on a real server, wait until they have."""
        raise NotImplementedError

    async def test_a_key_that_was_never_set_is_not_found(self, store: CacheStore) -> None:
        found = await store.get_many(["plan:1"])
        assert not found.entries
        assert not found.corrupt

    async def test_what_was_stored_is_found(self, store: CacheStore) -> None:
        value = {"name": "Zoë", "tags": ["a", 1, 2.5, None, True], "raw": b"\x00\xff"}
        await store.set_many({"plan:1": Entry(value=value, ttl=60.0)})
        found = await store.get_many(["plan:1"])
        entry = found.entries["plan:1"]
        assert entry.value == value
        assert entry.ttl == 60.0
        assert entry.value is not value

    async def test_many_are_one_call(self, store: CacheStore) -> None:
        entries = {f"plan:{n}": Entry(value=n, ttl=60.0) for n in range(100)}
        await store.set_many(entries)
        found = await store.get_many([*entries, "plan:none"])
        assert {key: entry.value for key, entry in found.entries.items()} == {
            key: entry.value for key, entry in entries.items()
        }

    async def test_nothing_is_a_valid_request(self, store: CacheStore) -> None:
        await store.set_many({})
        assert not (await store.get_many([])).entries
        assert await store.delete_many([]) == 0

    async def test_a_key_asked_twice_is_found_once(self, store: CacheStore) -> None:
        await store.set_many({"plan:1": Entry(value=1, ttl=60.0)})
        assert list((await store.get_many(["plan:1", "plan:1"])).entries) == ["plan:1"]

    async def test_none_is_a_value(self, store: CacheStore) -> None:
        await store.set_many({"plan:1": Entry(value=None, ttl=60.0)})
        found = await store.get_many(["plan:1"])
        assert found.entries["plan:1"].value is None

    async def test_the_shorter_way_to_one_entry_finds_the_same(self, store: CacheStore) -> None:
        get_entry = getattr(store, "get_entry", None)
        if get_entry is None:  # see `QuickStore`
            return
        tags = (await store.get_many([], ["t"])).generations
        entries = {
            "plain": Entry(value={"a": [1]}, ttl=60.0),
            "soft": Entry(value=1, ttl=60.0, stale_for=1.0),
            "spare": Entry(value=1, ttl=60.0, stale_on_error=1.0),
            "tagged": Entry(value=1, ttl=60.0, tags=tags),
            "raised": Entry(value=["app.NotFound"], ttl=60.0, raised=True),
        }
        await store.set_many(entries)
        for key in (*entries, "none"):
            found, bulk = await get_entry(key), await store.get_many([key])
            assert isinstance(found, Entry) is (key == "plain"), key
            if not isinstance(found, Entry):
                assert (found.entries, list(found.corrupt)) == (bulk.entries, [])
        assert (await get_entry("plain")).value == {"a": [1]}
        await store.bump_tags(["t"])
        assert not (await get_entry("tagged")).entries

    async def test_a_second_set_replaces_value_and_ttl(self, store: CacheStore) -> None:
        await store.set_many({"plan:1": Entry(value="old", ttl=0.2)})
        await store.set_many({"plan:1": Entry(value="new", ttl=60.0)})
        await self.advance(0.3)
        entry = (await store.get_many(["plan:1"])).entries["plan:1"]
        assert (entry.value, entry.ttl) == ("new", 60.0)

    async def test_an_entry_is_gone_when_its_time_is_over(self, store: CacheStore) -> None:
        await store.set_many({"short": Entry(value=1, ttl=0.2), "long": Entry(value=2, ttl=60.0)})
        assert set((await store.get_many(["short", "long"])).entries) == {"short", "long"}
        await self.advance(0.3)
        assert set((await store.get_many(["short", "long"])).entries) == {"long"}
        assert await store.delete_many(["short"]) == 0

    async def test_reading_does_not_prolong(self, store: CacheStore) -> None:
        await store.set_many({"plan:1": Entry(value=1, ttl=0.4)})
        for _ in range(3):
            await store.get_many(["plan:1"])
            await self.advance(0.15)
        assert not (await store.get_many(["plan:1"])).entries

    async def test_delete_removes_and_counts_what_was_there(self, store: CacheStore) -> None:
        entries = {key: Entry(value=key, ttl=60.0) for key in ("a", "b", "c")}
        await store.set_many(entries)
        assert await store.delete_many(["a", "b", "never"]) == 2
        assert set((await store.get_many(["a", "b", "c"])).entries) == {"c"}
        assert await store.delete_many(["a"]) == 0

    async def test_keys_are_taken_literally(self, store: CacheStore) -> None:
        keys = ["plan:*", "plan:?", "plan:[ab]", "plan:{x}", "plan:a b", "plan:ü", "plan:%20"]
        await store.set_many({key: Entry(value=key, ttl=60.0) for key in [*keys, "plan:a"]})
        assert await store.delete_many(["plan:*", "plan:?"]) == 2
        found = await store.get_many([*keys, "plan:a"])
        assert set(found.entries) == {*keys[2:], "plan:a"}

    async def test_a_stored_value_is_the_readers_own(self, store: CacheStore) -> None:
        value = {"prices": [1]}
        await store.set_many({"plan:1": Entry(value=value, ttl=60.0)})
        value["prices"].append(2)
        first = (await store.get_many(["plan:1"])).entries["plan:1"].value
        first["prices"].append(3)
        second = (await store.get_many(["plan:1"])).entries["plan:1"].value
        assert second == {"prices": [1]}

    async def test_a_large_value_comes_back_whole(self, store: CacheStore) -> None:
        value = {"blob": bytes(range(256)) * 4096, "text": "ü" * 100_000}
        await store.set_many({"big": Entry(value=value, ttl=60.0)})
        assert (await store.get_many(["big"])).entries["big"].value == value

    async def test_a_stale_entry_is_kept_and_its_age_known(self, store: CacheStore) -> None:
        soft = Entry(value=1, ttl=0.2, stale_for=0.2, stale_on_error=60.0)
        await store.set_many({"soft": soft, "plain": Entry(value=2, ttl=60.0)})
        first = (await store.get_many(["soft"], ages=True)).entries["soft"]
        assert first.created is not None
        assert (first.ttl, first.stale_for, first.stale_on_error) == (0.2, 0.2, 60.0)
        assert first.state(first.created) == "fresh"
        await self.advance(0.25)
        later = (await store.get_many(["soft", "plain"], ages=True)).entries["soft"]
        assert later.created is not None
        # Its time did not begin anew: what counts is when it was stored.
        assert abs(later.created - first.created) < 0.2

    async def test_a_stale_entry_is_gone_when_all_its_time_is_over(self, store: CacheStore) -> None:
        await store.set_many({"k": Entry(value=1, ttl=0.1, stale_for=0.1, stale_on_error=0.1)})
        await self.advance(0.2)
        assert "k" in (await store.get_many(["k"])).entries
        await self.advance(0.25)
        assert not (await store.get_many(["k"], ages=True)).entries

    async def test_what_stands_for_an_error_says_so(self, store: CacheStore) -> None:
        await store.set_many({"k": Entry(value=["app.NotFound", "x"], ttl=60.0, raised=True)})
        entry = (await store.get_many(["k"])).entries["k"]
        assert (entry.raised, entry.value) == (True, ["app.NotFound", "x"])

    async def test_a_bumped_tag_takes_its_entries_along(self, store: CacheStore) -> None:
        now = (await store.get_many([], ["plans", "client:7"])).generations
        assert set(now) == {"plans", "client:7"}
        await store.set_many(
            {
                "both": Entry(value=1, ttl=60.0, tags=now),
                "one": Entry(value=2, ttl=60.0, tags={"client:7": now["client:7"]}),
                "none": Entry(value=3, ttl=60.0),
            }
        )
        assert (await store.get_many(["both"], ["plans"])).entries["both"].tags == now
        await store.bump_tags(["plans"])
        for tags in ((), ("plans",), ("plans", "client:7")):
            found = await store.get_many(["both", "one", "none"], tags)
            assert set(found.entries) == {"one", "none"}, tags
        again = (await store.get_many([], ["plans", "client:7"])).generations
        assert again["plans"] != now["plans"]
        assert again["client:7"] == now["client:7"]

    async def test_a_generation_from_before_a_bump_makes_no_entry(self, store: CacheStore) -> None:
        before = (await store.get_many(["k"], ["plans"])).generations
        await store.bump_tags(["plans", "plans", "other"])
        await store.set_many({"k": Entry(value="old", ttl=60.0, tags=before)})
        assert not (await store.get_many(["k"], ["plans"])).entries

    async def test_generations_never_come_back(self, store: CacheStore) -> None:
        seen: set[int] = set()
        for _ in range(20):
            seen.add((await store.get_many([], ["plans"])).generations["plans"])
            await store.bump_tags(["plans"])
        assert len(seen) == 20

    async def test_removal_by_pattern_is_a_glob(self, store: CacheStore) -> None:
        keys = [*(f"plan:{n}" for n in range(120)), "plans:list", "plan:a*b", "plan:a-b"]
        await store.set_many({key: Entry(value=1, ttl=60.0) for key in keys})
        assert await store.delete_matching(r"plan:a\*b") == 1
        assert await store.delete_matching("plan:[1-9]?") == 90
        assert await store.delete_matching("plan:*") == 31
        assert await store.delete_matching("plan:*") == 0
        assert set((await store.get_many(keys)).entries) == {"plans:list"}

    async def test_one_holds_a_lease_at_a_time(self, store: CacheStore) -> None:
        one, other, elsewhere = (store.lease(key, 5.0) for key in ("k", "k", "{x}:*" * 100))
        assert await one.acquire()
        assert not await other.acquire()
        assert await elsewhere.acquire()
        await one.release()
        assert await other.acquire()
        await other.release()
        await elsewhere.release()
        assert await one.acquire()
        await one.release()
