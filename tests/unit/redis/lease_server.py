"""The lease's own script, run by Lua against a dict, under a clock that a test moves."""

from typing import Any, Literal

from lupa.lua51 import LuaRuntime

from symphonia_perf.redis._lease_record import LUA

KEYS = ("lease:{a}", "lease:{a}:number")


class LuaServer:
    """As much of a server as the script asks for."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.started = now - 10 * 86_400
        self.data: dict[str, tuple[str, float]] = {}  # the value, and when it ends
        self.published: list[str] = []
        self.info = True  # whether INFO is allowed
        self._lua = LuaRuntime()
        self._script = self._lua.eval(
            "function(call, pcall, KEYS, ARGV) redis = {call = call, pcall = pcall}\n"
            + LUA.replace("return {1, number}", "do return {1, number} end")
            + "\nend"
        )

    def restart(self, *, loses: bool) -> None:
        """It is there again, at the same moment."""
        self.started = self.now
        if loses:
            self.data.clear()

    def run(
        self,
        verb: str,
        token: str,
        length: int = 10_000,
        after_restart: Literal["wait", "grant"] = "wait",
    ) -> Any:
        """What the script answers; a table as a list."""
        table = self._lua.table_from
        reply = self._script(
            self._call, self._call, table(KEYS), table([verb, token, str(length), after_restart])
        )
        return reply if isinstance(reply, int) else list(reply.values())

    def get(self, key: str) -> str | None:
        """The value, unless it has ended."""
        value, ends = self.data.get(key, ("", 0.0))
        return value if ends > self.now else None

    def _call(self, name: str, *args: Any) -> Any:
        return getattr(self, f"_{name.lower()}")(*args)

    def _get(self, key: str) -> str | bool:
        value = self.get(key)
        return False if value is None else value

    def _set(self, key: str, value: str, px: str, length: float) -> None:
        assert px == "PX"
        self.data[key] = (value, self.now + float(length) / 1000)

    def _del(self, key: str) -> None:
        del self.data[key]

    def _pttl(self, key: str) -> int:
        return round((self.data[key][1] - self.now) * 1000)

    def _pexpire(self, key: str, length: float) -> None:
        if (value := self.get(key)) is not None:
            self.data[key] = (value, self.now + float(length) / 1000)

    def _publish(self, channel: str, message: str) -> None:
        assert message == ""
        self.published.append(channel)

    def _time(self) -> Any:
        whole = int(self.now)
        return self._lua.table_from([str(whole), str(int((self.now - whole) * 1_000_000))])

    def _info(self, section: str) -> Any:
        assert section == "server"
        if not self.info:
            return self._lua.table_from({"err": "NOPERM this user has no permissions"})
        return f"# Server\r\nuptime_in_seconds:{int(self.now) - int(self.started)}\r\nhz:10\r\n"
