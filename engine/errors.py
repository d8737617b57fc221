"""The whole error taxonomy: classes and exit statuses; the one table of codes is ``engine.error_codes``.

Rules. A foreign exception is translated once, in the room that owns its library, with ``raise … from``. Messages are
lowercase and carry no full stop; a hint is a full sentence that names the next command or SQL. Text is redacted in the
constructor, errors survive pickling, and a failed clean-up becomes a note on the first error, never its replacement.
``docs/ERRORS.md`` is generated from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.error_codes import CODES
from engine.redact import redact


class OffsiteError(Exception):
    """Base of every error that a user may see.

    ``code`` is stable and dotted (a key of :data:`CODES`), ``retry`` says whether the same call may succeed later
    without anybody changing anything, ``context`` holds short facts for the log and ``--json``.
    """

    exit_status: ClassVar[int] = 99

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        context: Mapping[str, str | int | float | bool | None] | None = None,
        retry: bool = False,
    ) -> None:
        if code not in CODES:
            raise KeyError(f"error code {code!r} is not in engine.errors.CODES")
        self.code = code
        self.message = redact(message)
        self.hint = redact(hint if hint is not None else CODES[code][1])
        self.context = {k: redact(v) if isinstance(v, str) else v for k, v in (context or {}).items()}
        self.retry = retry
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.code, self.message, self.hint, self.context, self.retry, self.__dict__))

    def __str__(self) -> str:
        return self.message


def _rebuild(
    cls: type[OffsiteError],
    code: str,
    message: str,
    hint: str,
    context: dict[str, str | int | float | bool | None],
    retry: bool,
    state: dict[str, Any],
) -> OffsiteError:
    error = cls.__new__(cls)
    OffsiteError.__init__(error, code, message, hint=hint, context=context, retry=retry)
    error.__dict__.update(state)
    return error


class ConfigError(OffsiteError):
    """What the user said cannot be used: settings, names, connection strings, arguments."""

    exit_status = 2


class PartialResult(OffsiteError):
    """Some of several things were done and some were not."""

    exit_status = 3


class KeyAccessError(OffsiteError):
    """The master key cannot be had, or is not the one that sealed this catalog."""

    exit_status = 12


class SourceError(OffsiteError):
    """The database to protect, or the PostgreSQL programs that read it."""

    exit_status = 20


class StoreError(OffsiteError):
    """The destination."""

    exit_status = 30


class FormatError(OffsiteError):
    """An artifact, manifest or sealed field that is not what was written."""

    exit_status = 40


class CatalogError(OffsiteError):
    """The catalog, or a row that is not there."""

    exit_status = 50


class PreflightFailed(OffsiteError):
    """Preflight found something that must be mended before a snapshot is worth taking."""

    exit_status = 60


class DrillFailed(OffsiteError):
    """The artifact, the restore or a count is wrong."""

    exit_status = 70


class CouldNotVerify(OffsiteError):
    """The drill could not run; nothing is said about the snapshot."""

    exit_status = 71


class StillRunning(OffsiteError):
    """Waiting ended before the job did; the job goes on."""

    exit_status = 75


class AccessDenied(OffsiteError):
    """An operator or API key may not do this."""

    exit_status = 80


class AlertFailed(OffsiteError):
    """A channel of alerts could not be told."""

    exit_status = 90


class Cancelled(OffsiteError):
    """Somebody asked the job to stop, or the worker is stopping."""

    exit_status = 130


class Internal(OffsiteError):
    """Cannot happen. If it does, the text is for a bug report."""

    exit_status = 99


def add_cleanup_note(error: BaseException, what: str, failure: BaseException) -> None:
    """Attach a failed clean-up to the first error, so that it is seen and hides nothing."""
    error.add_note(redact(f"while cleaning up ({what}): {type(failure).__name__}: {failure}"))
