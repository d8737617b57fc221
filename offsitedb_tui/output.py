"""Where words go: data to stdout, talk to stderr, and one place that turns errors into exit statuses.

With ``--json`` a verb prints exactly one JSON document on stdout, errors included; everything else that is said goes to
stderr. Text from other people's databases is printed with its control characters made visible.
"""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import typer

from engine.codec import to_plain
from engine.errors import Cancelled, ConfigError, Internal, OffsiteError
from engine.redact import redact
from screens.present import pad, visible, width

_NUMBER = re.compile(r"[0-9][0-9,.]*( [kMGT]?B| s)?|–?")


class Talk:
    """How this run of the program speaks."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str = "") -> None:
        """A line for people, on stderr."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this module is the one that prints

    def show(self, text: str = "") -> None:
        """A line of the answer, on stdout; nothing under ``--json``."""
        if not self.as_json:
            print(text, flush=True)  # noqa: T201 - this module is the one that prints

    def document(self, value: object) -> None:
        """The answer as one JSON document on stdout; nothing without ``--json``."""
        if self.as_json:
            print(json.dumps(to_plain(value), ensure_ascii=False), flush=True)  # noqa: T201 - as above

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A plain table on stdout: columns padded, numbers to the right."""
        if self.as_json:
            return
        cells = [[visible(str(c)) for c in row] for row in rows]
        widths = [max([width(h), *(width(r[i]) for r in cells)]) for i, h in enumerate(head)]
        right = [bool(cells) and all(_NUMBER.fullmatch(row[i]) for row in cells) for i in range(len(head))]
        for line in [list(head), *cells]:
            padded = [pad(c, w, right=r) for c, w, r in zip(line, widths, right, strict=True)]
            print("  ".join(padded).rstrip(), flush=True)  # noqa: T201 - as above

    def fail(self, error: OffsiteError) -> NoReturn:
        """Report ``error`` and leave with its exit status."""
        if self.as_json:
            body: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
            print(json.dumps({"error": body}, ensure_ascii=False), flush=True)  # noqa: T201 - as above
        self.say(f"error: {visible(error.message)}  [{error.code}]")
        for note in getattr(error, "__notes__", ()):
            self.say(f"       {visible(note)}")
        for line in hint_lines(error.hint):
            self.say(f"  {line}")
        raise typer.Exit(error.exit_status)


def hint_lines(hint: str) -> list[str]:
    """A hint's first line behind an arrow, those below it under the first: SQL that can be pasted."""
    lines = [visible(line) for line in hint.split("\n") if line.strip()]
    return [f"→ {lines[0]}", *(f"  {line}" for line in lines[1:])] if lines else []


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run the command line; what it does not understand is reported like every other error. Returns the exit status.

    ``--json`` is looked for in the arguments as they are: what could not be read says nothing about itself.
    """
    talk = Talk(as_json="--json" in arguments)
    try:
        status = typer.main.get_command(app).main(list(arguments), prog_name="offsitedb", standalone_mode=False)
    except typer.TyperException as e:
        return _refuse(e, talk)
    except typer.Abort:
        talk.say("interrupted")
        return Cancelled.exit_status
    return status if isinstance(status, int) else 0


def _refuse(error: typer.TyperException, talk: Talk) -> int:
    context: typer.Context | None = getattr(error, "ctx", None)
    text = error.format_message().strip()
    if context is not None and text == context.get_help().strip() and not talk.as_json:
        talk.say(text)  # a group called without a verb: its help is the answer
        return ConfigError.exit_status
    path = context.command_path if context is not None else "offsitedb"
    hint = f"Run `{path} --help`: it lists what there is."
    if redact(text) != text:
        hint = "A password never belongs on a command line, where every user of the machine can read it: change it now."
    with suppress(typer.Exit):
        talk.fail(ConfigError("config.usage", text[:1].lower() + text[1:].rstrip("."), hint=hint))
    return ConfigError.exit_status


@contextmanager
def speaking(*, as_json: bool) -> Iterator[Talk]:
    """The only place where exceptions end: ours are reported, anything else is a bug report."""
    talk = Talk(as_json=as_json)
    try:
        yield talk
    except OffsiteError as e:
        talk.fail(e)
    except KeyboardInterrupt:
        talk.say("interrupted")
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # whoever read has seen enough; what is still buffered must not fail once more when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as e:  # noqa: BLE001 - the last line: an exit status of the table and a text for a bug report
        talk.say("".join(traceback.format_exception(e)).rstrip())
        talk.fail(Internal("internal.error", f"{type(e).__name__}: {e}"))
