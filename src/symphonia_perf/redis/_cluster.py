"""Pipelines over redis-py's `RedisCluster`."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from symphonia_perf.errors import CommandError
from symphonia_perf.redis._arguments import Packed
from symphonia_perf.redis._errors import cannot_be_routed

__all__ = ["node_of", "send"]

# redis-py finds the keys of these by their second word, which it wants as text.
_TWO_WORDS = frozenset({"DEBUG", "MEMORY", "OBJECT", "XGROUP", "XINFO"})
_KEY_AT = {
    **dict.fromkeys(("EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"), 3),
    **dict.fromkeys(_TWO_WORDS, 2),
}


def node_of(client: RedisCluster, command: Packed) -> str:
    """The node that probably answers, or "" where that is not known.

    A guess that only decides which commands travel together: redis-py routes each one itself.
    """
    try:
        key: Any = command[_KEY_AT.get(command[0], 1)]  # bytes do, though typed as str
        node = client.get_node_from_key(key)
    except (IndexError, RedisError, RedisClusterException):
        return ""
    return str(node.name) if node else ""


async def send(client: RedisCluster, commands: Sequence[Packed]) -> Sequence[Any]:
    """The replies, errors in place; one concurrent pipeline per node."""
    try:
        await client.initialize()
        pipeline: Any = client.pipeline()
        for command in commands:
            _add(pipeline, client, command)
        return await pipeline.execute(raise_on_error=False)  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001 - it stands in the replies' places
        if len(commands) == 1 or not cannot_be_routed(error):
            return [error] * len(commands)
    # One command that has no node fails the whole pipeline before anything is sent. In halves, one
    # after the other, it is soon alone, and the others keep their order.
    middle = len(commands) // 2
    return [*await send(client, commands[:middle]), *await send(client, commands[middle:])]


def _add(pipeline: Any, client: RedisCluster, command: Packed) -> None:
    name, *words = command
    arguments: list[str | bytes] = [*words]
    second = words[0].decode("latin-1") if words else ""
    if name in _TWO_WORDS:
        arguments[:1] = [second]
    # Response callbacks are found by the name in capitals, in a table that all nodes share. As
    # `get` instead of `GET` the reply stays what the server sent; but then redis-py does not find
    # out either where commands without a key go, so that is looked up here.
    flags = client.command_flags
    target = flags.get(name) or flags.get(f"{name} {second.upper()}")
    if not target:
        pipeline.execute_command(name.lower(), *arguments)
    elif target in {RedisCluster.DEFAULT_NODE, RedisCluster.RANDOM}:
        node = client.get_default_node()
        pipeline.execute_command(name.lower(), *arguments, target_nodes=node)
    else:
        raise CommandError(
            f"{name} is for every node of a cluster; call it on the redis-py client itself",
            operation=name,
        )
