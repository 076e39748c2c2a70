import asyncio
import subprocess
import sys
import threading

import pytest

from symphonia_perf._core.binding import Binding
from symphonia_perf.errors import NotOpen, SymphoniaError, WrongLoop


async def test_it_works_where_it_was_opened() -> None:
    binding = Binding("the thing")
    with pytest.raises(NotOpen, match="the thing is not open in this process"):
        binding.check()
    binding.open()
    binding.check()
    with pytest.raises(SymphoniaError, match="the thing is open already"):
        binding.open()
    binding.close()
    with pytest.raises(NotOpen):
        binding.check()
    binding.open()
    binding.check()


async def test_another_loop_and_a_plain_thread_are_the_wrong_place() -> None:
    binding = Binding("the thing")
    binding.open()
    errors: list[Exception] = []

    async def elsewhere() -> None:
        binding.check()

    def plain() -> None:
        for use in (binding.check, lambda: asyncio.run(elsewhere())):
            try:
                use()
            except SymphoniaError as error:
                errors.append(error)

    thread = threading.Thread(target=plain)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [WrongLoop, WrongLoop]


def test_a_loop_that_died_gives_it_free() -> None:
    binding = Binding("the thing")

    async def use() -> None:
        binding.open()
        binding.check()

    asyncio.run(use())
    asyncio.run(use())


FORK = """
import asyncio, os
from symphonia_perf._core.binding import Binding
from symphonia_perf.errors import SymphoniaError

binding = Binding("the thing")

def check():
    try:
        binding.check()
    except SymphoniaError as error:
        print(type(error).__name__, flush=True)

async def elsewhere():
    check()
    binding.open()
    binding.check()

async def main():
    binding.open()
    if os.fork() == 0:
        check()
        asyncio._set_running_loop(None)
        asyncio.run(elsewhere())
        os._exit(0)
    os.wait()
    binding.check()

asyncio.run(main())
"""


def test_a_forked_child_has_to_open_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["NotOpen", "NotOpen"]
