from io import BytesIO

import pytest

from symphonia_perf.errors import CommandError
from symphonia_perf.testing.servers.redis import _reply


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"+OK\r\n", "OK"),
        (b":7\r\n", "7"),
        (b"$6\r\nb\r\nc\xc3\xa9\r\n", "b\r\nc\xe9"),
        (b"$0\r\n\r\n", ""),
        (b"$-1\r\n", ""),
        (b"*2\r\n$-1\r\n$1\r\na\r\n", "\na"),
        (b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", "a\n1"),
    ],
)
def test_replies(sent: bytes, text: str) -> None:
    assert _reply(BytesIO(sent), operation="GET") == text


def test_an_error_reply_keeps_its_code() -> None:
    with pytest.raises(CommandError, match="LOADING the dataset") as caught:
        _reply(BytesIO(b"-LOADING the dataset\r\n"), operation="GET")
    assert (caught.value.code, caught.value.operation) == ("LOADING", "GET")


@pytest.mark.parametrize(
    "sent", [b"", b"*2\r\n+OK\r\n", b"%1\r\n", b"$10\r\nshort", b"$5\r\nshort"]
)
def test_a_reply_cut_off_or_unknown(sent: bytes) -> None:
    with pytest.raises(ConnectionError):
        _reply(BytesIO(sent), operation="GET")
