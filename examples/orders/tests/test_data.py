"""The generated data is the same every time, and looks like the study's."""

from collections import Counter
from itertools import pairwise
from statistics import mean

import bson
import pytest

from examples.orders import data
from examples.orders.settings import STATUSES
from symphonia_perf.typing import Document


@pytest.fixture(scope="module")
def orders() -> list[Document]:
    return list(data.make_orders(5_000))


def test_the_same_seed_gives_the_same_orders() -> None:
    assert list(data.make_orders(300)) == list(data.make_orders(300))
    assert list(data.make_orders(300)) != list(data.make_orders(300, seed=1))
    assert data.make_carriers() == data.make_carriers()
    assert data.make_carriers() != data.make_carriers(seed=1)


def test_what_is_stored_is_what_was_made(orders: list[Document]) -> None:
    options = bson.CodecOptions[Document](tz_aware=True)
    for order in [*orders[:50], *data.make_plans(), *data.make_carriers()]:
        stored = bson.BSON(bson.encode(order))
        assert stored.decode(options) == order


def test_an_order_is_about_three_kilobytes(orders: list[Document]) -> None:
    sizes = [len(bson.encode(order)) for order in orders]
    assert 2_900 < mean(sizes) < 3_500
    assert max(sizes) < 5_000


def test_orders_come_oldest_first_over_half_a_year(orders: list[Document]) -> None:
    assert all(one["createdAt"] <= two["createdAt"] for one, two in pairwise(orders))
    assert 170 < (orders[-1]["createdAt"] - orders[0]["createdAt"]).days < data.DAYS
    assert orders[-1]["createdAt"] < data.UNTIL


def test_some_orders_share_their_instant(orders: list[Document]) -> None:
    sharing = Counter(order["createdAt"] for order in orders)
    assert 0.1 < sum(count for count in sharing.values() if count > 1) / len(orders) < 0.4


def test_ids_and_references_are_unique(orders: list[Document]) -> None:
    assert len({order["_id"] for order in orders}) == len(orders)
    assert len({order["reference"] for order in orders}) == len(orders)
    for order in orders[:100]:
        assert order["_id"].generation_time == order["createdAt"].replace(microsecond=0)


def test_statuses_are_skewed_as_in_a_running_business(orders: list[Document]) -> None:
    shares = Counter(order["status"] for order in orders)
    assert set(shares) == set(STATUSES)
    assert shares["DELIVERED"] > 0.7 * len(orders)
    assert 0.02 < shares["IN_TRANSIT"] / len(orders) < 0.08


def test_orders_name_clients_and_carriers_that_exist(orders: list[Document]) -> None:
    carriers = {carrier["_id"] for carrier in data.make_carriers()}
    assert len(carriers) == 200
    for order in orders:
        pending = order["status"] == "PENDING"
        assert order["carrierId"] is None if pending else order["carrierId"] in carriers
    clients = Counter(order["clientId"] for order in orders)
    assert 250 < len(clients) <= data.CLIENTS
    assert clients["client-001"] > 20 * clients["client-300"]


def test_history_goes_forward_and_ends_with_the_status(orders: list[Document]) -> None:
    for order in orders:
        history = order["statusHistory"]
        assert all(one["at"] <= two["at"] for one, two in pairwise(history))
        assert order["updatedAt"] == history[-1]["at"] <= data.UNTIL
        if order["status"] != "PENDING":
            assert history[-1]["status"] == order["status"]


def test_places_are_in_europe(orders: list[Document]) -> None:
    for order in orders:
        for place in (order["pickupLocation"], order["deliveryLocation"]):
            longitude, latitude = place["coordinates"]["coordinates"]
            assert -10 < longitude < 28
            assert 37 < latitude < 61


def test_there_are_twenty_plans() -> None:
    assert len({plan["_id"] for plan in data.make_plans()}) == 20
