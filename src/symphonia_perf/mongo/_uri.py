"""Strict reading of a MongoDB connection string, without DNS.

Nothing that the driver would only warn about, ignore or overrule gets through. No message repeats a
password: whatever cannot be told apart from one is not shown.

Grammar: https://www.mongodb.com/docs/manual/reference/connection-string/ and the connection string
specification it rests on. The query of a `mongodb+srv://` URI is read here too; what its TXT record
adds is known only to the driver, on its first use.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from itertools import takewhile

from symphonia_perf._core.env import nearest
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._domains import TagSet, decode
from symphonia_perf.mongo._settings import OPTIONS, Option

__all__ = ["Entry", "MongoURI", "parse_uri"]

_SHAPE = re.compile(
    r"(?P<scheme>mongodb(?:\+srv)?)://(?P<authority>[^/?]*)(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SOCKET = re.compile(r"%2[Ff].*\.sock")
_BRACKETS = re.compile(r"\[(?P<host>[^\]]*)\](?P<port>:.*)?")
_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_NOT_IN_DATABASE = frozenset('/\\. "$\0')
_ESCAPING = "percent-encode :/?#[]@% in user name and password (urllib.parse.quote_plus)"

# PyMongo ignores the first and answers the second with our own connect=False.
_REFUSED = {
    "waitqueuemultiple": "the driver ignores it; maxPoolSize and waitQueueTimeoutMS bound a pool",
    "connect": "a client never connects when it is built; warm(client) opens its pool",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One `name=value` of the query."""

    option: Option
    written: str  # the name as the user wrote it
    raw: str  # the value, still percent-encoded
    value: object


@dataclass(frozen=True, slots=True)
class MongoURI:
    """A connection string that PyMongo takes without a warning."""

    head: str  # all before the query
    hosts: tuple[str, ...]
    entries: tuple[Entry, ...]  # without repetitions

    @property
    def srv(self) -> bool:
        """Whether the hosts come from DNS."""
        return self.head.startswith("mongodb+srv:")

    def get(self, name: str) -> object:
        """The value of the option `name`, None where the URI does not say."""
        return next((entry.value for entry in self.entries if entry.option.name == name), None)

    def text(self, *, without: Collection[str] = ()) -> str:
        """The URI in canonical spelling, without the options named."""
        return _join(
            self.head,
            [
                f"{entry.option.name}={entry.raw}"
                for entry in self.entries
                if entry.option.name not in without
            ],
        )

    def redacted(self) -> str:
        """The URI for a log: `***` stands for the password and for secret options."""
        return _join(
            re.sub(r"(?<=//)([^:@/]*):[^@/]*@", r"\1:***@", self.head),
            [
                f"{entry.option.name}={'***' if entry.option.secret else entry.raw}"
                for entry in self.entries
            ],
        )


def _join(head: str, pairs: Sequence[str]) -> str:
    # Drivers before 2023 want the slash.
    slash = "" if "/" in head.partition("://")[2] else "/"
    return f"{head}{slash}?{'&'.join(pairs)}" if pairs else head


def parse_uri(text: str, *, label: str = "uri") -> MongoURI:
    """The parts of a connection string.

    Args:
        text: the connection string.
        label: how the setting is called, for messages: `uri`, `MONGODB_URI`.

    Raises:
        ConfigurationError: anything in it is malformed, unknown, out of its domain, said twice in
            different words, or contradicts another part.
    """
    shape = _shape(text, label)
    userinfo, at, hosts = shape["authority"].rpartition("@")
    if at:
        _check_userinfo(userinfo, label)
    read = tuple(_host(host, label) for host in hosts.split(","))
    _check_database(shape["path"] or "", label)
    uri = MongoURI(
        head=text.partition("?")[0].removesuffix("/"),
        hosts=read,
        entries=tuple(_entries(shape["query"] or "", label)),
    )
    _check_topology(uri, label)
    _check_tls(uri, label)
    _check_writes(uri, label)
    return uri


def _shape(text: str, label: str) -> re.Match[str]:
    if not isinstance(text, str):
        raise ConfigurationError(f"{label}: expected text, not {type(text).__name__}")
    if not text.isprintable() or " " in text:
        raise ConfigurationError(
            f"{label}: a space, line end or control character; write a space as %20"
        )
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        found = _SCHEME.match(text)
        raise ConfigurationError(
            f"{label}: expected mongodb://host or mongodb+srv://host, in lower case, "
            f"found {repr(found[0]) if found else 'no scheme'}"
        )
    # An unescaped / or ? in a password ends the authority early and leaves its rest, with the @,
    # to the database or the options. Checked first, so that no later message shows that rest.
    if "@" in f"{shape['path']}{shape['query']}":
        raise ConfigurationError(f"{label}: an @ after the hosts; {_ESCAPING}, and @ in options")
    return shape


def _check_userinfo(userinfo: str, label: str) -> None:
    name, colon, password = userinfo.partition(":")
    if not name or (colon and not password):
        raise ConfigurationError(f"{label}: empty user name or password before the @")
    if "@" in userinfo or ":" in password:
        raise ConfigurationError(f"{label}: user name or password is not escaped; {_ESCAPING}")
    decode(userinfo, f"{label} user name or password")


def _check_database(path: str, label: str) -> None:
    name = decode(path, f"{label} database")
    if bad := _NOT_IN_DATABASE.intersection(name):
        raise ConfigurationError(
            f"{label} database={name!r}: a database name has no {' '.join(map(repr, sorted(bad)))}"
        )


def _host(text: str, label: str) -> str:
    """`text` as it is, once it is known to be a host the driver can use."""
    if not text:
        raise ConfigurationError(
            f"{label}: empty host; expected host[:port],... or a socket as %2Fpath%2Fname.sock"
        )
    if _SOCKET.fullmatch(text):
        decode(text, f"{label} socket")
        return text
    if brackets := _BRACKETS.fullmatch(text):
        host, port = brackets["host"], brackets["port"] or ""
        try:
            IPv6Address(host.replace("%25", "%"))  # RFC 6874: the zone's % is escaped
        except AddressValueError:
            raise ConfigurationError(f"{label}: [{host}] is not an IPv6 address") from None
    else:
        host, colon, rest = text.partition(":")
        port = colon + rest
        if not _NAME.fullmatch(host):
            raise ConfigurationError(
                f"{label}: host {host!r} is not a name or address; an IPv6 address stands in [], "
                "a socket's path begins with %2F and ends with .sock"
            )
    if port and not (_PORT.fullmatch(port[1:]) and int(port[1:]) < 2**16):
        # Digits are shown; anything else may be a password that lost its @host.
        shown = port[1:] if port[1:].isdecimal() else "what follows the colon"
        raise ConfigurationError(f"{label}: {shown} is no port; expected 1 to 65535 after {host!r}")
    return text


def _entries(query: str, label: str) -> Iterator[Entry]:
    seen: dict[str, Entry] = {}
    for pair in query.split("&") if query else ():
        entry = _entry(pair, label)
        first = seen.setdefault(entry.option.name, entry)
        if first is entry or isinstance(entry.option.domain, TagSet):
            yield entry
        elif first.value != entry.value:
            values = "" if entry.option.secret else f": {first.raw!r} and {entry.raw!r}"
            raise ConfigurationError(f"{label}: {entry.written} says two different things{values}")


def _entry(pair: str, label: str) -> Entry:
    name, equals, raw = pair.partition("=")
    if not name or not equals or "=" in raw or ";" in pair:
        start = "".join(takewhile(str.isalnum, pair))
        raise ConfigurationError(
            f"{label}: option {start!r}... is not name=value; options are separated by &, "
            "and = or ; in a value are written %3D or %3B"
        )
    option = OPTIONS.get(name.lower())
    if option is None:
        if reason := _REFUSED.get(name.lower()):
            raise ConfigurationError(f"{label}: {name} is not for a URI here: {reason}")
        near = nearest(name, (known.name for known in OPTIONS.values()))
        hint = f"; did you mean {near}?" if near else ""
        raise ConfigurationError(f"{label}: unknown option {name!r}{hint}")
    where = f"{label}: {name}"
    text = raw if isinstance(option.domain, TagSet) else decode(raw, where)
    return Entry(option, name, raw, option.domain.parse(text, where))


def _check_topology(uri: MongoURI, label: str) -> None:
    several = f"{len(uri.hosts)} hosts" if len(uri.hosts) > 1 else ""
    pairs = [
        ("directConnection", "mongodb+srv://" if uri.srv else several),
        ("loadBalanced", several),
        ("loadBalanced", "directConnection" if uri.get("directConnection") else ""),
        ("loadBalanced", "replicaSet" if uri.get("replicaSet") else ""),
    ]
    if uri.srv:
        if several or _is_address(uri.hosts[0]):
            raise ConfigurationError(
                f"{label}: mongodb+srv:// takes exactly one host name, without port"
            )
        limit = "srvMaxHosts" if uri.get("srvMaxHosts") else ""
        pairs += [("loadBalanced", limit), ("replicaSet", limit)]
    else:
        for entry in uri.entries:
            if entry.option.name.startswith("srv"):
                raise _contradiction(label, entry.written, "mongodb:// (it is for mongodb+srv://)")
    for one, other in pairs:
        if uri.get(one) and other:
            raise _contradiction(label, one, other)


def _is_address(host: str) -> bool:
    """Whether `host` is something that no SRV record can be asked for."""
    if ":" in host or host.startswith("%"):
        return True
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _check_tls(uri: MongoURI, label: str) -> None:
    """PyMongo quietly ignores part of these, and turns TLS on for others."""
    said = {entry.option.name: entry for entry in uri.entries}
    details = [name for name in said if name.startswith("tls") and name != "tls"]
    files = [name for name in details if name.endswith("File")]
    enabled = uri.get("tls")
    if details and enabled is False:
        raise _contradiction(label, "tls=false", said[details[0]].written)
    if details and not (enabled or uri.srv or files):
        raise ConfigurationError(
            f"{label}: {said[details[0]].written} does nothing without tls=true"
        )
    if "tlsCertificateKeyFilePassword" in said and "tlsCertificateKeyFile" not in said:
        raise ConfigurationError(
            f"{label}: tlsCertificateKeyFilePassword does nothing without tlsCertificateKeyFile"
        )
    ocsp = "tlsDisableOCSPEndpointCheck"
    invalid = "tlsAllowInvalidCertificates"
    for one, others in (
        ("tlsInsecure", (invalid, "tlsAllowInvalidHostnames", ocsp)),
        (invalid, (ocsp,)),
    ):
        for other in others:
            if one in said and other in said:
                raise _contradiction(label, one, f"{other} (the first decides the second)")
    for name in ("tlsInsecure", invalid, ocsp):
        if "tlsCRLFile" in said and uri.get(name):
            raise _contradiction(label, "tlsCRLFile", f"{name}=true")


def _check_writes(uri: MongoURI, label: str) -> None:
    if uri.get("journal") and uri.get("fsync"):
        raise _contradiction(label, "journal=true", "fsync=true")


def _contradiction(label: str, one: str, other: str) -> ConfigurationError:
    return ConfigurationError(f"{label}: {one} contradicts {other}; remove one of them")
