"""An S3 server that costs as little as one can: https, parts kept in memory, nothing hashed, nothing replicated.

On a machine with two processors a real S3 server's own work on the same two stands in every figure of an upload. Beside
this one stands the product's: TLS and HTTP. It speaks only what a snapshot and a drill ask for, believes
every signature, makes ETags that are no hash of anything, and is a process of its own, so that its time can be told
apart.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from bench.pairs import processor_seconds
from engine.model import BucketKey, BucketKeys, BucketSpec
from engine.process import dying_with_us
from tests.fixtures.ceph import free_port, make_certificates

BUCKET = "sink"
_XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@dataclass(frozen=True, slots=True)
class Stored:
    """One object: its pieces as they were sent."""

    pieces: tuple[bytes, ...]
    etag: str
    at: datetime

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.pieces))

    def part(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes from ``start`` up to ``end``, without a copy."""
        at = 0
        for piece in self.pieces:
            if at < end and at + len(piece) > start:
                yield memoryview(piece)[max(0, start - at) : end - at]
            at += len(piece)


class _Shelf:
    """What was sent so far."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, dict[int, tuple[bytes, str]]] = {}


SHELF = _Shelf()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_HEAD(self) -> None:
        self._found(send=False)

    def do_GET(self) -> None:
        key, query = self._asked()
        if key and "uploadId" not in query:
            if query:  # locks and the like: this server has none
                self._answer(501, _error("NotImplemented"))
            else:
                self._found(send=True)
        elif "uploads" in query:
            self._answer(
                200,
                f"<ListMultipartUploadsResult {_XMLNS}><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
            )
        elif query.get("list-type") or not query:
            self._answer(200, _listing(query.get("prefix", [""])[0]))
        else:
            self._answer(501, _error("NotImplemented"))

    def do_POST(self) -> None:
        key, query = self._asked()
        self._body()
        if "uploads" in query:
            upload_id = secrets.token_hex(8)
            with SHELF.lock:
                SHELF.uploads[upload_id] = {}
            self._answer(
                200,
                f"<InitiateMultipartUploadResult {_XMLNS}><Bucket>{BUCKET}</Bucket><Key>{escape(key)}</Key>"
                f"<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>",
            )
            return
        with SHELF.lock:
            parts = SHELF.uploads.pop(query["uploadId"][0], None)
            if parts is None:
                self._answer(404, _error("NoSuchUpload"))
                return
            etag = f"{secrets.token_hex(16)}-{len(parts)}"
            SHELF.objects[key] = Stored(tuple(parts[n][0] for n in sorted(parts)), etag, _now())
        self._answer(
            200, f'<CompleteMultipartUploadResult {_XMLNS}><ETag>"{etag}"</ETag></CompleteMultipartUploadResult>'
        )

    def do_PUT(self) -> None:
        key, query = self._asked()
        body = self._body()
        etag = secrets.token_hex(8)
        with SHELF.lock:
            if "uploadId" in query:
                SHELF.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = (body, etag)
            else:
                SHELF.objects[key] = Stored((body,), etag, _now())
        self._answer(200, "", etag=etag)

    def do_DELETE(self) -> None:
        key, query = self._asked()
        with SHELF.lock:
            if "uploadId" in query:
                SHELF.uploads.pop(query["uploadId"][0], None)
            else:
                SHELF.objects.pop(key, None)
        self._answer(204, "")

    def _asked(self) -> tuple[str, dict[str, list[str]]]:
        """The key (empty: the bucket) and the query."""
        parts = urlsplit(self.path)
        return unquote(parts.path).partition("/")[2].partition("/")[2], parse_qs(parts.query, keep_blank_values=True)

    def _body(self) -> bytes:
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)  # straight into what is kept: no second copy
        if len(body) < size:
            raise ConnectionError("the body was cut")
        return body

    def _found(self, *, send: bool) -> None:
        key, _ = self._asked()
        with SHELF.lock:
            stored = SHELF.objects.get(key)
        if stored is None:
            self._answer(404 if key else 200, _error("NoSuchKey") if key and send else "")
            return
        start, end, status = 0, stored.size_bytes, 200
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end, status = int(first), min(int(last) + 1, end), 206
        self.send_response(status)
        self.send_header("ETag", f'"{stored.etag}"')
        self.send_header("Last-Modified", format_datetime(stored.at, usegmt=True))
        self.send_header("Content-Length", str(end - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{stored.size_bytes}")
        self.end_headers()
        if send:
            for piece in stored.part(start, end):
                self.wfile.write(piece)

    def _answer(self, status: int, text: str, *, etag: str | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        if etag is not None:
            self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _listing(prefix: str) -> str:
    with SHELF.lock:
        found = sorted((key, one) for key, one in SHELF.objects.items() if key.startswith(prefix))
    entries = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{one.size_bytes}</Size><ETag>&quot;{one.etag}&quot;</ETag>"
        f"<LastModified>{one.at:%Y-%m-%dT%H:%M:%S.000Z}</LastModified></Contents>"
        for key, one in found
    )
    return f"<ListBucketResult {_XMLNS}><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"


def _error(code: str) -> str:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Sink:
    """The running server."""

    pid: int
    spec: BucketSpec
    keys: BucketKeys

    def processor_s(self) -> float:
        """Processor seconds of the server so far."""
        return processor_seconds(self.pid)

    def empty(self) -> None:
        """Have it forget every object."""
        os.kill(self.pid, signal.SIGUSR1)


@contextmanager
def sink() -> Iterator[Sink]:
    """The server in a process of its own, gone after the block."""
    place = Path(tempfile.mkdtemp(prefix="odbsink-"))
    ca_pem = make_certificates(place)
    port = free_port()
    server = subprocess.Popen(
        dying_with_us([sys.executable, "-m", "bench.sink", str(place), str(port)]), stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()  # it listens
        spec = BucketSpec(BUCKET, provider="ceph", endpoint=f"https://localhost:{port}", prefix="bench", ca_pem=ca_pem)
        yield Sink(server.pid, spec, BucketKeys(BucketKey("SINK", "sink-secret")))
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(place, ignore_errors=True)


def main() -> int:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="bench.sink", description=__doc__)
    parser.add_argument("place", type=Path)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.place / "server.crt", arguments.place / "server.key")
    server = _Server(("127.0.0.1", arguments.port), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.signal(signal.SIGUSR1, lambda *_: SHELF.objects.clear())
    server.serve_forever()
    return 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET


if __name__ == "__main__":
    raise SystemExit(main())
