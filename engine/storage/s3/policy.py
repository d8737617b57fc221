"""The rights that a destination needs, and no more, as policy statements that can be pasted.

The worker reads, writes, lists and takes back its own unfinished uploads, all beneath the prefix. It has no right to
delete: that is the prune credential's, which nothing but deleting is done with: it sees versions and locks, no content.
"""

from __future__ import annotations

import json
from typing import Final

from engine.storage.s3.address import BucketAddress

_OBJECT_ACTIONS: Final = ("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_LISTED: Final = ("s3:ListBucket",)
_UNFINISHED: Final = ("s3:ListBucketMultipartUploads",)
"""Without the condition on the prefix: Ceph does not tell its policies the prefix of this call. It shows names only."""
_PRUNE_ACTIONS: Final = (
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
)
_VERSIONS: Final = ("s3:ListBucketVersions",)
"""In a bucket that keeps versions: without it pruning can only mark objects as deleted."""

ACTION_OF: Final = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjectVersion": "s3:DeleteObjectVersion",
    "GetObject": "s3:GetObject",
    "GetObjectLegalHold": "s3:GetObjectLegalHold",
    "GetObjectRetention": "s3:GetObjectRetention",
    "HeadObject": "s3:GetObject",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListObjectsV2": "s3:ListBucket",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
}
"""Which right each call needs."""


def worker_policy(address: BucketAddress) -> str:
    """The policy of the worker's key, JSON."""
    return _document(
        _of_objects(address, _OBJECT_ACTIONS), _of_bucket(address, _LISTED), _of_bucket(address, _UNFINISHED)
    )


def prune_policy(address: BucketAddress) -> str:
    """The policy of the prune credential, JSON."""
    return _document(_of_objects(address, _PRUNE_ACTIONS), _of_bucket(address, _VERSIONS))


def statement_for(address: BucketAddress, operation: str) -> str:
    """The statement that allows ``operation`` (a call's name in S3's API), JSON on one line."""
    action = ACTION_OF[operation]
    of_bucket = action in _LISTED + _UNFINISHED + _VERSIONS
    made = _of_bucket(address, (action,)) if of_bucket else _of_objects(address, (action,))
    return json.dumps(made)


def _document(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=2)


def _of_objects(address: BucketAddress, actions: tuple[str, ...]) -> dict[str, object]:
    return {
        "Effect": "Allow",
        **_principal(address),
        "Action": list(actions),
        "Resource": f"arn:aws:s3:::{address.bucket}/{address.full('*')}",
    }


def _of_bucket(address: BucketAddress, actions: tuple[str, ...]) -> dict[str, object]:
    statement: dict[str, object] = {
        "Effect": "Allow",
        **_principal(address),
        "Action": list(actions),
        "Resource": f"arn:aws:s3:::{address.bucket}",
    }
    if address.prefix and actions in (_LISTED, _VERSIONS):
        statement["Condition"] = {"StringLike": {"s3:prefix": f"{address.prefix}/*"}}
    return statement


def _principal(address: BucketAddress) -> dict[str, object]:
    """Ceph has policies of buckets, which name whom they are for; elsewhere the policy belongs to the key's user."""
    return {"Principal": {"AWS": ["arn:aws:iam:::user/USER"]}} if address.profile.name == "ceph" else {}
