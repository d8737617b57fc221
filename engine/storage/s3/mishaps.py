"""What boto3 and the providers say when something goes wrong, translated once into our own errors.

Errors are told by code and status, not by text: Ceph sends no text, and answers to HEAD have no body at all. Nothing
that was sent is ever repeated, and the keys are held away from every text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from botocore import exceptions as boto

from engine.errors import StoreError
from engine.redact import redact
from engine.storage.s3.address import BucketAddress
from engine.storage.s3.policy import ACTION_OF, statement_for

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

Context: TypeAlias = dict[str, str | int | float | bool | None]

_FULL = frozenset(
    {
        "QuotaExceeded",
        "StorageQuotaExceeded",
        "InsufficientStorage",
        "XMinioStorageFull",
        "XMinioAdminBucketQuotaExceeded",
        "InsufficientCapacity",
        "storage_cap_exceeded",
    }
)
_WRONG_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "UnknownAccessKey"})
_OTHER_REGION = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "Redirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "301",
        "307",
    }
)
_SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_DAMAGED = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"})
_SLOW = frozenset({"RequestTimeout", "RequestTimeoutException", "SlowDown", "SlowDownRead", "SlowDownWrite"})
_CONFLICT = frozenset({"ConditionalRequestConflict", "OperationAborted"})
_MISSING = frozenset({"NoSuchKey", "NoSuchUpload", "404"})
_HTTP_AT_TLS = "WRONG_VERSION_NUMBER"
_SPEAKS_TLS = ("plain HTTP request was sent to HTTPS", "Client sent an HTTP request to an HTTPS server")


def of_answer(error: ClientError, operation: str, key: str, address: BucketAddress) -> StoreError:
    """What an answer with an error means. ``context`` has ``s3_code``, ``status`` and ``operation``."""
    answer: Mapping[str, Any] = error.response
    said: Mapping[str, Any] = answer.get("Error", {})
    meta: Mapping[str, Any] = answer.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    code = str(said.get("Code") or status)
    text = redact(str(said.get("Message") or ""))[:200]
    context: Context = {"s3_code": code[:60], "status": status, "operation": operation, "key": key}
    shown = f"{code} ({status})" if code != str(status) else code

    def made(ours: str, message: str, hint: str | None = None, *, retry: bool = False) -> StoreError:
        return StoreError(ours, message, hint=hint, context=context, retry=retry)

    if code == "NoSuchBucket":
        return made("store.no-bucket", f"there is no bucket {address.bucket} at {address.host}")
    if code in _MISSING or (status == 404 and operation != "ListObjectsV2"):
        what = "unfinished upload of" if code == "NoSuchUpload" else "object"
        return made("store.missing", f"there is no {what} {key}")
    if code in _FULL or status == 507:
        return made("store.full", f"the bucket {address.bucket} is full, or its quota is used up: {shown}")
    if code in _WRONG_KEYS:
        return made("store.credentials", _wrong_keys(code))
    if code in _SKEWED:
        return made("store.clock", "this machine's clock and the provider's are too far apart")
    if code in _OTHER_REGION:
        return _other_region(answer, shown, address, context)
    if status == 412 or code == "PreconditionFailed":
        return made("store.exists", f"an object {key} is there already")
    if any(known in text for known in _SPEAKS_TLS):
        return made("store.tls", f"{address.host} expects https", _https_hint(address))
    if status in (401, 403):
        return _denied(operation, shown, text, address, context)
    retry = (status >= 500 and status != 501) or status == 429 or code in _SLOW | _CONFLICT | _DAMAGED
    ours = "store.timeout" if code in ("RequestTimeout", "RequestTimeoutException") or status == 504 else "store.io"
    if code == "400" and not address.encrypted:
        return made(ours, f"{operation} was answered with {shown}", _https_hint(address), retry=retry)
    return made(ours, f"{operation} was answered with {shown}{': ' + text if text else ''}", retry=retry)


def of_transport(error: Exception, operation: str, address: BucketAddress) -> StoreError:
    """What it means that there was no whole answer."""
    context = {"operation": operation}
    where = f"{address.host} ({operation})"
    if isinstance(error, boto.SSLError):
        return _tls(str(error), address)
    if isinstance(error, boto.ConnectTimeoutError):
        return StoreError("store.timeout", f"no connection in time to {where}", context=context, retry=True)
    # a body that the other side does not take times out while it is written: botocore calls that a closed connection
    if isinstance(error, boto.ReadTimeoutError) or "timed out" in _inner(error) or isinstance(error, TimeoutError):
        return StoreError("store.timeout", f"no answer in time from {where}", context=context, retry=True)
    if isinstance(error, boto.EndpointConnectionError | boto.ProxyConnectionError):
        return StoreError(
            "store.unreachable",
            f"no connection to {where}: {_cause(error)}",
            hint=f"Check the endpoint {address.endpoint}{_as_a_name(address)} and the network from here to there.",
            context=context,
            retry=True,
        )
    if isinstance(error, boto.HTTPClientError | boto.IncompleteReadError | OSError):
        hint = None if address.encrypted else _https_hint(address)
        return StoreError("store.io", f"the connection to {where} was cut", hint=hint, context=context, retry=True)
    if isinstance(error, boto.ParamValidationError):
        return StoreError("store.bad-key", f"{operation} cannot be asked: the request is not valid", context=context)
    return StoreError("store.io", f"{operation} failed: {type(error).__name__}: {error}"[:300], context=context)


def _denied(operation: str, shown: str, text: str, address: BucketAddress, context: Context) -> StoreError:
    if "UserSuspended" in shown:
        return StoreError(
            "store.denied",
            "the provider has suspended the user whose key this is",
            hint="Ask the provider, or whoever runs the storage, to enable the user again.",
            context=context,
        )
    action = ACTION_OF[operation]
    where = address.profile.rights or (
        f"Allow it with this statement: {statement_for(address, operation)}. The whole policy: "
        f"`offsitedb destination policy --bucket {address.bucket} --provider {address.profile.name}"
        f"{' --prefix ' + address.prefix if address.prefix else ''}`."
    )
    return StoreError(
        "store.denied",
        f"the key may not do {action} in {address}: {shown}{': ' + text if text else ''}",
        hint=where,
        context=context,
    )


def _wrong_keys(code: str) -> str:
    if code == "SignatureDoesNotMatch":
        return "the secret access key is not the one that belongs to the access key id"
    return "the provider does not know the access key id"


def _other_region(answer: Mapping[str, Any], shown: str, address: BucketAddress, context: Context) -> StoreError:
    headers: Mapping[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    said: Mapping[str, Any] = answer.get("Error", {})
    region = str(headers.get("x-amz-bucket-region") or said.get("Region") or "")
    found = region if region.replace("-", "").isalnum() and len(region) <= 40 else ""
    return StoreError(
        "store.region",
        f"the bucket {address.bucket} is not in the region {address.region}: {shown}",
        hint=f"Say `--region {found}`." if found else None,
        context={**context, "region": found},
    )


def _tls(text: str, address: BucketAddress) -> StoreError:
    if _HTTP_AT_TLS in text or "record layer failure" in text:
        return StoreError(
            "store.tls",
            f"{address.host} does not speak https at this port",
            hint="Check the port. If the endpoint has no https at all and the network is trusted: an endpoint that "
            "begins with `http://`, and `--allow-http`.",
        )
    if "Hostname mismatch" in text or "IP address mismatch" in text or "doesn't match" in text:
        return StoreError(
            "store.tls",
            f"the certificate of {address.host} is for another name",
            hint="Use the host name that the certificate was made for as the endpoint.",
        )
    if "expired" in text:
        return StoreError(
            "store.tls",
            f"the certificate of {address.host} has expired, or this machine's clock is wrong",
            hint="Have the certificate renewed, or set the clock.",
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return StoreError("store.tls", f"the certificate of {address.host} is not signed by a CA that is trusted here")
    return StoreError("store.io", f"the encrypted connection to {address.host} broke", retry=True)


def _https_hint(address: BucketAddress) -> str:
    return f"The endpoint may want https: try `https://{address.endpoint.partition('://')[2]}`."


def _as_a_name(address: BucketAddress) -> str:
    """Amazon's buckets are names before the endpoint's: what does not resolve may be that one."""
    return f", where the bucket is asked for as {address.bucket}.{address.host}," if address.virtual else ""


def _inner(error: BaseException) -> str:
    """What botocore was told by urllib3, which it does not always repeat."""
    return str(error.kwargs.get("error", "")) if isinstance(error, boto.BotoCoreError) else ""


def _cause(error: BaseException) -> str:
    """The system's words of why there is no connection, without the objects' addresses that urllib3 adds."""
    text = _inner(error)
    for known in ("Connection refused", "Network is unreachable", "No route to host"):
        if known in text:
            return known.lower()
    if "resolve" in text or "Name or service" in text or "nodename" in text:
        return "the host name does not resolve"
    return "it cannot be reached"
