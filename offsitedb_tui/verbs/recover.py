"""``recover``: an installation rebuilt on an empty machine, from its destination and the recovery code alone."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from engine.errors import ConfigError
from engine.model import BucketKey, BucketKeys
from engine.model.recovery import CatalogThere, Recovered
from engine.progress import Progress
from engine.service import Engine, RecoveryPlace
from engine.service.buckets import bucket_policy
from offsitedb_tui.follow import CLEAR, PLAIN_EVERY_S
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from offsitedb_tui.verbs.destination import (
    ACCESS_KEY,
    SECRET_KEY,
    AllowHttp,
    CaFile,
    Endpoint,
    Provider,
    Region,
    ask,
    spec_of,
)
from screens import present_recovery as words
from screens.present import visible

_LONGEST_CODE = 4096


def recover(
    destination: Annotated[
        str,
        typer.Option("--destination", metavar="PLACE", help="s3://BUCKET/PREFIX, or the path of a folder."),
    ],
    endpoint: Endpoint = None,
    key_id: Annotated[
        str | None, typer.Option("--key-id", metavar="ID", help="Access key id of the bucket; its secret is asked for.")
    ] = None,
    provider: Provider = None,
    region: Region = None,
    ca_file: CaFile = None,
    allow_http: AllowHttp = False,
    catalog: Annotated[
        str | None,
        typer.Option("--catalog", metavar="ID", help="Which installation, where several have used the place."),
    ] = None,
    code_stdin: Annotated[bool, typer.Option("--code-stdin", help="Read the recovery code from stdin.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild a lost installation on this empty machine: catalog, keys, connections and destinations.

    Needs the destination and the recovery code, nothing else; nothing at the destination is changed. The secret key of
    a bucket comes from OFFSITEDB_S3_SECRET_ACCESS_KEY, or is asked for. Nothing is scheduled and nothing is removed
    before you say so.
    """
    with speaking(as_json=as_json) as talk:
        place = _place(destination, endpoint, key_id, provider, region, ca_file, allow_http=allow_http)
        there = Engine.recoverable(place)
        if catalog is None and len(there) > 1:
            _refuse_to_guess(there, talk)
        code = _code(from_stdin=code_stdin)
        steps = _Steps()
        try:
            found = Engine.recover(place, code, catalog_id=catalog, said=steps.say)
        finally:
            steps.clear()
        talk.document(found)
        _show(found, talk)


def _place(
    text: str,
    endpoint: str | None,
    key_id: str | None,
    provider: str | None,
    region: str | None,
    ca_file: Path | None,
    *,
    allow_http: bool,
) -> RecoveryPlace:
    if not text.startswith("s3://"):
        if "://" in text:
            raise ConfigError("config.invalid", f"{text[:80]!r} is neither s3://BUCKET/PREFIX nor the path of a folder")
        if any((endpoint, key_id, provider, region, ca_file, allow_http)):
            raise ConfigError(
                "config.invalid",
                "--endpoint, --key-id, --provider, --region, --ca-file and --allow-http go with s3://BUCKET/PREFIX",
                hint="Leave them out for a folder.",
            )
        return RecoveryPlace(folder=Path(text))
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query or parts.fragment:  # never quoted: it may be a secret
        raise ConfigError(
            "config.invalid",
            "s3://BUCKET/PREFIX holds neither a key nor anything behind ? or #",
            hint=f"Say --key-id; the secret is asked for, or comes from {SECRET_KEY}.",
        )
    spec = spec_of(parts.netloc, provider, endpoint, region, parts.path.strip("/"), ca_file, allow_http=allow_http)
    bucket_policy(spec)  # refuses what cannot be, before anything is asked
    access = key_id or ask("Access key id", ACCESS_KEY, hidden=False)
    secret = ask("Secret access key", SECRET_KEY, hidden=True)
    return RecoveryPlace(bucket=spec, keys=BucketKeys(BucketKey(access.strip(), secret.strip())))


def _refuse_to_guess(there: tuple[CatalogThere, ...], talk: Talk) -> None:
    """Several installations have used the place: list them, the one written last first."""
    newest = sorted(there, key=lambda one: one.written_at, reverse=True)
    for one in newest if not talk.as_json else ():
        talk.say(f"  {one.catalog_id}  keys written {one.written_at:%Y-%m-%d %H:%M} UTC")
    raise ConfigError(
        "config.ambiguous",
        f"{len(there)} installations have used the place: {', '.join(one.catalog_id for one in newest)}",
        hint=f"Say which: `--catalog {newest[0].catalog_id[:12]}`. A recovery code opens the one that it is of.",
    )


def _code(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.read(_LONGEST_CODE)
    if not sys.stdin.isatty():
        raise ConfigError(
            "config.invalid",
            "no recovery code was given, and there is nobody to ask",
            hint="Say --code-stdin and pipe it in: it never belongs on a command line.",
        )
    return str(typer.prompt("Recovery code", hide_input=True, err=True))


class _Steps:
    """What happens now, on stderr: rewritten in place on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._tty = sys.stderr.isatty()
        self._phase = ""
        self._at = 0.0

    def say(self, progress: Progress) -> None:
        counted = f"  {progress.done:,} of {progress.total:,}" if progress.total else ""
        text = f"● {visible(progress.note)}{counted}"
        if self._tty:
            sys.stderr.write(CLEAR + text)
        elif progress.note != self._phase or time.monotonic() - self._at >= PLAIN_EVERY_S:
            sys.stderr.write(text + "\n")
            self._at = time.monotonic()
        self._phase = progress.note
        sys.stderr.flush()

    def clear(self) -> None:
        if self._tty and self._phase:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()


def _show(found: Recovered, talk: Talk) -> None:
    talk.show(f"recovered installation {found.catalog_id} from {visible(found.where)}")
    talk.show(f"  master key {found.kid} in: {found.backend}")
    talk.show()
    talk.table(words.HEAD, [words.row(one) for one in found.connections])
    talk.show()
    talk.show(words.totals(found))
    for line in words.remark_lines(found):
        talk.show(f"  {line}")
    _next(found, talk)


def _next(found: Recovered, talk: Talk) -> None:
    """What to do now. On stderr: stdout has what was found."""
    resume = words.resume_lines(found)
    for line in (
        "",
        f"{words.UNPROVEN} Next:",
        *words.next_lines(found),
        *(("", words.AT_REST, *resume) if resume else ()),
        "",
        words.NOT_KEPT,
        *((words.VOLATILE,) if found.backend == "kernel" else ()),
    ):
        talk.say(line)
