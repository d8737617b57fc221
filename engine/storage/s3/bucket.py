"""The calls that are made to one bucket, typed, each with its errors translated. Nothing else here calls boto3.

boto3 is loaded at the first call. Its retries are off: only the rooms above know which call may be repeated. Its
checksums are off, too (``when_required``): several providers refuse them. Over https the payload is not signed, because
TLS and the artifact's own seal protect it; over plain http it is.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from engine.cancel import CancelToken
from engine.errors import OffsiteError, StoreError
from engine.model import BucketKey
from engine.redact import holding
from engine.storage.s3.address import BucketAddress, Timeouts, refuse_forbidden_addresses

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        CompleteMultipartUploadRequestTypeDef,
        GetObjectLegalHoldRequestTypeDef,
        GetObjectRequestTypeDef,
        GetObjectRetentionRequestTypeDef,
        ObjectLockRetentionOutputTypeDef,
        PutObjectRequestTypeDef,
        UploadPartRequestTypeDef,
    )

Body: TypeAlias = bytes | bytearray | BinaryIO

_CONNECTIONS = 10
"""Of one client's pool: uploads and downloads of one job, and room for the calls between them."""
_PIECE_BYTES = 1 << 18
_MD5 = re.compile("[0-9A-Fa-f]{32}")


@dataclass(frozen=True, slots=True)
class Head:
    """What an object is: size in bytes, ETag without quotes, when it was written by the provider's clock."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, or (``marker``) the note that it was deleted. ``id`` is ``null`` without versioning."""

    id: str
    marker: bool


@dataclass(frozen=True, slots=True)
class Lock:
    """What Object Lock holds: all empty where nothing does."""

    mode: str
    until: datetime | None
    legal_hold: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """An upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Sent:
    """A part that has arrived. ``etag`` as the provider gave it, quotes included; ``md5`` if that states one."""

    number: int
    etag: str
    md5: bytes | None


class Bucket:
    """One bucket under one key. Keys of objects are whole here, prefix included. Safe across threads."""

    def __init__(self, address: BucketAddress, key: BucketKey, timeouts: Timeouts) -> None:
        self.address = address
        self._key = key
        self._timeouts = timeouts
        self._lock = threading.Lock()
        self._made: S3Client | None = None

    def make_ready(self) -> None:
        """Load boto3 and make the client in a thread beside: that takes half a second, which nobody need wait for."""
        threading.Thread(target=self._prepare, name="bucket-client", daemon=True).start()

    def _prepare(self) -> None:
        try:
            self._client()
        except OffsiteError:
            return  # the first call says it again, to somebody who listens

    def create_upload(self, key: str) -> str:
        """Begin a multipart upload: its id."""
        with self._calling("CreateMultipartUpload", key) as s3:
            return s3.create_multipart_upload(Bucket=self.address.bucket, Key=key)["UploadId"]

    def send_part(self, key: str, upload_id: str, number: int, body: Body, *, declared_md5: bytes | None) -> Sent:
        """Send part ``number``, with its MD5 where the bucket asks for one: the provider then compares it."""
        request: UploadPartRequestTypeDef = {
            "Bucket": self.address.bucket,
            "Key": key,
            "UploadId": upload_id,
            "PartNumber": number,
            "Body": _as_typed(body),
        }
        if declared_md5 is not None:
            request["ContentMD5"] = base64.b64encode(declared_md5).decode()
        with self._calling("UploadPart", key) as s3:
            answer = s3.upload_part(**request)
        return Sent(number, answer["ETag"], self._md5_in(answer["ETag"], answer.get("ServerSideEncryption")))

    def complete(self, key: str, upload_id: str, parts: Sequence[Sent], *, absent: bool) -> None:
        """Make the object out of its parts; with ``absent`` only if there is none, where the provider can do that."""
        listed: list[CompletedPartTypeDef] = [{"PartNumber": p.number, "ETag": p.etag} for p in parts]
        request: CompleteMultipartUploadRequestTypeDef = {
            "Bucket": self.address.bucket,
            "Key": key,
            "UploadId": upload_id,
            "MultipartUpload": {"Parts": listed},
        }
        if absent:
            request["IfNoneMatch"] = "*"
        with self._calling("CompleteMultipartUpload", key) as s3:
            s3.complete_multipart_upload(**request)

    def abort(self, key: str, upload_id: str) -> bool:
        """Abort an upload; False when there is none."""
        try:
            with self._calling("AbortMultipartUpload", key) as s3:
                s3.abort_multipart_upload(Bucket=self.address.bucket, Key=key, UploadId=upload_id)
        except StoreError as e:
            if e.code == "store.missing":
                return False
            raise
        return True

    def put(self, key: str, body: Body, *, md5: bytes, absent: bool, declare_md5: bool) -> None:
        """Write an object whole; with ``absent`` only if there is none."""
        request: PutObjectRequestTypeDef = {"Bucket": self.address.bucket, "Key": key, "Body": _as_typed(body)}
        if declare_md5:
            request["ContentMD5"] = base64.b64encode(md5).decode()
        if absent:
            request["IfNoneMatch"] = "*"
        with self._calling("PutObject", key) as s3:
            answer = s3.put_object(**request)
        stated = self._md5_in(answer.get("ETag", ""), answer.get("ServerSideEncryption"))
        if stated not in (None, md5):
            raise StoreError("store.io", f"what arrived of {key} is not what was sent", retry=True)

    def head(self, key: str) -> Head:
        """What the object is. Raises StoreError ``store.missing``.

        Without the right to list, and under a policy that allows it beneath the prefix only, a missing object is
        answered with 403: then the list says whether it is there.
        """
        try:
            with self._calling("HeadObject", key) as s3:
                found = s3.head_object(Bucket=self.address.bucket, Key=key)
        except StoreError as e:
            if e.code == "store.denied" and not self._is_listed(key):
                raise StoreError("store.missing", f"there is no object {key}", context={"key": key}) from e
            raise
        return Head(key, found["ContentLength"], found.get("ETag", "").strip('"'), _instant(found["LastModified"]))

    def read(self, key: str, start: int, size_bytes: int, etag: str, stop: CancelToken) -> bytearray:
        """``size_bytes`` from ``start`` of the version ``etag``. Raises StoreError ``store.io`` when it was cut."""
        request: GetObjectRequestTypeDef = {
            "Bucket": self.address.bucket,
            "Key": key,
            "Range": f"bytes={start}-{start + size_bytes - 1}",
        }
        if etag:
            request["IfMatch"] = f'"{etag}"'
        data = bytearray(size_bytes)
        at = 0
        with self._calling("GetObject", key) as s3, memoryview(data) as room:
            answer = s3.get_object(**request)
            with closing(answer["Body"]) as body:  # as a context manager it gives urllib3's stream, and its errors
                while got := body.readinto(_as_typed_room(room[at : at + _PIECE_BYTES])):
                    stop.check()
                    at += got
                whole = at == size_bytes and not body.read(1)
        if not whole:
            raise StoreError("store.io", f"reading {key}: not the {size_bytes} bytes asked for arrived", retry=True)
        return data

    def list(self, prefix: str) -> Iterator[Head]:
        """The objects whose keys begin with ``prefix``, in the order of their bytes."""
        return self._list(prefix)

    def delete(self, key: str) -> bool:
        """Delete; whether the bucket keeps the old version."""
        with self._calling("DeleteObject", key) as s3:
            answer = s3.delete_object(Bucket=self.address.bucket, Key=key)
        return bool(answer.get("DeleteMarker"))

    def delete_version(self, key: str, version: str) -> None:
        """Delete one version for good. Raises StoreError ``store.denied`` also where a lock holds it."""
        with self._calling("DeleteObjectVersion", key) as s3:
            s3.delete_object(Bucket=self.address.bucket, Key=key, VersionId=version)

    def versions(self, key: str) -> tuple[Version, ...]:
        """Every version and delete marker of one object, the newest first."""
        found: tuple[Version, ...] = ()
        with self._calling("ListObjectVersions", key) as s3:
            pages = s3.get_paginator("list_object_versions").paginate(Bucket=self.address.bucket, Prefix=key)
            for page in pages:
                found += tuple(Version(v["VersionId"], False) for v in page.get("Versions", ()) if v["Key"] == key)
                found += tuple(Version(v["VersionId"], True) for v in page.get("DeleteMarkers", ()) if v["Key"] == key)
        return found

    def lock(self, key: str, version: str | None = None) -> Lock:
        """The Object Lock of an object, or of one version; none where the provider or the bucket has no locks.

        Raises StoreError, ``store.denied`` where the key may not see locks.
        """
        kept, hold = self._kept(key, version), self._hold(key, version)
        until = kept.get("RetainUntilDate")
        return Lock(str(kept.get("Mode", "")).lower(), None if until is None else until.astimezone(UTC), hold)

    def lock_of_head(self, key: str) -> Lock:
        """What a HEAD of the object tells of its lock: nothing where the key may not see it."""
        with self._calling("HeadObject", key) as s3:
            found = s3.head_object(Bucket=self.address.bucket, Key=key)
        told = "ObjectLockRetainUntilDate" in found
        return Lock(
            str(found.get("ObjectLockMode", "")).lower(),
            found["ObjectLockRetainUntilDate"].astimezone(UTC) if told else None,
            found.get("ObjectLockLegalHoldStatus") == "ON",
        )

    def _kept(self, key: str, version: str | None) -> ObjectLockRetentionOutputTypeDef:
        request: GetObjectRetentionRequestTypeDef = {"Bucket": self.address.bucket, "Key": key}
        if version is not None:
            request["VersionId"] = version
        try:
            with self._calling("GetObjectRetention", key) as s3:
                return s3.get_object_retention(**request).get("Retention", {})
        except StoreError as e:
            if not _no_locks(e):
                raise
        return {}

    def _hold(self, key: str, version: str | None) -> bool:
        request: GetObjectLegalHoldRequestTypeDef = {"Bucket": self.address.bucket, "Key": key}
        if version is not None:
            request["VersionId"] = version
        try:
            with self._calling("GetObjectLegalHold", key) as s3:
                return s3.get_object_legal_hold(**request).get("LegalHold", {}).get("Status") == "ON"
        except StoreError as e:
            if not _no_locks(e):
                raise
        return False

    def unfinished(self, prefix: str) -> Iterator[Begun]:
        """The uploads whose keys begin with ``prefix`` that were begun and not ended."""
        with self._calling("ListMultipartUploads", prefix) as s3:
            pages = iter(s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.address.bucket, Prefix=prefix))
        while True:
            with self._calling("ListMultipartUploads", prefix):
                page = next(pages, None)
            if page is None:
                return
            for one in page.get("Uploads", ()):
                yield Begun(one["Key"], one["UploadId"], one["Initiated"].astimezone(UTC))

    def sent_bytes(self, key: str, upload_id: str) -> int:
        """How much of an unfinished upload lies there."""
        total = 0
        with self._calling("ListParts", key) as s3:
            pages = s3.get_paginator("list_parts").paginate(Bucket=self.address.bucket, Key=key, UploadId=upload_id)
            for page in pages:
                total += sum(part["Size"] for part in page.get("Parts", ()))
        return total

    def _is_listed(self, key: str) -> bool:
        first = next(self._list(key, page_size=1), None)  # of all keys that begin with it the key itself comes first
        return first is not None and first.key == key

    def _list(self, prefix: str, page_size: int = 1000) -> Iterator[Head]:
        with self._calling("ListObjectsV2", prefix) as s3:
            pages = iter(
                s3.get_paginator("list_objects_v2").paginate(
                    Bucket=self.address.bucket, Prefix=prefix, PaginationConfig={"PageSize": page_size}
                )
            )
        while True:
            with self._calling("ListObjectsV2", prefix):
                page = next(pages, None)
            if page is None:
                return
            for one in page.get("Contents", ()):
                etag = one.get("ETag", "").strip('"')
                yield Head(one["Key"], one["Size"], etag, _instant(one["LastModified"]))

    def _md5_in(self, etag: str, encryption: str | None) -> bytes | None:
        """The MD5 that an ETag is; None where this provider's is none."""
        given = etag.strip('"')
        stated = self.address.profile.etag_is_md5 and not (encryption or "").startswith("aws:kms")
        return bytes.fromhex(given) if stated and _MD5.fullmatch(given) else None

    @contextmanager
    def _calling(self, operation: str, key: str) -> Iterator[S3Client]:
        """The client, and the translation of what goes wrong with it."""
        with holding(*self._key.secrets()):
            client = self._client()
            # imported here: see the module's docstring
            from botocore.exceptions import BotoCoreError, ClientError

            from engine.storage.s3 import mishaps

            try:
                yield client
            except ClientError as e:
                raise mishaps.of_answer(e, operation, key, self.address) from e
            except (BotoCoreError, OSError) as e:
                raise mishaps.of_transport(e, operation, self.address) from e

    def _client(self) -> S3Client:
        with self._lock:
            if self._made is None:
                refuse_forbidden_addresses(self.address)
                self._made = _make_client(self.address, self._key, self._timeouts)
            return self._made


def _no_locks(error: StoreError) -> bool:
    """Whether an answer to a question about locks means that there are none: providers say so in many ways."""
    unknown = error.code == "store.io" and error.context.get("status") in (400, 405, 501)
    return unknown or error.code == "store.missing"


def _make_client(address: BucketAddress, key: BucketKey, timeouts: Timeouts) -> S3Client:
    """A client that knows nothing but what it is told here: no profiles, no files, no environment of other programs."""
    import boto3
    import botocore.session
    from botocore.config import Config

    from engine.storage.s3 import models

    none = {name: (None, None, value, None) for name, value in _IGNORED.items()}
    core = botocore.session.Session(session_vars=none)
    core.register_component("data_loader", models.loader())
    session = boto3.Session(
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        region_name=address.region,
        botocore_session=core,
    )
    ca_file, forget = (None, None) if address.ca_pem is None else _file_of(address.ca_pem)
    client: S3Client = session.client(
        "s3",
        endpoint_url=address.endpoint,
        verify=True if ca_file is None else ca_file,
        config=Config(
            signature_version="s3v4",
            connect_timeout=timeouts.connect_s,
            read_timeout=timeouts.read_s,
            max_pool_connections=_CONNECTIONS,
            retries={"total_max_attempts": 1, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            use_dualstack_endpoint=False,
            use_fips_endpoint=False,
            s3={
                "addressing_style": "virtual" if address.virtual else "path",
                "payload_signing_enabled": not address.encrypted,
            },
        ),
    )
    client.meta.events.register_last("before-parameter-build.s3", _never_redirect)
    if forget is not None:
        weakref.finalize(client, forget)
    return client


def _never_redirect(context: dict[str, Any], **_: object) -> None:
    """Have botocore take each request for one that was redirected already.

    It would go and ask for the bucket's region by itself, and for ever where the answer does not name one. The operator
    says the region; what it should be is in our error.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True


_IGNORED = {"profile": None, "config_file": os.devnull, "credentials_file": os.devnull, "ca_bundle": None}


def _file_of(text: str) -> tuple[str, Callable[[], None]]:
    """A file with ``text`` for a library that reads certificates from files only, and how to forget it."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("ca", os.MFD_CLOEXEC)
        os.write(fd, text.encode())
        return f"/proc/self/fd/{fd}", lambda: os.close(fd)
    made, name = tempfile.mkstemp(prefix="offsitedb-ca-", suffix=".pem")
    os.write(made, text.encode())
    os.close(made)
    return name, lambda: Path(name).unlink(missing_ok=True)


def _instant(at: datetime) -> datetime:
    """Whole seconds: the list knows fractions that the header of a single object lacks."""
    return at.astimezone(UTC).replace(microsecond=0)


def _as_typed_room(room: memoryview) -> IO[bytes]:
    """botocore fills any buffer, its stubs want a file."""
    return cast("IO[bytes]", room)


def _as_typed(body: Body) -> bytes | BinaryIO:
    """boto3 takes a bytearray, its stubs do not know."""
    return cast("bytes", body) if isinstance(body, bytearray) else body
