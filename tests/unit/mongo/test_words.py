"""Other people's words are kept short."""

from symphonia_perf.mongo._words import bounded, driver_words


def test_a_long_text_says_how_much_was_left_out() -> None:
    assert bounded("abc", 3) == "abc"
    assert bounded("abcdefgh", 3) == "abc... and 5 more characters"


def test_the_dumps_of_the_driver_are_left_out() -> None:
    lost = (
        "127.0.0.1:1: [Errno 111] Connection refused (configured timeouts: connectTimeoutMS: "
        "20000.0ms), Timeout: 0.05s, Topology Description: <TopologyDescription id: 1,\n servers>"
    )
    assert driver_words(lost) == "127.0.0.1:1: [Errno 111] Connection refused (waited 0.05 s)"
    refused = "bad value, full error: {'ok': 0.0, '$clusterTime': {'clusterTime': 1}}"
    assert driver_words(ValueError(refused)) == "bad value"
    assert len(driver_words("x" * 1_000_000)) < 450
