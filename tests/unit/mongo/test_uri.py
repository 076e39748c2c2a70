"""Connection strings: what is taken, what is refused and how, and that no password shows."""

import warnings

import pytest
from pymongo.common import URI_OPTIONS_VALIDATOR_MAP
from pymongo.uri_parser_shared import _validate_uri

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._settings import OPTIONS
from symphonia_perf.mongo._uri import parse_uri

# Values at the edges of each domain; every one of them must satisfy PyMongo's own validator too.
TAKEN = {
    "appName": ["a", "orders%20service", "%C3%A9" * 64],
    "authMechanism": ["SCRAM-SHA-256", "MONGODB-X509", "DEFAULT"],
    "authMechanismProperties": ["SERVICE_NAME:x,CANONICALIZE_HOST_NAME:forward", "ENVIRONMENT:k8s"],
    "authSource": ["admin", "%24external"],
    "compressors": ["zlib"],
    "connectTimeoutMS": ["0", "1", "999999999"],
    "datetime_conversion": ["DATETIME", "DATETIME_AUTO"],
    "directConnection": ["true", "false"],
    "enableOverloadRetargeting": ["true", "false"],
    "fsync": ["true", "false"],
    "heartbeatFrequencyMS": ["500", "999999999"],
    "journal": ["true", "false"],
    "loadBalanced": ["true", "false"],
    "localThresholdMS": ["0", "15"],
    "maxAdaptiveRetries": ["0", "3"],
    "maxConnecting": ["1", "50"],
    "maxIdleTimeMS": ["1", "999999999"],
    "maxPoolSize": ["1", "2147483647"],
    "maxStalenessSeconds": ["-1", "90"],
    "minPoolSize": ["0", "10"],
    "readConcernLevel": ["local", "snapshot"],
    "readPreference": ["primary", "nearest"],
    "readPreferenceTags": ["", "dc:east", "dc:ea%2Cst,rack:1"],
    "replicaSet": ["rs0"],
    "retryReads": ["true", "false"],
    "retryWrites": ["true", "false"],
    "serverMonitoringMode": ["auto", "poll", "stream"],
    "serverSelectionTimeoutMS": ["0", "15000"],
    "socketTimeoutMS": ["0", "45000"],
    "srvAllowedHostsSuffix": [".db.example.org"],
    "srvMaxHosts": ["0", "3"],
    "srvServiceName": ["mongodb"],
    "timeoutMS": ["0", "1000"],
    "tls": ["true", "false"],
    "tlsAllowInvalidCertificates": ["true", "false"],
    "tlsAllowInvalidHostnames": ["true", "false"],
    "tlsCAFile": ["%2Fdev%2Fnull"],
    "tlsCRLFile": ["%2Fdev%2Fnull"],
    "tlsCertificateKeyFile": ["%2Fdev%2Fnull"],
    "tlsCertificateKeyFilePassword": ["s3cret"],
    "tlsDisableOCSPEndpointCheck": ["true", "false"],
    "tlsInsecure": ["true", "false"],
    "tz_aware": ["true", "false"],
    "unicode_decode_error_handler": ["strict", "replace", "ignore"],
    "uuidRepresentation": ["standard", "pythonLegacy"],
    "w": ["0", "1", "50", "majority", "allDatacenters"],
    "wTimeoutMS": ["0", "5000"],
    "waitQueueTimeoutMS": ["1", "2000"],
    "zlibCompressionLevel": ["-1", "0", "9"],
}
# Part of the table, but newer than the oldest PyMongo we support.
NEWER = {option.name for option in OPTIONS.values() if option.since > (4, 13)}
# What some options need beside them.
COMPANY = {
    "srvAllowedHostsSuffix": "mongodb+srv://cluster.example.org/?",
    "srvMaxHosts": "mongodb+srv://cluster.example.org/?",
    "srvServiceName": "mongodb+srv://cluster.example.org/?",
    "tlsAllowInvalidCertificates": "mongodb://h/?tls=true&",
    "tlsAllowInvalidHostnames": "mongodb://h/?tls=true&",
    "tlsCertificateKeyFilePassword": "mongodb://h/?tlsCertificateKeyFile=%2Fdev%2Fnull&",
    "tlsDisableOCSPEndpointCheck": "mongodb://h/?tls=true&",
    "tlsInsecure": "mongodb://h/?tls=true&",
}


def refused(uri: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_uri(uri)
    assert caught.value.__cause__ is None
    return str(caught.value)


class TestTable:
    def test_it_has_every_option_pymongo_knows(self) -> None:
        left_out = {"connect", "driver", "server_api", "waitqueuemultiple"}
        missing = set(URI_OPTIONS_VALIDATOR_MAP) - set(OPTIONS)
        invented = set(OPTIONS) - set(URI_OPTIONS_VALIDATOR_MAP)
        assert missing <= left_out
        assert invented <= {name.lower() for name in NEWER}

    def test_every_option_has_its_examples(self) -> None:
        assert set(TAKEN) == {option.name for option in OPTIONS.values()}

    @pytest.mark.parametrize(("name", "value"), [(n, v) for n in TAKEN for v in TAKEN[n]])
    def test_what_we_take_pymongo_takes_without_a_warning(self, name: str, value: str) -> None:
        if name.lower() not in URI_OPTIONS_VALIDATOR_MAP:
            pytest.skip("newer than this PyMongo")
        text = f"{COMPANY.get(name, 'mongodb://h/?')}{name.swapcase()}={value}"
        uri = parse_uri(text)
        assert uri.entries[-1].option.name == name
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _validate_uri(text, warn=True)
            _validate_uri(uri.text(), warn=True)


class TestParts:
    @pytest.mark.parametrize(
        "text",
        [
            "mongodb://localhost",
            "mongodb://db_1.internal:27017,db-2.internal.:1/shop",
            "mongodb://user:p%40ss%3Aword@127.0.0.1:27017/admin",
            "mongodb://user@h",
            "mongodb://[::1]:27017,[fe80::1%25eth0],[2001:db8::2]:65535",
            "mongodb://%2Ftmp%2Fmongodb-27017.sock",
            "mongodb://u:p@%2ftmp%2fa%20b.sock,h/db",
            "mongodb://bücher.example",
            "mongodb+srv://cluster0.example.org/shop",
            "mongodb+srv://user:pass@cluster0.example.org",
        ],
    )
    def test_taken_as_it_is(self, text: str) -> None:
        assert parse_uri(text).text() == text

    @pytest.mark.parametrize("text", ["mongodb://a/", "mongodb://a?", "mongodb://a/?"])
    def test_nothing_after_the_hosts_has_one_form(self, text: str) -> None:
        assert parse_uri(text).text() == "mongodb://a"

    def test_hosts_and_srv(self) -> None:
        assert parse_uri("mongodb://a,b:1").hosts == ("a", "b:1")
        assert not parse_uri("mongodb://a").srv
        assert parse_uri("mongodb+srv://a.b").srv

    def test_names_become_canonical_repetitions_go_and_order_stays(self) -> None:
        uri = parse_uri(
            "mongodb://a?REPLICASET=rs&w=1&readPreferenceTags=dc:b&readpreferencetags="
            "&W=1&ssl=true&tls=true"
        )
        assert uri.text() == (
            "mongodb://a/?replicaSet=rs&w=1&readPreferenceTags=dc:b&readPreferenceTags=&tls=true"
        )
        assert uri.text(without={"w", "tls", "readPreferenceTags"}) == "mongodb://a/?replicaSet=rs"
        assert uri.get("w") == 1
        assert uri.get("journal") is None

    def test_the_same_value_in_other_words_is_no_contradiction(self) -> None:
        assert parse_uri("mongodb://a/?appName=a%62&appName=ab").text() == (
            "mongodb://a/?appName=a%62"
        )


class TestRefused:
    @pytest.mark.parametrize(
        ("uri", "says"),
        [
            ("", "no scheme"),
            ("localhost:27017", "no scheme"),
            ("MONGODB://h", "found 'MONGODB://'"),
            ("redis://h", "found 'redis://'"),
            ("mongodb://h/db\n", "a space, line end or control character"),
            ("mongodb://h/?appName=a b", "a space, line end or control character"),
            ("mongodb://", "empty host"),
            ("mongodb://a,,b", "empty host"),
            ("mongodb://u:p@", "empty host"),
            ("mongodb://u:p@/db", "empty host"),
            ("mongodb://@h", "empty user name or password"),
            ("mongodb://u:@h", "empty user name or password"),
            ("mongodb://h:0", "0 is no port; expected 1 to 65535 after 'h'"),
            ("mongodb://h:65536", "65536 is no port"),
            ("mongodb://h:", "is no port"),
            ("mongodb://h:27x", "what follows the colon is no port"),
            ("mongodb://[::1]:99999", "99999 is no port"),
            ("mongodb://[::g]", "[::g] is not an IPv6 address"),
            ("mongodb://::1", "is not a name or address"),
            ("mongodb://h%6Fst", "host 'h%6Fst' is not a name or address"),
            ("mongodb:///tmp/mongodb.sock", "empty host"),
            ("mongodb://a..b", "'a..b' is not a name or address"),
            ("mongodb://h/a.b", "a database name has no '.'"),
            ("mongodb://h/a/b", "a database name has no '/'"),
            ("mongodb://h/a%00b", "a database name has no"),
            ("mongodb://h/%zz", "a percent sign of its own must be written %25"),
            ("mongodb://h/?appName=%FF", "appName: percent-escapes must be UTF-8"),
            ("mongodb://h/?maxPoolSize", "option 'maxPoolSize'... is not name=value"),
            ("mongodb://h/?=1", "option ''... is not name=value"),
            ("mongodb://h/?w=1&", "option ''... is not name=value"),
            ("mongodb://h/?w=1;journal=true", "written %3D or %3B"),
            ("mongodb://h/?appName=a;b", "written %3D or %3B"),
        ],
    )
    def test_malformed(self, uri: str, says: str) -> None:
        message = refused(uri)
        assert message.startswith("uri")
        assert says in message

    def test_not_text(self) -> None:
        with pytest.raises(ConfigurationError, match="expected text, not bytes"):
            parse_uri(b"mongodb://h")  # type: ignore[arg-type] # the subject

    @pytest.mark.parametrize(
        ("query", "says"),
        [
            ("maxPoolSize=abc", "maxPoolSize='abc': expected a whole number >= 1"),
            ("maxPoolSize=0", "maxPoolSize=0: expected a whole number >= 1"),
            ("maxpoolsize=-1", "maxpoolsize=-1: expected a whole number >= 1"),
            ("maxPoolSize=1_0", "maxPoolSize='1_0'"),
            ("maxPoolSize=%D9%A3", "expected a whole number"),
            ("maxPoolSize=" + "9" * 5000, "9...: expected a whole number"),
            ("maxPolSize=5", "unknown option 'maxPolSize'; did you mean maxPoolSize?"),
            ("banana=5", "unknown option 'banana'"),
            ("compressors=zlip", "expected one of zlib, zstd, snappy; did you mean 'zlib'?"),
            ("compressors=zlib,zlib", "expected each of them once"),
            ("compressors=", "expected one of zlib, zstd, snappy"),
            ("connectTimeoutMS=1.5", "expected 0 (no limit) or a whole number of ms from 1 to"),
            ("maxIdleTimeMS=0", "expected a whole number of ms from 1 to 999999999"),
            ("waitQueueTimeoutMS=1000000000", "expected a whole number of ms from 1 to 999999999"),
            ("heartbeatFrequencyMS=499", "expected a whole number of ms from 500 to"),
            ("zlibCompressionLevel=12", "expected a whole number from -1 to 9"),
            ("readPreference=Primary", "did you mean 'primary'?"),
            ("readPreference=PRIMARY_PREFERRED", "did you mean 'primaryPreferred'?"),
            ("readPreferenceTags=dc", "expected tags such as dc:east,rack:1"),
            ("readPreferenceTags=a:b:c", "expected tags such as"),
            ("readPreferenceTags=a:%zz", "must be written %25"),
            ("maxStalenessSeconds=89", "expected -1 or a whole number >= 90"),
            ("retryWrites=maybe", "retryWrites='maybe': expected true or false"),
            ("retryWrites=True", "expected true or false; did you mean 'true'?"),
            ("retryWrites=1", "expected true or false"),
            ("w=Majority", "did you mean 'majority'?"),
            ("w=-1", "a whole number from 0 to 50"),
            ("w=51", "a whole number from 0 to 50"),
            ("w=+1", "the name of a custom write concern"),
            ("appName=" + "a" * 129, "printable text of 1 to 128 bytes"),
            ("replicaSet=", "printable text of 1 to 4096 bytes"),
            ("tlsCAFile=a%00b", "printable text"),
            ("authMechanism=scram-sha-256", "did you mean 'SCRAM-SHA-256'?"),
            ("authMechanismProperties=SERVICE:x", "unknown property; expected AWS_SESSION_TOKEN"),
            ("authMechanismProperties=SERVICE_NAME", "expected NAME:value pairs"),
            ("authMechanismProperties=CANONICALIZE_HOST_NAME:maybe", "expected one of true, false"),
            ("connect=false", "connect is not for a URI here"),
            ("waitQueueMultiple=5", "the driver ignores it"),
        ],
    )
    def test_options(self, query: str, says: str) -> None:
        assert says in refused(f"mongodb://h/?{query}")

    @pytest.mark.parametrize(
        ("uri", "says"),
        [
            ("mongodb://h/?w=1&W=2", "W says two different things: '1' and '2'"),
            ("mongodb://h/?ssl=true&tls=false", "two different things"),
            ("mongodb://a,b/?directConnection=true", "directConnection contradicts 2 hosts"),
            ("mongodb://a,b/?loadBalanced=true", "loadBalanced contradicts 2 hosts"),
            ("mongodb://a/?loadBalanced=true&replicaSet=r", "loadBalanced contradicts replicaSet"),
            (
                "mongodb://a/?loadBalanced=true&directConnection=true",
                "loadBalanced contradicts directConnection",
            ),
            ("mongodb://a/?srvMaxHosts=2", "srvMaxHosts contradicts mongodb://"),
            ("mongodb+srv://a.b,c.d", "exactly one host name, without port"),
            ("mongodb+srv://a.b:27017", "exactly one host name, without port"),
            ("mongodb+srv://127.0.0.1", "exactly one host name, without port"),
            ("mongodb+srv://[::1]", "exactly one host name, without port"),
            ("mongodb+srv://%2Ftmp%2Fa.sock", "exactly one host name, without port"),
            (
                "mongodb+srv://a.b/?directConnection=true",
                "directConnection contradicts mongodb+srv://",
            ),
            (
                "mongodb+srv://a.b/?loadBalanced=true&srvMaxHosts=1",
                "loadBalanced contradicts srvMaxHosts",
            ),
            (
                "mongodb+srv://a.b/?replicaSet=r&srvMaxHosts=1",
                "replicaSet contradicts srvMaxHosts",
            ),
            ("mongodb://a/?tls=false&tlsInsecure=true", "tls=false contradicts tlsInsecure"),
            ("mongodb+srv://a.b/?ssl=false&tlsCAFile=x", "tls=false contradicts tlsCAFile"),
            ("mongodb://a/?tlsInsecure=true", "tlsInsecure does nothing without tls=true"),
            (
                "mongodb://a/?tls=true&tlsCertificateKeyFilePassword=x",
                "does nothing without tlsCertificateKeyFile",
            ),
            (
                "mongodb://a/?tls=true&tlsInsecure=true&tlsAllowInvalidHostnames=true",
                "tlsInsecure contradicts tlsAllowInvalidHostnames",
            ),
            (
                "mongodb+srv://a/?tlsAllowInvalidCertificates=true&tlsDisableOCSPEndpointCheck=true",
                "tlsAllowInvalidCertificates contradicts tlsDisableOCSPEndpointCheck",
            ),
            (
                "mongodb://a/?tlsCRLFile=x&tlsInsecure=true",
                "tlsCRLFile contradicts tlsInsecure=true",
            ),
            ("mongodb://a/?journal=true&fsync=true", "journal=true contradicts fsync=true"),
        ],
    )
    def test_contradictions(self, uri: str, says: str) -> None:
        assert says in refused(uri)

    @pytest.mark.parametrize(
        "uri",
        [
            "mongodb://a/?loadBalanced=true&minPoolSize=5",
            "mongodb://a,b/?loadBalanced=false&directConnection=false&replicaSet=r",
            "mongodb+srv://a.b/?srvMaxHosts=0&replicaSet=r",
            "mongodb+srv://a.b/?tlsInsecure=true",
            "mongodb+srv://a.b/?tls=false",
            "mongodb://a/?tlsCAFile=x&tlsAllowInvalidHostnames=true",
            "mongodb://a/?tlsCRLFile=x&tlsInsecure=false",
            "mongodb://a/?journal=true&fsync=false",
        ],
    )
    def test_what_only_looks_like_one(self, uri: str) -> None:
        assert parse_uri(uri).text() == uri


class TestSecrets:
    @pytest.mark.parametrize(
        "uri",
        [
            "mongodb://u:hunter2",  # the host was forgotten
            "mongodb://u:hunter2,h",
            "mongodb://u:p@hunter2@h",
            "mongodb://u:p:hunter2@h",
            "mongodb://u:p/hunter2@h",
            "mongodb://u:p@ss/hunter2@h",
            "mongodb://u:27/hunter2@h/db",
            "mongodb://u:27?hunter2@h",
            "mongodb://u:p@ss?hunter2@h",
            "mongodb://u:27?w=hunter2@h",
            "mongodb://u:27?hunter2=1@h",
            "mongodb://u:hunter2%@h",
            "mongodb://u:hunter2%FF@h",
            "mongodb://u: hunter2@h",
            "mongo://u:hunter2@h",
            "u:hunter2@h",
            "u:hunter2://@h",
            "mongodb://u:hunter2@h/?maxPoolSize=abc",
            "mongodb://u:hunter2@h:x",
            "mongodb://u:hunter2@h/a.b",
            "mongodb://h/?tls=true&tlsCertificateKeyFilePassword=hunter2",
            "mongodb://h/?tlsCertificateKeyFilePassword=hunter2%00",
            "mongodb://h/?tlsCertificateKeyFilePassword=a&tlsCertificateKeyFilePassword=hunter2",
            "mongodb://h/?tlsCertificateKeyFilePassword=hunter2=",
            "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:a,hunter2",
            "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:a,hunter2:b",
            "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:hunter2%FF",
        ],
    )
    def test_no_message_repeats_a_password(self, uri: str) -> None:
        assert "hunter2" not in refused(uri)

    def test_redacted(self) -> None:
        uri = parse_uri(
            "mongodb://u:hunter2@a,b/db?w=1&tlsCertificateKeyFile=f"
            "&tlsCertificateKeyFilePassword=hunter2"
            "&authMechanismProperties=AWS_SESSION_TOKEN:hunter2"
        )
        assert uri.redacted() == (
            "mongodb://u:***@a,b/db?w=1&tlsCertificateKeyFile=f"
            "&tlsCertificateKeyFilePassword=***&authMechanismProperties=***"
        )
        assert parse_uri("mongodb://u@a").redacted() == "mongodb://u@a"


def test_the_label_says_where_the_uri_came_from() -> None:
    with pytest.raises(ConfigurationError, match=r"^MONGODB_URI: w='x y': expected"):
        parse_uri("mongodb://h/?w=x%20y", label="MONGODB_URI")
