"""What a MongoDB URI may say: every option PyMongo knows, its spelling and its values.

One table serves three readers: the URI parser reads text by it, `PoolOptions` checks its fields by
it, and the clients find in it which driver keywords are pool settings.

The names are PyMongo 4.20's (a test compares them with its own table). Where the URI options
specification is stricter about a value, it is followed:
https://github.com/mongodb/specifications/blob/master/source/uri-options/uri-options.md
"""

from dataclasses import dataclass

from symphonia_perf.mongo._domains import (
    Boolean,
    Choice,
    Choices,
    Domain,
    Duration,
    Integer,
    Properties,
    TagSet,
    Text,
    WriteConcern,
)

__all__ = ["OPTIONS", "Option"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a MongoDB URI, in its canonical spelling."""

    name: str
    domain: Domain
    secret: bool = False
    since: tuple[int, int] = (4, 13)  # the first PyMongo that knows it; ours begins there


_BOOLEAN = Boolean()
_COUNT = Integer(0)
_TEXT = Text()

OPTIONS = {
    option.name.lower(): option
    for option in (
        Option("appName", Text(128, optional=True)),  # the server refuses more than 128 bytes
        Option(
            "authMechanism",
            Choice(
                (
                    "DEFAULT",
                    "GSSAPI",
                    "MONGODB-AWS",
                    "MONGODB-OIDC",
                    "MONGODB-X509",
                    "PLAIN",
                    "SCRAM-SHA-1",
                    "SCRAM-SHA-256",
                )
            ),
        ),
        Option("authMechanismProperties", Properties(), secret=True),
        Option("authSource", _TEXT),
        Option("compressors", Choices(("zlib", "zstd", "snappy"))),
        Option("connectTimeoutMS", Duration(endless=True, zero=True)),
        Option(
            "datetime_conversion",
            Choice(("DATETIME", "DATETIME_AUTO", "DATETIME_CLAMP", "DATETIME_MS")),
        ),
        Option("directConnection", _BOOLEAN),
        Option("enableOverloadRetargeting", _BOOLEAN, since=(4, 17)),
        Option("fsync", _BOOLEAN),
        Option("heartbeatFrequencyMS", Duration(0.5)),  # the SDAM specification's floor
        Option("journal", _BOOLEAN),
        Option("loadBalanced", _BOOLEAN),
        Option("localThresholdMS", Duration(0)),
        Option("maxAdaptiveRetries", _COUNT, since=(4, 17)),
        Option("maxConnecting", Integer(1)),
        Option("maxIdleTimeMS", Duration(endless=True)),
        Option("maxPoolSize", Integer(1)),  # the driver's 0 is "no limit": a pool without its point
        Option("maxStalenessSeconds", Integer(90, unset=-1)),  # servers refuse less than 90
        Option("minPoolSize", _COUNT),
        Option(
            "readConcernLevel",
            Choice(("local", "available", "majority", "linearizable", "snapshot")),
        ),
        Option(
            "readPreference",
            Choice(("primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest")),
        ),
        Option("readPreferenceTags", TagSet()),
        Option("replicaSet", _TEXT),
        Option("retryReads", _BOOLEAN),
        Option("retryWrites", _BOOLEAN),
        Option("serverMonitoringMode", Choice(("auto", "poll", "stream"))),
        Option("serverSelectionTimeoutMS", Duration(0)),
        Option("socketTimeoutMS", Duration(endless=True, zero=True)),
        Option("srvAllowedHostsSuffix", _TEXT, since=(4, 18)),
        Option("srvMaxHosts", _COUNT),
        Option("srvServiceName", _TEXT),
        Option("timeoutMS", Duration(0)),
        Option("tls", _BOOLEAN),
        Option("tlsAllowInvalidCertificates", _BOOLEAN),
        Option("tlsAllowInvalidHostnames", _BOOLEAN),
        Option("tlsCAFile", _TEXT),
        Option("tlsCertificateKeyFile", _TEXT),
        Option("tlsCertificateKeyFilePassword", Text(secret=True), secret=True),
        Option("tlsCRLFile", _TEXT),
        Option("tlsDisableOCSPEndpointCheck", _BOOLEAN),
        Option("tlsInsecure", _BOOLEAN),
        Option("tz_aware", _BOOLEAN),
        Option("unicode_decode_error_handler", Choice(("strict", "replace", "ignore"))),
        Option(
            "uuidRepresentation",
            Choice(("unspecified", "standard", "pythonLegacy", "javaLegacy", "csharpLegacy")),
        ),
        Option("w", WriteConcern()),
        Option("waitQueueTimeoutMS", Duration(endless=True)),
        Option("wTimeoutMS", _COUNT),
        Option("zlibCompressionLevel", Integer(-1, 9)),
    )
}
"""Lower-case name -> option."""
OPTIONS["ssl"] = OPTIONS["tls"]  # its old name
