"""Buckets without a server: addresses that are refused, parts, policies, what answers mean, keys in the catalog."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace

import pytest
from botocore import exceptions as boto
from hypothesis import given
from hypothesis import strategies as st

from engine import catalog as catalogs
from engine.catalog import Catalog
from engine.errors import ConfigError, StoreError
from engine.model import BucketKey, BucketKeys, BucketSpec, DestinationKind, SealedKeys
from engine.redact import holding
from engine.service.buckets import bucket_policy, provider_of, settled
from engine.storage.s3 import mishaps
from engine.storage.s3.address import bucket_address, refuse_forbidden_addresses
from engine.storage.s3.parts import LEAST_PART_BYTES, Part, part_bytes_for
from engine.storage.s3.profiles import GIB, MIB, PROFILES, TIB
from tests.fixtures.records import destination

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")

REFUSED = re.findall(
    r"\S+",
    """
s3.example.com ftp://x.example.com file:///etc/passwd gopher://x https:// https:///x https://?x https://#x //x
https://u@h.example.com https://u:p@h.example.com https://:p@h https://@h.example.com https://h.example.com/path
https://h.example.com?x=1 https://h.example.com/?x=1 https://h.example.com#f https://h.example.com:0
https://h.example.com:99999 https://h.example.com:x https://h_x.example.com https://-h.example.com
https://h..example.com https://h%2e.example.com https://h.example.com\\@x https://169.254.169.254
http://169.254.169.254 https://169.254.170.2 https://[fe80::1] https://[fe80::1%25eth0] https://[::ffff:169.254.169.254]
https://[::ffff:127.0.0.1] http://[::ffff:127.0.0.1] https://0.0.0.0 https://[::] https://224.0.0.1 https://[ff02::1]
https://255.255.255.255 https://2852039166 https://0xa9fea9fe https://0251.0376.0251.0376 https://0xa9.0xfe.0xa9.0xfe
https://169.254.43518 https://127.1 http://127.1 http://2130706433 http://0x7f000001 http://017700000001 https://240.0.0.1
http://s3.example.com http://10.0.0.1 http://192.168.1.5 http://8.8.8.8 http://localhost.example.com http://[2001:db8::1]
http://127.0.0.1.example.com https://1.2.3 https://1.2.3.4.5 https://999.1.1.1 javascript:alert(1) data:text/plain,x
https://h.example.com/../x https://h.example.com/%2e https://[::1 https://h.example.com/x@y
""",
)
ACCEPTED = {
    "https://s3.example.com": "https://s3.example.com",
    "https://s3.example.com/": "https://s3.example.com",
    "HTTPS://S3.Example.com:9000": "https://s3.example.com:9000",
    "http://localhost:7480": "http://localhost:7480",
    "http://127.0.0.1:7480": "http://127.0.0.1:7480",
    "http://[::1]:7480": "http://[::1]:7480",
    "https://10.1.2.3": "https://10.1.2.3",
    "https://[2606:4700::1]": "https://[2606:4700::1]",
}


def at(endpoint: str | None = "https://s3.example.com", provider: str = "ceph", **more: object) -> str:
    return bucket_address(bucket="backups", provider=provider, endpoint=endpoint, **more).endpoint  # type: ignore[arg-type]


def test_there_are_sixty_endpoints() -> None:
    assert len(set(REFUSED)) >= 60


@pytest.mark.parametrize("endpoint", [*sorted(set(REFUSED)), "https://ex ample.com", "https://ex\tample.com", ""])
def test_an_endpoint_that_is_not_what_it_looks_like_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        at(endpoint)
    assert caught.value.code == "config.invalid"
    assert "u:p" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("endpoint", ACCEPTED)
def test_an_endpoint_is_kept_in_one_form(endpoint: str) -> None:
    assert at(endpoint) == ACCEPTED[endpoint]


def test_plain_http_needs_consent() -> None:
    assert at("http://s3.example.com", allow_http=True) == "http://s3.example.com"
    with pytest.raises(ConfigError):
        at("http://169.254.169.254", allow_http=True)


def test_a_name_that_leads_to_a_forbidden_address_is_refused_before_the_first_connection() -> None:
    address = bucket_address(bucket="backups", provider="ceph", endpoint="https://localhost")
    refuse_forbidden_addresses(address)
    refuse_forbidden_addresses(replace(address, endpoint="https://no-such-host.invalid"))
    with pytest.raises(ConfigError):
        refuse_forbidden_addresses(replace(address, endpoint="https://169.254.169.254"))


@pytest.mark.parametrize(
    ("endpoint", "provider"),
    [
        (None, "s3"),
        ("https://s3.eu-central-1.amazonaws.com", "s3"),
        ("https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com", "s3"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "s3"),
        ("https://0123.eu.r2.cloudflarestorage.com", "r2"),
        ("https://s3.us-west-004.backblazeb2.com/", "b2"),
        ("https://S3.EU-central-1.WasabiSys.com:443", "wasabi"),
        ("https://s3.fr-par.scw.cloud", "scaleway"),
        ("https://localhost:7480", "ceph"),
        ("https://minio.example.com", "ceph"),
        ("https://amazonaws.com.example.com", "ceph"),
        ("https://[::1", "ceph"),
        ("", "ceph"),
    ],
)
def test_a_provider_is_told_from_its_endpoint(endpoint: str | None, provider: str) -> None:
    assert provider_of(endpoint) == provider


@pytest.mark.parametrize(
    ("provider", "endpoint", "region"),
    [
        ("s3", "https://s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("b2", "https://s3.us-west-004.backblazeb2.com/", "us-west-004"),
        ("wasabi", "https://S3.eu-west-1.wasabisys.com", "eu-west-1"),
        ("s3", "https://b.vpce-1.s3.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("ceph", "https://s3.eu-central-1.example.com", "us-east-1"),
    ],
)
def test_a_region_is_read_from_the_endpoint_or_the_providers_own(provider: str, endpoint: str, region: str) -> None:
    assert bucket_address(bucket="backups", provider=provider, endpoint=endpoint).region == region
    assert bucket_address(bucket="backups", provider=provider, endpoint=endpoint, region="x-1").region == "x-1"


def test_providers_know_their_endpoints() -> None:
    assert at(None, "s3", region="eu-central-1") == "https://s3.eu-central-1.amazonaws.com"
    assert at(None, "b2", region="us-west-004") == "https://s3.us-west-004.backblazeb2.com"
    assert at(None, "wasabi") == "https://s3.us-east-1.wasabisys.com"
    for provider in ("r2", "ceph"):
        with pytest.raises(ConfigError, match="needs its endpoint"):
            at(None, provider)
    with pytest.raises(ConfigError, match="region"):
        at(None, "b2")
    with pytest.raises(ConfigError):
        at(None, "s3", region="eu/../x")


@pytest.mark.parametrize(
    "bucket", ["", "ab", "A" * 5, "a" * 64, "a..b", "-ab", "ab-", "a_b", "a/b", "192.168.1.1", "a b"]
)
def test_names_that_no_bucket_has(bucket: str) -> None:
    with pytest.raises(ConfigError):
        bucket_address(bucket=bucket)


@pytest.mark.parametrize("prefix", ["..", "a/../b", "a//b", "a\\b", "a\0b", "x" * 600, ".partial-x", "é" * 300])
def test_prefixes_that_leave_the_bucket(prefix: str) -> None:
    with pytest.raises(ConfigError):
        bucket_address(bucket="backups", prefix=prefix)


def test_a_prefix_loses_its_outer_slashes() -> None:
    address = bucket_address(bucket="backups", prefix="/a/b/")
    assert (address.full("v1/x"), address.relative("a/b/v1/x"), str(address)) == (
        "a/b/v1/x",
        "v1/x",
        "s3://backups/a/b",
    )
    bare = bucket_address(bucket="backups")
    assert (bare.full("v1/x"), bare.relative("v1/x"), str(bare)) == ("v1/x", "v1/x", "s3://backups")


@pytest.mark.parametrize("text", ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_ca_file_must_hold_a_certificate(text: str) -> None:
    with pytest.raises(ConfigError, match="CA file"):
        at(ca_pem=text)
    with pytest.raises(ConfigError, match="private key"):
        at(ca_pem="-----BEGIN PRIVATE KEY-----")


# -- parts


@given(st.integers(0, 5 * TIB), st.sampled_from(sorted(PROFILES)))
def test_parts_hold_half_as_much_again_and_are_within_the_limits(expected: int, provider: str) -> None:
    profile = PROFILES[provider]
    size = part_bytes_for(expected, profile)
    assert size % MIB == 0
    assert max(LEAST_PART_BYTES, profile.min_part_bytes) <= size <= profile.max_part_bytes
    assert size * profile.max_parts >= 1.5 * expected or size == profile.max_part_bytes


def test_known_part_sizes() -> None:
    assert part_bytes_for(0, PROFILES["s3"]) == 5 * MIB
    assert part_bytes_for(30 * GIB, PROFILES["s3"]) == 5 * MIB
    assert part_bytes_for(100 * GIB, PROFILES["s3"]) == 17 * MIB
    assert part_bytes_for(100 * GIB, PROFILES["scaleway"]) == 162 * MIB
    with pytest.raises(StoreError) as caught:
        part_bytes_for(6 * TIB, PROFILES["s3"])
    assert caught.value.code == "store.part-limit"


@pytest.mark.parametrize("size", [1000, 65 * MIB])
def test_a_part_is_filled_emptied_and_used_again(size: int) -> None:
    part = Part(size, None)
    for data in (b"x" * 700, b"y" * 300):
        part.begin()
        assert part.add(memoryview(data)) == len(data)
        body = part.body()
        assert (bytes(body) if isinstance(body, bytearray) else body.read()) == data  # type: ignore[union-attr]
        assert part.filled_bytes == len(data)
    part.close()
    full = Part(1000, None)
    assert full.add(memoryview(b"z" * 1500)) == 1000
    assert full.full


def test_a_part_that_somebody_still_looks_at_can_be_used_again() -> None:
    """A client that could not send it holds its buffer until the garbage is collected."""
    part = Part(1000, None)
    part.add(memoryview(b"x" * 1000))
    body = part.body()
    assert isinstance(body, bytearray)
    with memoryview(body):
        part.begin()
        part.add(memoryview(b"y" * 10))
        assert part.body() == b"y" * 10


# -- rights


@pytest.mark.parametrize("provider", sorted(PROFILES))
def test_a_worker_cannot_delete_and_a_pruner_can_do_nothing_else(provider: str) -> None:
    found = bucket_policy(BucketSpec("backups", provider, "https://s3.example.com", "r", "p/q"))
    worker, prune = json.loads(found.worker), json.loads(found.prune)
    allowed = {action for statement in worker["Statement"] for action in statement["Action"]}
    assert not any("Delete" in action or "*" in action for action in allowed)
    assert {"s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:AbortMultipartUpload"} <= allowed
    may = {action for statement in prune["Statement"] for action in statement["Action"]}
    assert may >= {"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:ListBucketVersions"}
    assert not may & {"s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:BypassGovernanceRetention"}
    for statement in worker["Statement"] + prune["Statement"]:
        assert statement["Resource"] in ("arn:aws:s3:::backups", "arn:aws:s3:::backups/p/q/*")
        assert statement["Effect"] == "Allow"
    assert bool(found.rights) == (provider in ("r2", "b2"))


# -- what answers mean

ADDRESS = bucket_address(bucket="backups", endpoint="https://s3.example.com", prefix="p")


def answer(
    code: str, status: int, operation: str = "UploadPart", message: str | None = None, **headers: str
) -> StoreError:
    error = boto.ClientError(
        {
            "Error": {"Code": code, "Message": message},  # type: ignore[typeddict-item]
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},  # type: ignore[typeddict-item]
        },
        operation,
    )
    return mishaps.of_answer(error, operation, "p/v1/x", ADDRESS)


@pytest.mark.parametrize(
    ("code", "status", "ours", "retry"),
    [
        ("AccessDenied", 403, "store.denied", False),
        ("403", 403, "store.denied", False),
        ("UserSuspended", 403, "store.denied", False),
        ("InvalidAccessKeyId", 403, "store.credentials", False),
        ("SignatureDoesNotMatch", 403, "store.credentials", False),
        ("RequestTimeTooSkewed", 403, "store.clock", False),
        ("NoSuchBucket", 404, "store.no-bucket", False),
        ("NoSuchKey", 404, "store.missing", False),
        ("NoSuchUpload", 404, "store.missing", False),
        ("QuotaExceeded", 403, "store.full", False),
        ("XMinioStorageFull", 507, "store.full", False),
        ("PermanentRedirect", 301, "store.region", False),
        ("AuthorizationHeaderMalformed", 400, "store.region", False),
        ("PreconditionFailed", 412, "store.exists", False),
        ("SlowDown", 503, "store.io", True),
        ("InternalError", 500, "store.io", True),
        ("TooManyRequests", 429, "store.io", True),
        ("RequestTimeout", 400, "store.timeout", True),
        ("504", 504, "store.timeout", True),
        ("BadDigest", 400, "store.io", True),
        ("ConditionalRequestConflict", 409, "store.io", True),
        ("NotImplemented", 501, "store.io", False),
        ("EntityTooSmall", 400, "store.io", False),
        ("", 0, "store.io", False),
    ],
)
@pytest.mark.parametrize("message", [None, "words of the provider"])
def test_answers(code: str, status: int, ours: str, retry: bool, message: str | None) -> None:
    error = answer(code, status, message=message)
    assert (error.code, error.retry) == (ours, retry)
    assert error.hint
    assert pickle.loads(pickle.dumps(error)).code == ours


def test_the_right_region_is_in_the_hint() -> None:
    assert "`--region eu-west-3`" in answer("PermanentRedirect", 301, **{"x-amz-bucket-region": "eu-west-3"}).hint
    assert "; rm" not in answer("PermanentRedirect", 301, **{"x-amz-bucket-region": "x; rm -rf"}).hint


def test_the_hint_of_a_denial_is_the_statement() -> None:
    hint = answer("AccessDenied", 403, "ListObjectsV2").hint
    statement = json.loads(hint[hint.index("{") : hint.rindex("}") + 1])
    assert statement["Action"] == ["s3:ListBucket"]
    assert statement["Condition"] == {"StringLike": {"s3:prefix": "p/*"}}


def test_no_secret_is_in_any_text() -> None:
    with holding("sEcReTsEcReT"):
        error = answer("InvalidRequest", 400, message="you sent sEcReTsEcReT")
    assert "sEcReT" not in error.message
    assert "sEcReT" not in repr(BucketKeys(BucketKey("sEcReT", "sEcReT"))) + repr(BucketKey("sEcReT", "sEcReT"))


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (boto.ReadTimeoutError(endpoint_url="x"), "store.timeout"),
        (boto.ConnectTimeoutError(endpoint_url="x"), "store.timeout"),
        (
            boto.ConnectionClosedError(endpoint_url="x", error=TimeoutError("The write operation timed out")),
            "store.timeout",
        ),
        (boto.ConnectionClosedError(endpoint_url="x"), "store.io"),
        (boto.EndpointConnectionError(endpoint_url="x", error=OSError("Connection refused")), "store.unreachable"),
        (
            boto.SSLError(endpoint_url="x", error=OSError("[SSL: WRONG_VERSION_NUMBER] wrong version number")),
            "store.tls",
        ),
        (
            boto.SSLError(endpoint_url="x", error=OSError("CERTIFICATE_VERIFY_FAILED: self-signed certificate")),
            "store.tls",
        ),
        (
            boto.SSLError(endpoint_url="x", error=OSError("Hostname mismatch, certificate is not valid for 'x'")),
            "store.tls",
        ),
        (boto.SSLError(endpoint_url="x", error=OSError("certificate has expired")), "store.tls"),
        (ConnectionResetError(104, "Connection reset by peer"), "store.io"),
    ],
)
def test_lines_that_fail(error: Exception, ours: str) -> None:
    found = mishaps.of_transport(error, "GetObject", ADDRESS)
    assert found.code == ours
    assert found.retry == (ours in ("store.timeout", "store.io", "store.unreachable"))


# -- the catalog


def test_a_bucket_is_kept_whole(catalog: Catalog) -> None:
    spec = settled(BucketSpec("backups", "ceph", "http://s3.example.com", None, "/p/", None, allow_http=True))
    record = replace(
        destination("d1"),
        kind=DestinationKind.S3,
        folder=None,
        bucket=replace(spec, ca_pem="PEM"),
        keys=SealedKeys("a", "b", "c", "d"),
    )
    plain = replace(record, id="d2", name="other", keys=SealedKeys("e", "f"), bucket=spec)
    with catalog.write() as tx:
        catalogs.destinations.add(tx, record)
        catalogs.destinations.add(tx, plain)
        catalogs.destinations.add(tx, destination("d3"))
    with catalog.read() as tx:
        assert [catalogs.destinations.get(tx, id_) for id_ in ("d1", "d2", "d3")] == [record, plain, destination("d3")]
    assert record.where == "s3://backups/p"
    changed = replace(record, keys=SealedKeys("g", "h"))
    with catalog.write() as tx:
        catalogs.destinations.change_keys(tx, changed)
        assert catalogs.destinations.get(tx, "d1") == changed
