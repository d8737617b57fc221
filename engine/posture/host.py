"""The account and the files of the installation, as they really are on this host."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from engine.model.posture import Statement
from engine.posture.facts import Home, Looked, Unknown
from engine.posture.wording import UNKNOWN, WEAKER, plural, say


def host(looked: Looked) -> Iterator[Statement]:
    facts = (("OS account", looked.os_user), ("root", looked.root))
    if looked.root:
        yield say(
            "The program that looked runs as root: a fault in it is a fault of the whole machine.",
            facts,
            WEAKER,
            mend="Run it as an account of its own: docs/OPERATIONS.md, As services.",
        )
    else:
        yield say(f"The program that looked runs as the OS account {looked.os_user}, which is not root.", facts)
    yield from _files(looked)


def _files(looked: Looked) -> Iterator[Statement]:
    home = looked.home
    if isinstance(home, Unknown):
        yield say(
            f"Who may read the files of the installation is not known: {home.why}.",
            (("home", looked.doctor.home),),
            UNKNOWN,
        )
        return
    place = shlex.quote(home.path)
    facts = (("home", home.path), ("mode", f"{home.mode:04o}"), ("owner", home.owner), ("looked at", home.looked_at))
    if not home.ours:
        yield say(
            f"The installation's home belongs to another OS account ({home.owner}) than the one that uses it.",
            facts,
            WEAKER,
            mend=f"As root: `chown -R {shlex.quote(looked.os_user)} {place}`.",
        )
    if home.mode & 0o077:
        yield say(
            f"Others than its owner may enter the installation's home (mode {home.mode:04o}).",
            facts,
            WEAKER,
            mend=f"`chmod 700 {place}`.",
        )
    else:
        yield say("Nobody but its owner may enter the installation's home.", facts)
    if home.open:
        yield say(
            f"{plural(len(home.open), 'file', 'files')} in the home could be read by others, were it not for the home's"
            " own mode: a copy of them somewhere else would be open.",
            [(found.path, f"{found.mode:04o}") for found in home.open[:20]],
            WEAKER,
            mend=f"`chmod go-rwx {_paths(home)}`.",
        )
    else:
        yield say(
            f"Every one of {plural(home.looked_at, 'file')} of the installation is its owner's alone.",
            (("files looked at", home.looked_at), ("open to others", 0)),
        )


def _paths(home: Home) -> str:
    """What is open, as words of a shell."""
    return " ".join(shlex.quote(f"{home.path}/{found.path}") for found in home.open[:5])
