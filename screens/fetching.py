"""Reading a whole artifact from a page: to check every byte, or to have the dump as a file. Both take long, say how
far they are as text once a second, and end at once on Escape.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from textual.message import Message

from engine.errors import ConfigError, OffsiteError
from engine.model.watch import LedgerLine
from engine.service import CancelToken
from engine.service.outfile import new_file
from engine.service.snapshots import Verified
from screens.base import Page, error_lines
from screens.phrase import Phrase, Tone, joined
from screens.present import clock_time, human_bytes, short_seconds
from screens.widgets.bar import Question
from screens.widgets.say import Say

EVERY_S = 1.0
_CALL = "fetching"


class Fetched(Message, bubble=False):
    """So many bytes were read and opened; a newer one makes an older one that still waits superfluous."""

    def __init__(self, what: Phrase, done: int, total: int, seconds: float) -> None:
        super().__init__()
        self.what, self.done, self.total, self.seconds = what, done, total, seconds

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Fetched)


class Telling:
    """Passes on what a thread counts, once a second."""

    def __init__(self, post: Callable[[Message], object], what: Phrase) -> None:
        self._post = post
        self._what = what
        self._began = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY_S:
            self._last = now
            self._post(Fetched(self._what, done, total, now - self._began))


class Fetching(Page):
    """The part of a page that reads artifacts. One at a time."""

    _stopped = Phrase()
    """What is said when it is stopped."""

    def doing_line(self) -> Say:
        """The line that says how far it is; for the page's body."""
        line = Say(id="doing")
        line.display = False
        return line

    def verify(self, line: LedgerLine) -> None:
        """Read the artifact of ``line`` and check every byte."""
        snapshot = line.snapshot_id
        assert snapshot is not None
        what = Phrase("verifying ", Tone.BUSY) + _named(line, self)

        def read(token: CancelToken) -> Verified:
            return self.engine.snapshots.verify(snapshot, cancel=token, on_bytes=Telling(self.post_message, what))

        stopped = Phrase("stopped: nothing is known about the bytes of ", Tone.DIM) + _named(line, self)
        self._begin(what, line, read, lambda found: self._verified(line, found), stopped)

    def ask_download(self, line: LedgerLine) -> None:
        """Ask for a file, then write the dump of ``line`` there."""
        if self._busy():
            return
        self.notice(
            Phrase("! ", Tone.WARN) + "The file will hold the whole database, " + Phrase("not encrypted", Tone.WARN),
            Phrase("  readable by you alone. It appears when every byte of it has been checked.", Tone.DIM),
        )
        self.ask(
            Question(
                Phrase("Write the dump to"),
                answered=partial(self._download, line),
                left=self.notice,
                value=f"~/{file_name(line.connection)}-{line.at.astimezone():%Y%m%d-%H%M%S}.dump",
                placeholder="a file that is not there yet",
            )
        )

    def _download(self, line: LedgerLine, text: str) -> None:
        snapshot = line.snapshot_id
        assert snapshot is not None
        self.notice()
        if not text.strip():
            self.notice(Phrase("no file was named; nothing was written", Tone.DIM))
            return
        path = written_path(text)
        what = Phrase("downloading ", Tone.BUSY) + _named(line, self)

        def read(token: CancelToken) -> Verified:
            with new_file(path, force=False) as file:
                tell = Telling(self.post_message, what)
                return self.engine.snapshots.download(snapshot, file.write, cancel=token, on_bytes=tell)

        stopped = Phrase("stopped: nothing of it is left at ", Tone.DIM) + str(path)
        self._begin(what, line, read, lambda found: self._downloaded(path, found), stopped)

    def stop_fetching(self) -> bool:
        """Stop it; False when there is nothing to stop."""
        if not self.calls.running(_CALL):
            return False
        self.calls.cancel(_CALL)
        self._ended()
        self.notice(self._stopped)
        return True

    def on_fetched(self, message: Fetched) -> None:
        if self.calls.running(_CALL):
            self._say_doing(message.what, message.done, message.total, message.seconds)

    def _busy(self) -> bool:
        if self.calls.running(_CALL):
            self.notice(Phrase("one is being read already; esc stops it", Tone.WARN))
            return True
        return False

    def _begin(
        self,
        what: Phrase,
        line: LedgerLine,
        read: Callable[[CancelToken], Verified],
        then: Callable[[Verified], None],
        stopped: Phrase,
    ) -> None:
        if self._busy():
            return
        self._stopped = stopped
        self.notice()
        self._say_doing(what, 0, line.size_bytes or 0, 0.0)
        self.query_one("#doing").display = True

        def ended(found: Verified) -> None:
            self._ended()
            then(found)

        def failed(error: OffsiteError) -> None:
            self._ended()
            self._failed(what, error)

        self.call(_CALL, read, ended, failed)

    def _say_doing(self, what: Phrase, done: int, total: int, seconds: float) -> None:
        far = f"{human_bytes(done)} of {human_bytes(total)}" if done else human_bytes(total)
        speed = f"{human_bytes(done / seconds)}/s" if done and seconds else ""
        left = f"ETA {short_seconds((total - done) * seconds / done)}" if done and total > done else ""
        said = joined([what, far, speed, left, Phrase("esc stops it", Tone.DIM)])
        self.query_one("#doing", Say).show(Phrase(" ") + said)

    def _ended(self) -> None:
        self.query_one("#doing").display = False

    def _failed(self, what: Phrase, error: OffsiteError) -> None:
        if isinstance(error, ConfigError) and error.code == "config.file-exists":
            said = already_there(error)
        else:
            said = (Phrase("✗ ", Tone.BAD) + what, *error_lines(error))
        self.notice(*said)

    def _verified(self, line: LedgerLine, found: Verified) -> None:
        self.notice(
            Phrase("✓ ", Tone.GOOD)
            + _named(line, self)
            + f": every byte is authentic ({human_bytes(found.size_bytes)}, SHA-256 as recorded)",
            Phrase("  It can be fetched and opened. Whether it restores, only a drill says: d.", Tone.DIM),
        )

    def _downloaded(self, path: Path, found: Verified) -> None:
        self.notice(
            Phrase("✓ ", Tone.GOOD) + f"the dump is written: {human_bytes(found.plaintext_bytes)}, every byte checked",
            Phrase("  ") + str(path),
            Phrase("  It is not encrypted: keep it as safe as the database, remove it after use.", Tone.DIM),
        )


def _named(line: LedgerLine, page: Page) -> Phrase:
    return Phrase(line.connection, Tone.STRONG) + f" of {clock_time(line.at, page.now())}"


def written_path(text: str) -> Path:
    """The file that an operator named; ``~`` is the home directory."""
    path = Path(text.strip())
    return path.expanduser() if path.parts[:1] == ("~",) else path


def file_name(text: str) -> str:
    """A connection's name as a part of a file's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip(".-") or "snapshot"


def already_there(error: OffsiteError) -> tuple[Phrase, ...]:
    """What is said instead of replacing a file."""
    return (
        Phrase("✗ ", Tone.BAD) + Phrase(error.message) + Phrase(f"  [{error.code}]", Tone.DIM),
        Phrase("  → Name another file: nothing is ever replaced from here.", Tone.DIM),
    )
