"""One object on its way into a bucket: parts filled in order, sent side by side, completed once.

An object that fits into one part is put whole instead, with one call, conditional where the provider can do that. A
lost answer is told from a lost request by the ETag, which follows from the parts' own as the provider gave them. The
parts are hashed only where the bucket asks for it: on the line TLS or the signature protect them, a drill reads them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import Internal, OffsiteError, StoreError
from engine.storage.base import Buffer, ObjectInfo, Upload
from engine.storage.retry import insist
from engine.storage.s3.bucket import Bucket, Head, Sent
from engine.storage.s3.crew import Crew, result_of
from engine.storage.s3.once import SENDING, Habits, declaring_md5, put_object, write_once
from engine.storage.s3.parts import Part, md5_of, part_limit

UPLOADERS = 2
"""Parts on their way at the same time: with the one that is being filled, three lie in memory."""
_STRAGGLERS_S = 5.0
"""How long an abort waits for parts that are on their way; what arrives later is aborted once more by its thread."""


class BucketUpload(Upload):
    """``full`` is the key within the bucket, ``key`` the contract's. One thread writes."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        full: str,
        *,
        part_bytes: int,
        cancel: CancelToken,
        habits: Habits,
        spool: Path | None,
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._full = full
        self._part_bytes = part_bytes
        self._cancel = cancel
        self._habits = habits
        self._spool = spool
        self._crew = Crew(UPLOADERS, "upload")
        self._stop = CancelToken()
        self._upload_id: str | None = None
        self._current: Part | None = None
        self._free: list[Part] = []
        self._sending: deque[tuple[Future[Sent], Part]] = deque()
        self._sent: list[Sent] = []
        self._total_bytes = 0
        self._numbers = 0
        self._abandoned = False
        self._over = False

    @property
    def key(self) -> str:
        return self._key

    def begin(self) -> None:
        """Begin the multipart upload now, so that a missing right is known before the first byte is made."""
        try:
            result_of(self._crew.submit(self._create), self._cancel)
        except OffsiteError:
            self.abort()
            raise

    def write(self, data: Buffer) -> None:
        self._refuse_over()
        self._cancel.check()
        with memoryview(data) as whole, whole.cast("B") as view:
            at = 0
            while at < len(view):
                if self._current is not None and self._current.full:
                    self._send(self._current)
                if self._current is None:
                    self._current = self._room()
                with _spooling():
                    at += self._current.add(view[at:])
            self._total_bytes += len(view)

    def commit(self) -> ObjectInfo:
        self._refuse_over()
        self._cancel.check()
        if self._numbers == 0:
            found = self._put_whole()
        else:
            if self._current is not None:
                self._send(self._current)
            while self._sending:
                self._collect()
            found = result_of(self._crew.submit(self._complete), self._cancel)
        if found.size_bytes != self._total_bytes:
            raise StoreError(
                "store.size-mismatch",
                f"{self._key} is {found.size_bytes} bytes long at the destination, {self._total_bytes} were written",
                context={"key": self._key},
            )
        self._over = True
        self._release()
        return ObjectInfo(self._key, found.size_bytes, found.modified_at)

    def abort(self) -> None:
        if self._over:
            return
        self._stop.cancel()
        wait_for([future for future, _ in self._sending if not future.cancel()], _STRAGGLERS_S)
        self._abandoned = True
        try:
            if self._upload_id is not None:
                self._bucket.abort(self._full, self._upload_id)
            self._over = True
        finally:
            self._release()

    def _put_whole(self) -> Head:
        """A small object: one call. An upload that was begun for a larger one is aborted first."""
        part = self._current or self._room()
        begun = self._upload_id

        def put() -> Head:
            if begun is not None:
                self._bucket.abort(self._full, begun)
            return put_object(
                self._bucket,
                self._full,
                part.body,
                md5=part.md5(),
                size_bytes=part.filled_bytes,
                habits=self._habits,
                replace=False,
                cancel=self._stop,
            )

        return result_of(self._crew.submit(put), self._cancel)

    def _complete(self) -> Head:
        """In a thread of the crew: make the object out of its parts."""
        upload_id = self._upload_id
        assert upload_id is not None
        stated = [sent.md5 for sent in self._sent if sent.md5 is not None]
        ours = f"{md5_of(b''.join(stated)).hex()}-{len(self._sent)}"

        def complete(*, conditional: bool) -> None:
            self._bucket.complete(self._full, upload_id, self._sent, absent=conditional)

        def is_ours(found: Head) -> bool:
            comparable = len(stated) == len(self._sent) and found.etag.endswith(f"-{len(stated)}")
            return found.size_bytes == self._total_bytes and (found.etag == ours or not comparable)

        return write_once(
            self._bucket,
            self._full,
            complete,
            is_ours,
            habits=self._habits,
            conditional=self._bucket.address.profile.conditional_complete,
            replace=False,
            cancel=self._stop,
        )

    def _send(self, part: Part) -> None:
        """Hand a part over to the crew; errors of earlier ones come out here."""
        if self._upload_id is None:
            self.begin()
        if self._numbers >= self._bucket.address.profile.max_parts:
            raise part_limit(self._numbers, self._part_bytes)
        self._numbers += 1
        number = self._numbers
        self._current = None
        self._sending.append((self._crew.submit(lambda: self._transfer(number, part)), part))
        while self._sending and self._sending[0][0].done():
            self._collect()

    def _collect(self) -> None:
        """Wait for the part that was handed over first."""
        future, part = self._sending[0]
        sent = result_of(future, self._cancel)
        self._sending.popleft()
        self._sent.append(sent)
        self._free.append(part)

    def _room(self) -> Part:
        """An empty part; waits while as many as may lie in memory are on their way."""
        if not self._free and len(self._sending) >= UPLOADERS:
            self._collect()
        if not self._free:
            with _spooling():
                return Part(self._part_bytes, self._spool)
        part = self._free.pop()
        part.begin()
        return part

    def _transfer(self, number: int, part: Part) -> Sent:
        """In a thread of the crew: send one part, again when the line failed."""
        upload_id = self._upload_id
        assert upload_id is not None

        def send(declare_md5: bool) -> Sent:
            self._stop.check()
            md5 = part.md5() if declare_md5 else None
            return self._bucket.send_part(self._full, upload_id, number, part.body(), declared_md5=md5)

        try:
            return insist(lambda: declaring_md5(self._habits, send), SENDING, self._stop)
        finally:
            if self._abandoned:
                part.close()
                self._abort_again(upload_id)

    def _create(self) -> None:
        """In a thread of the crew: begin the upload, and end it again when nobody waits for it any more."""
        upload_id = self._bucket.create_upload(self._full)
        with self._habits.lock:
            self._habits.alive.add(upload_id)
        self._upload_id = upload_id
        if self._abandoned:
            with self._habits.lock:
                self._habits.alive.discard(upload_id)
            self._abort_again(upload_id)

    def _abort_again(self, upload_id: str) -> None:
        """A part that arrived after the abort would lie there, unseen and paid for."""
        try:
            self._bucket.abort(self._full, upload_id)
        except OffsiteError:
            return  # the sweep finds it

    def _release(self) -> None:
        """Give threads and memory back. Parts that are still on their way are given back by their threads."""
        with self._habits.lock:
            self._habits.alive.discard(self._upload_id or "")
        self._crew.close()
        for part in (*self._free, *((self._current,) if self._current else ())):
            part.close()
        self._current = None
        self._free.clear()

    def _refuse_over(self) -> None:
        if self._over:
            raise Internal("internal.error", f"the upload of {self._key} is over")


@contextmanager
def _spooling() -> Iterator[None]:
    """The disk that large parts wait on is ours: its errors are told as such."""
    try:
        yield
    except OSError as e:
        raise StoreError(
            "store.io",
            f"a part could not be kept on this machine's disk until it is sent: {e.strerror or e}",
            hint="Make room below OFFSITEDB_RUNTIME, where large parts wait.",
        ) from e
