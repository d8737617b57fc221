"""A bucket as a destination: which one, and the keys to it, in clear (only in memory) and sealed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BucketSpec:
    """Which bucket, as an operator says it. ``ca_pem`` is the content of the CA file; ``prefix`` may be empty.

    In the catalog ``endpoint`` and ``region`` are what they were when the destination was added, never a default that
    may change.
    """

    bucket: str
    provider: str = "s3"
    endpoint: str | None = None
    region: str | None = None
    prefix: str = ""
    ca_pem: str | None = None
    allow_http: bool = False


@dataclass(frozen=True, slots=True)
class SealedKeys:
    """The keys as the catalog keeps them."""

    access_key: str
    secret_key: str
    prune_access_key: str | None = None
    prune_secret_key: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class BucketKey:
    """An access key of the provider, in clear. Has no ``repr`` that shows it."""

    access_key_id: str
    secret_access_key: str

    def secrets(self) -> tuple[str, ...]:
        """What must be kept out of every text."""
        return (self.secret_access_key, self.access_key_id)


@dataclass(frozen=True, slots=True, repr=False)
class BucketKeys:
    """The worker's key, which need not delete, and the prune credential, which does nothing else."""

    worker: BucketKey
    prune: BucketKey | None = None

    def secrets(self) -> tuple[str, ...]:
        """What must be kept out of every text."""
        return (*self.worker.secrets(), *(self.prune.secrets() if self.prune else ()))
