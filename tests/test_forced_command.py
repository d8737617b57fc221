"""What may be asked through ForceCommand, and what not: words, before any program is started."""

from __future__ import annotations

import re

import pytest
import typer

from engine.errors import AccessDenied
from offsitedb_tui import forced
from offsitedb_tui.cli import app

REFUSED = (
    *("sh", "bash -i", "/bin/sh -c id", "sftp-server", "/usr/lib/openssh/sftp-server", "internal-sftp", "scp -t /tmp"),
    *("worker", "demo", "init", "login", "logout", "postgres install 17", "key install-systemd --print-key"),
    *("key restore", "key", "--install-completion", "ledger2", "-h", "'unclosed", "$(id)", "`id`", ";id", "| sh"),
    *("snapshot download x -o /home/x/.ssh/rc", "snapshot download x --output=/tmp/x", "snapshot download x -o/tmp/x"),
    *("snapshot download x -fo /tmp/x", "receipt x --output /tmp/x", "receipt x -o /tmp/x", "rsync --server ."),
    *("destination add x --folder /etc/cron.d", "destination add x --folder=/etc", "destination edit x --ca-file /x"),
    *(
        "operator recover alice",
        "operator login",
        "offsitedb worker",
        "offsitedb offsitedb ledger",
        "git-upload-pack x",
    ),
)
ALLOWED = (
    *("ledger --json", "offsitedb ledger", "jobs show abc", "checkpoint prod --tag 'a b'", "operator list --json"),
    *("snapshot download x -o - --force", "snapshot download x --output=-", "snapshot show 'x;id'", "key status"),
    *("connection add x --destination d --url-stdin", "operator --help", "--help", "receipt x"),
)


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(AccessDenied) as caught:
        forced.permitted(text)
    assert caught.value.code == "access.not-here"


@pytest.mark.parametrize("text", ALLOWED)
def test_allowed(text: str) -> None:
    assert forced.permitted(text)


def test_nothing_asked_for_is_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(forced.VARIABLE, raising=False)
    assert forced.arguments() == []
    monkeypatch.setenv(forced.VARIABLE, "ledger --json")
    assert forced.arguments() == ["ledger", "--json"]
    monkeypatch.setenv(forced.VARIABLE, "sh")
    with pytest.raises(SystemExit) as caught:
        forced.arguments()
    assert caught.value.code == AccessDenied.exit_status


def test_what_is_allowed_exists() -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for first, seconds in forced.ALLOWED.items():
        assert first in known
        assert set(seconds) <= set(getattr(known[first], "commands", {}))


def test_options_that_name_files_are_known_as_such() -> None:
    """A verb that may be asked for has no option of a path that is not refused."""
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for first, seconds in forced.ALLOWED.items():
        group = getattr(known[first], "commands", None)
        verbs = [known[first]] if group is None else [group[s] for s in (seconds or group)]
        for verb in verbs:
            for parameter in verb.params:
                named = [o for o in parameter.opts if re.search("file|folder|path|dir$|output|home", o)]
                assert set(named) <= set(forced.FILES), (first, verb.name, parameter.opts)
