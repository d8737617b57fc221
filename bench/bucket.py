"""A real S3 server on this machine, over https with a private CA: the one of the tests, where Ceph is installed."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.pairs import processor_seconds
from engine.model import BucketKey, BucketKeys, BucketSpec
from tests.fixtures.ceph import PROGRAMS, Ceph, free_port

LARGEST_GB = 2


@dataclass(frozen=True, slots=True)
class S3:
    """A bucket of its own on the running server."""

    server: Ceph
    spec: BucketSpec
    keys: BucketKeys

    def processor_s(self) -> float:
        """Processor seconds of the server's processes so far: they share the machine with what is measured."""
        return sum(processor_seconds(process.pid) for process in self.server.processes.values())

    def empty(self) -> None:
        """Remove every object: the server keeps them in memory."""
        client = self.server.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.spec.bucket):
            for found in page.get("Contents", ()):
                client.delete_object(Bucket=self.spec.bucket, Key=found["Key"])


def absent(gigabytes: float) -> str | None:
    """Why there is no server for a database of that size, in words; None when it can be started."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if gigabytes > LARGEST_GB:
        return f"the server of the tests keeps 4 GB in memory, too little for {gigabytes:g} GB several times"
    return f"no {', '.join(missing)} on this machine" if missing else None


@contextmanager
def s3_server() -> Iterator[S3]:
    """Ceph's gateway, ended and gone after the block."""
    place = Path(tempfile.mkdtemp(prefix="odbceph-"))
    key = BucketKey(f"BENCH{secrets.token_hex(7).upper()}", secrets.token_hex(20))
    server = Ceph(place, free_port(), free_port(), "", key)
    try:
        server.start()
        spec = BucketSpec(server.bucket(), provider="ceph", endpoint=server.https, prefix="bench", ca_pem=server.ca_pem)
        yield S3(server, spec, BucketKeys(key))
    finally:
        server.stop()
        shutil.rmtree(place, ignore_errors=True)
