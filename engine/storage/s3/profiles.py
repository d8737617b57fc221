"""How S3-compatible providers differ: where their endpoints are, how many parts an upload may have, what they lack.

Limits are the providers' published ones. A provider that is not here is used with ``ceph``, the most cautious profile:
path addressing, an endpoint that has to be named, nothing taken for granted that the round trip does not try.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import ConfigError

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40


@dataclass(frozen=True, slots=True)
class Profile:
    """One provider. Sizes in bytes; ``endpoint`` is a template with ``{region}``, None where it must be given.

    ``conditional_put`` and ``conditional_complete``: ``If-None-Match: *`` is obeyed by PutObject, and by
    CompleteMultipartUpload (where it is not, a look before the write must do). ``etag_is_md5``: a part's ETag is the
    MD5 of its bytes unless the provider says that it encrypted them under a key of KMS.
    """

    name: str
    title: str
    endpoint: str | None
    region: str | None
    path_style: bool
    max_parts: int = 10_000
    min_part_bytes: int = 5 * MIB
    max_part_bytes: int = 5 * GIB
    max_object_bytes: int = 5 * TIB
    conditional_put: bool = False
    conditional_complete: bool = False
    etag_is_md5: bool = True
    example: str = "URL"
    """What an endpoint looks like that cannot be known."""
    rights: str = ""
    """How this provider grants rights, where it has no policies of the kind that AWS has."""


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "s3",
            "Amazon S3",
            "https://s3.{region}.amazonaws.com",
            "us-east-1",
            path_style=False,
            conditional_put=True,
            conditional_complete=True,
        ),
        Profile(
            "r2",
            "Cloudflare R2",
            None,
            "auto",
            path_style=True,
            conditional_put=True,
            example="https://ACCOUNT.r2.cloudflarestorage.com",
            rights="R2 has no policies: make an API token with `Object Read & Write` for this bucket alone. "
            "It can delete, too; a bucket lock rule is what keeps snapshots from being deleted.",
        ),
        Profile(
            "b2",
            "Backblaze B2",
            "https://s3.{region}.backblazeb2.com",
            None,
            path_style=True,
            rights="B2 has no policies: make an application key for this bucket and prefix with the capabilities "
            "listBuckets, listFiles, readFiles and writeFiles; the prune credential has deleteFiles, listFiles, "
            "readFileRetentions and readFileLegalHolds.",
        ),
        Profile("wasabi", "Wasabi", "https://s3.{region}.wasabisys.com", "us-east-1", path_style=True),
        Profile("scaleway", "Scaleway", "https://s3.{region}.scw.cloud", "fr-par", path_style=True, max_parts=1_000),
        Profile(
            "ceph", "Ceph RADOS Gateway, MinIO and others", None, "us-east-1", path_style=True, conditional_put=True
        ),
    )
}


_HOSTS = {
    "s3": (".amazonaws.com", ".amazonaws.com.cn"),
    "r2": (".r2.cloudflarestorage.com",),
    "b2": (".backblazeb2.com",),
    "wasabi": (".wasabisys.com",),
    "scaleway": (".scw.cloud",),
}


def provider_at(host: str | None) -> str:
    """The name of the profile for an endpoint at ``host``; None is where nobody named one: Amazon's."""
    if host is None:
        return "s3"
    at = f".{host.rstrip('.').lower()}"
    return next((name for name, ends in _HOSTS.items() if at.endswith(ends)), "ceph")


def profile_of(name: str) -> Profile:
    """The profile called ``name``. Raises ConfigError ``config.invalid``."""
    found = PROFILES.get(name)
    if found is None:
        raise ConfigError(
            "config.invalid",
            f"unknown provider {name[:40]!r}",
            hint=f"Choose one of: {', '.join(PROFILES)}. Anything else that speaks S3 works with `ceph`.",
        )
    return found
