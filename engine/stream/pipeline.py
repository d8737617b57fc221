"""Two ways through an artifact in bounded memory: :func:`seal` while a dump runs, :func:`open_artifact` to read one.

Both hash what they see, stop at the first error and leave no thread behind. The room commits nothing: whether an upload
may be completed, or a restored database trusted, is decided by the caller when the function has returned *and* the
child process has ended well.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from engine import floe
from engine.cancel import CancelToken
from engine.errors import Cancelled, FormatError, OffsiteError, SourceError, add_cleanup_note
from engine.stream import container
from engine.stream.channel import Channel
from engine.stream.container import ArtifactHeader
from engine.stream.gzip import Gunzip, MemberDigest, best_compressor, check_member, crc32
from engine.stream.priority import stand_back
from engine.stream.watchdog import Watchdog

Buffer: TypeAlias = bytes | bytearray | memoryview
OnProgress: TypeAlias = Callable[[int, int], None]

MAGIC: Final = b"PGDMP"
"""What every archive of pg_dump's custom format begins with."""
_BLOCK_BYTES = 1 << 20
"""Plaintext of one gzip member: costs under 1 % of the ratio and lets members be compressed side by side."""
_LEAST_WORKERS = 2
"""One reads while the other compresses, also on two cores that the server and pg_dump use too."""
_MOST_WORKERS = 4
_SOURCE_GRACE_S = 2.0
"""How long a failed pipeline waits for a blocked read before it cancels the token to have the child killed."""
_KILLED_GRACE_S = 5.0
_ALTERED_CODES = frozenset(
    {"format.header", "format.corrupt-segment", "format.truncated", "format.trailing", "format.gzip"}
)


@dataclass(frozen=True, slots=True)
class SealResult:
    """A whole artifact was written: its size in bytes and SHA-256 in hex, the plaintext's size and member digest."""

    size_bytes: int
    artifact_sha256: str
    plaintext_bytes: int
    members_sha256: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What the catalog or the manifest says of an artifact; None: not known, not checked."""

    artifact_id: str
    connection_id: str
    catalog_id: str
    artifact_sha256: str | None = None
    size_bytes: int | None = None
    plaintext_bytes: int | None = None
    members_sha256: str | None = None
    plaintext_sha256: str | None = None
    """Known of artifacts from before there was that digest."""


@dataclass(frozen=True, slots=True)
class OpenResult:
    """A whole artifact was read, and everything about it held."""

    size_bytes: int
    artifact_sha256: str
    plaintext_bytes: int
    members_sha256: str
    header: ArtifactHeader


def seal(
    read_into: Callable[[memoryview], int],
    write: Callable[[Buffer], object],
    *,
    preamble: bytes,
    encryptor: floe.Encryptor,
    cancel: CancelToken,
    on_progress: OnProgress,
    stall_timeout_s: float,
) -> SealResult:
    """Write ``preamble`` and the sealed, compressed stream that ``read_into`` gives until it gives nothing.

    ``read_into(room)`` puts what is there into ``room``, as soon as something is, and returns how many bytes that were
    (``readv`` of a pipe); it is called in threads of its own, by one at a time, ``write`` and
    ``on_progress(plaintext_bytes, sealed_bytes)`` in this one. When no byte was read or written for ``stall_timeout_s``
    seconds the token is cancelled with ``job.stalled``.

    Raises SourceError ``pg.dump-failed`` for a stream that is empty or no custom-format archive (why, pg_dump's exit
    status knows better), the token's error, or whatever ``read_into`` or ``write`` raised first. The token of a failed
    run is cancelled only when ``read_into`` does not return by itself: that is what kills the child.
    """
    cancel.check()
    with Watchdog(cancel, stall_timeout_s) as watchdog:
        source = _Source(read_into, cancel, watchdog.touch)
        sealer = _Sealer(write, encryptor, watchdog.touch)
        with source.running() as members:
            for member in members:
                if not sealer.size_bytes:
                    sealer.begin(preamble)
                sealer.add(member)
                cancel.check()
                on_progress(source.plaintext_bytes, sealer.size_bytes)
            cancel.check()  # a killed child ends its stream like one that is done
            sealer.finish()
        on_progress(source.plaintext_bytes, sealer.size_bytes)
    return SealResult(sealer.size_bytes, sealer.sha256.hexdigest(), source.plaintext_bytes, source.digest.hexdigest())


class _Source:
    """Reads the plaintext and compresses it, block by block, in threads that take turns at reading.

    Who has read a block compresses it: it lies in that processor's cache, and each thread needs room for one block
    only. Who reads also says where in the order the block belongs, so nobody sorts afterwards.
    """

    def __init__(self, read_into: Callable[[memoryview], int], cancel: CancelToken, touch: Callable[[], None]) -> None:
        self._read_into = read_into
        self._cancel = cancel
        self._touch = touch
        self._compress = best_compressor()
        self._workers = min(_MOST_WORKERS, max(_LEAST_WORKERS, _cores() - 1))
        self._channel: Channel[Future[bytes]] = Channel(self._workers)
        self._turn = threading.Lock()
        self._ended = False
        self.plaintext_bytes = 0
        self.digest = MemberDigest()

    @contextmanager
    def running(self) -> Iterator[Iterator[bytes]]:
        """The compressed members, while the threads run; when the block ends they have ended too."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="gzip", initializer=stand_back)
        ended = True
        try:
            with self._cancel.on_cancel(self._break):
                workers = [pool.submit(self._work) for _ in range(self._workers)]
                try:
                    yield iter(self._next, None)
                except BaseException as first:
                    reason = self._cancel.error
                    ended = self._stop(workers, first)
                    if reason is not None and reason is not first:
                        raise reason from first  # a stage that was torn down reports its torn end
                    raise
        finally:
            pool.shutdown(wait=ended)  # a thread that is stuck for good must not hold the caller, too

    def _work(self) -> None:
        block = memoryview(bytearray(_BLOCK_BYTES))
        while (taken := self._take(block)) is not None:
            size, crc, made = taken
            try:
                member = self._compress(block[:size])
                check_member(member, crc, size)
            except BaseException as e:  # noqa: BLE001 - it comes out where the member is waited for
                made.set_exception(e)
                return
            made.set_result(member)

    def _take(self, block: memoryview) -> tuple[int, int, Future[bytes]] | None:
        """Read the next block: its size, its CRC-32, and what to tell of its member. None when there is no more."""
        with self._turn:
            if self._ended:
                return None
            try:
                size = self._fill(block)
                if not self.plaintext_bytes:
                    self._refuse_other(block[:size])
                if not size:
                    self._ended = True
                    self._channel.close()
                    return None
                crc = crc32(block[:size])
                self.digest.add(crc, size)
                self.plaintext_bytes += size
                made: Future[bytes] = Future()
                self._channel.put(made)
            except BaseException as e:  # noqa: BLE001 - it comes out where the next member is waited for
                self._ended = True
                self._channel.fail(e)
                return None
            return size, crc, made

    def _refuse_other(self, start: memoryview) -> None:
        if not start:
            raise SourceError("pg.dump-failed", "pg_dump wrote nothing")
        if bytes(start[: len(MAGIC)]) != MAGIC:
            raise SourceError("pg.dump-failed", "pg_dump did not write a custom-format archive")

    def _fill(self, block: memoryview) -> int:
        """Fill ``block``; how much of it, less only at the end of the stream.

        The one loop that runs for every piece that pg_dump writes: what can wait for a whole block waits.
        """
        filled = 0
        while filled < len(block) and (got := self._read_into(block[filled:])):
            self._touch()
            self._channel.check()
            filled += got
        return filled

    def _next(self) -> bytes | None:
        made = self._channel.get()
        return None if made is None else made.result()

    def _break(self) -> None:
        self._channel.fail(self._cancel.error or Cancelled("job.cancelled", "the job was cancelled"))

    def _stop(self, workers: Sequence[Future[None]], first: BaseException) -> bool:
        """End the threads; False when one is stuck."""
        self._channel.fail(first)
        if not wait_for(workers, _SOURCE_GRACE_S).not_done:
            return True
        self._cancel.cancel(first if isinstance(first, OffsiteError) else None)
        if not wait_for(workers, _KILLED_GRACE_S).not_done:
            return True
        add_cleanup_note(first, "stopping the dump", TimeoutError("its stream neither moves nor ends"))
        return False


class _Sealer:
    """Cuts the compressed stream into FLOE segments, hashes and writes them.

    What is written lies in a buffer that is used again: ``write`` copies what it keeps.
    """

    def __init__(self, write: Callable[[Buffer], object], encryptor: floe.Encryptor, touch: Callable[[], None]) -> None:
        self._write = write
        self._encryptor = encryptor
        self._touch = touch
        self._pending = memoryview(bytearray(encryptor.plain_seg_len))
        self._filled = 0
        self.size_bytes = 0
        self.sha256 = hashlib.sha256()

    def begin(self, preamble: bytes) -> None:
        self._emit(preamble)
        self._emit(self._encryptor.header)

    def add(self, data: bytes) -> None:
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                if self._filled == len(self._pending):  # not as soon as it is full: the last one is sealed as such
                    self._emit(self._encryptor.segment(self._pending))
                    self._filled = 0
                taken = min(len(view) - at, len(self._pending) - self._filled)
                self._pending[self._filled : self._filled + taken] = view[at : at + taken]
                self._filled += taken
                at += taken

    def finish(self) -> None:
        self._emit(self._encryptor.final(self._pending[: self._filled]))

    def _emit(self, data: Buffer) -> None:
        if self.size_bytes + len(data) > container.MAX_BYTES:
            raise FormatError("format.too-large", f"the artifact would have more than {container.MAX_BYTES >> 40} TiB")
        self.sha256.update(data)
        self._write(data)
        self.size_bytes += len(data)
        self._touch()


def open_artifact(
    chunks: Iterable[bytes],
    *,
    open_dek: Callable[[ArtifactHeader], bytes],
    write: Callable[[bytes], object] | None,
    expected: Expected,
    cancel: CancelToken,
    on_progress: OnProgress,
) -> OpenResult:
    """Read a whole artifact and hand its plaintext to ``write`` (None: only look), authenticated, block by block.

    What ``write`` got is to be trusted only when this function returns: then the ids were the expected ones, the final
    segment was seen and nothing followed, the last gzip member was whole, and every hash and size that is known was
    equal. ``open_dek`` gets the header and returns the data key. ``on_progress(sealed_bytes, plaintext_bytes)``.

    Raises FormatError for everything that does not hold. When the content is damaged and the object's SHA-256 is known
    the rest of the object is read, too, and the error's context (``altered``) and note say whether the object is still
    the one that was written: that tells a damaged destination from a fault of ours. Raises what ``chunks``,
    ``open_dek`` and ``write`` raise, and the token's error.
    """
    arriving = _Arriving(chunks, cancel, expected.size_bytes)
    try:
        return _open(arriving, open_dek, write, expected, on_progress)
    except FormatError as error:
        if error.code in _ALTERED_CODES and expected.artifact_sha256 is not None:
            _tell_if_altered(error, arriving, expected.artifact_sha256)
        raise


class _Arriving:
    """The object as it comes: hashed, counted, and never longer than it should be."""

    def __init__(self, chunks: Iterable[bytes], cancel: CancelToken, limit_bytes: int | None) -> None:
        self._chunks = iter(chunks)
        self._cancel = cancel
        self._limit_bytes = limit_bytes
        self._rest = b""
        self.size_bytes = 0
        self.sha256 = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        if not self._rest:
            self._rest = next(self.pull(), b"")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def remaining(self) -> Iterator[bytes]:
        """Everything that :meth:`read` has not taken."""
        rest, self._rest = self._rest, b""
        if rest:
            yield rest
        yield from self.pull()

    def pull(self) -> Iterator[bytes]:
        """The chunks as they come, up to the recorded size; then FormatError ``format.trailing``.

        What lies before is handed out first: another artifact in this one's place is told by its header, not its size.
        """
        self._refuse_longer()
        for chunk in self._chunks:
            self._cancel.check()
            if not chunk:
                continue
            self.sha256.update(chunk)
            self.size_bytes += len(chunk)
            over = 0 if self._limit_bytes is None else max(0, self.size_bytes - self._limit_bytes)
            if over < len(chunk):
                yield chunk[: len(chunk) - over]
            self._refuse_longer()

    def _refuse_longer(self) -> None:
        if self._limit_bytes is not None and self.size_bytes > self._limit_bytes:
            raise FormatError("format.trailing", f"the object is longer than the {self._limit_bytes} bytes recorded")


def _open(
    arriving: _Arriving,
    open_dek: Callable[[ArtifactHeader], bytes],
    write: Callable[[bytes], object] | None,
    expected: Expected,
    on_progress: OnProgress,
) -> OpenResult:
    header, preamble = container.read_preamble(arriving)
    _expect_ids(header, expected)
    decryptor = container.open_decryptor(open_dek(header), preamble, arriving)
    gunzip = Gunzip(expected.plaintext_bytes)
    sha256 = None if expected.plaintext_sha256 is None else hashlib.sha256()
    for chunk in arriving.remaining():
        for block in gunzip.feed(decryptor.update(chunk)):
            if sha256 is not None:
                sha256.update(block)
            if write is not None:
                write(block)
        on_progress(arriving.size_bytes, gunzip.plaintext_bytes)
    decryptor.finish()
    gunzip.finish()
    result = OpenResult(
        arriving.size_bytes, arriving.sha256.hexdigest(), gunzip.plaintext_bytes, gunzip.digest.hexdigest(), header
    )
    _expect_equal("the object's size", result.size_bytes, expected.size_bytes)
    _expect_equal("the object's SHA-256", result.artifact_sha256, expected.artifact_sha256)
    _expect_equal("the plaintext's size", result.plaintext_bytes, expected.plaintext_bytes)
    _expect_equal("the digest of the plaintext's members", result.members_sha256, expected.members_sha256)
    if sha256 is not None:
        _expect_equal("the plaintext's SHA-256", sha256.hexdigest(), expected.plaintext_sha256)
    return result


def _expect_ids(header: ArtifactHeader, expected: Expected) -> None:
    for name in ("artifact_id", "connection_id", "catalog_id"):
        found, wanted = getattr(header, name), getattr(expected, name)
        if found != wanted:
            raise FormatError(
                "format.swapped",
                f"the object's {name} is {found}, not {wanted}",
                context={"found": found, "expected": wanted},
            )


def _expect_equal(what: str, found: str | int, expected: str | int | None) -> None:
    if expected is not None and found != expected:
        raise FormatError(
            "format.hash",
            f"{what} is {found}, not the recorded {expected}",
            context={"found": found, "expected": expected},
        )


def _tell_if_altered(error: FormatError, arriving: _Arriving, recorded: str) -> None:
    """Read the rest and say in ``error`` whether the object's bytes are the recorded ones."""
    try:
        for _ in arriving.pull():
            pass
    except FormatError:
        altered = True  # longer than recorded
    except OffsiteError as failure:
        add_cleanup_note(error, "reading the rest of the object for its SHA-256", failure)
        return
    else:
        altered = arriving.sha256.hexdigest() != recorded
    error.context["altered"] = altered
    error.add_note(
        "the object's SHA-256 is not the recorded one: it was altered after it was written"
        if altered
        else "the object's SHA-256 is the recorded one: it was written like this"
    )


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
