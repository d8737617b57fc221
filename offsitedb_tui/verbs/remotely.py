"""``checkpoint NAME --remote URL``: the same verb, done by a server elsewhere. It needs no installation here."""

from __future__ import annotations

from pathlib import Path

import typer

from offsitedb_tui.api.answers import CheckpointAnswer
from offsitedb_tui.output import Talk, speaking
from offsitedb_tui.remote import Client, Remote, failure, find_key, read_url, trust
from screens.present import human_seconds, visible


def checkpoint_at(
    url: str,
    name: str,
    tag: str | None,
    *,
    wait: bool,
    timeout_s: float | None,
    key_stdin: bool,
    ca_file: Path | None,
    as_json: bool,
) -> None:
    """Ask, and with ``wait`` follow; the exit status is that of the checkpoint, as it is here."""
    with speaking(as_json=as_json) as talk:
        where = read_url(url)
        remote = Remote(where, find_key(where, from_stdin=key_stdin), trust(ca_file))
        with Client(remote, lambda why: talk.say(visible(why))) as client:
            answer = client.ask(name, tag)
            if wait:
                answer = client.follow(answer, timeout_s, _Telling(talk))
        talk.document(answer)
        _show(answer, talk)
        problem = failure(answer)
        if wait and problem is not None:
            raise typer.Exit(problem.exit_status)


class _Telling:
    """A line on stderr when the state changes."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._said = ""

    def __call__(self, answer: CheckpointAnswer) -> None:
        if answer.state != self._said:
            self._said = answer.state
            self._talk.say(f"● checkpoint {answer.id[:12]} is {answer.state}")


def _show(answer: CheckpointAnswer, talk: Talk) -> None:
    if answer.ok:
        restore = human_seconds(answer.restore_s or 0.0)
        drill, rows = visible(answer.restore_drill).upper(), f"{answer.rows or 0:,}"
        talk.show(f"⛭ {drill} · {answer.tables} tables · {rows} rows · {answer.size} · {restore}")
        talk.show(f"  snapshot {visible(answer.snapshot_id or '')[:12]} · checkpoint {visible(answer.id)[:12]}")
        talk.show(f"  sha256 {visible(answer.sha256 or '')}")
        return
    problem = answer.error
    if problem is None:
        talk.show(f"checkpoint {visible(answer.id)[:12]} of {visible(answer.database)} is {answer.state}")
        return
    talk.show(f"✗ {visible(answer.restore_drill)} · {visible(answer.database)}")
    for line in answer.failures:
        talk.show(f"  ✗ {visible(line)}")
    talk.say(f"error: {visible(problem.message)}  [{visible(problem.code)}]")
    talk.say(f"  → {visible(problem.hint)}")
