"""Letting people in: where they come from, the token that they have, what is asked of whom.

On an OS account of one's own a login leaves its token in a private file, for the next command. The account of a
service is everybody's: there no token is kept, each command asks for name and password, and no file is written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

from engine import config
from engine import paths as places
from engine.errors import AccessDenied
from engine.model import Principal
from engine.service import Engine, outfile
from offsitedb_tui import token_file

LOCAL = "local"


def source() -> str:
    """Where whoever runs this process comes from: the address that sshd names, or this machine."""
    return os.environ.get("SSH_CONNECTION", "").split(" ")[0] or LOCAL


def prepare(engine: Engine) -> None:
    """Have the engine act for whoever is logged in here, without asking anybody yet."""
    service = engine.settings.access.service_user
    if service:
        outfile.refuse(AccessDenied("access.not-here", "no files are written for people on the account of a service"))
    token = None if service else token_file.read(engine.paths.home)
    # whoever comes first through sshd must not become the admin by that
    alone = not (service and source() != LOCAL)
    engine.operators.enter(token, alone=alone, ask=_asking() if _somebody_there() else None)


def refuse_first_run() -> None:
    """Raise AccessDenied where somebody who came through sshd would make the service's installation."""
    paths = places.locate()
    there = paths.catalog.exists() or config.database_url() is not None
    if config.load(paths.config).access.service_user and source() != LOCAL and not there:
        raise AccessDenied("access.not-here", "there is no installation yet, and it is not made over SSH")


def admit(engine: Engine) -> Principal:
    """Who acts from here on. Raises AccessDenied; on the account of a service a person at a terminal is asked."""
    try:
        return engine.operators.attend()
    except AccessDenied as e:
        asked = engine.settings.access.service_user and sys.stdin.isatty() and e.code == "access.login-required"
        if not asked:
            raise _where_to(e, engine) from None
    name = typer.prompt("Operator", err=True)
    token = engine.operators.login(name, ask_password(), source())
    engine.operators.enter(token, alone=False, ask=_asking())
    return engine.operators.attend()


def keep(engine: Engine, token: str) -> None:
    """A login has gone well: what this process and, on an account of one's own, later ones act with."""
    if not engine.settings.access.service_user:
        token_file.write(engine.paths.home, token)


def forget(engine: Engine) -> None:
    """The token is worth nothing any more."""
    if not engine.settings.access.service_user:
        token_file.remove(engine.paths.home)


def ask_password(prompt: str = "Password") -> str:
    """From a terminal, unseen."""
    return str(typer.prompt(prompt, hide_input=True, err=True))


def _somebody_there() -> bool:
    """Whether there is a terminal to ask in, although stdin may be a pipe: getpass goes to the terminal itself."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return sys.stdin.isatty()
    return True


def _asking() -> Callable[[], str]:
    return lambda: ask_password("Your password once more")


def _where_to(error: AccessDenied, engine: Engine) -> AccessDenied:
    if not engine.settings.access.service_user or error.code != "access.login-required":
        return error
    if engine.operators.any_exist():
        hint = "Each command asks for name and password in a terminal: `ssh -t HOST VERB`."
    else:
        hint = "Add the first operator on the host itself: `offsitedb operator add NAME --role admin`."
    return AccessDenied(error.code, error.message, hint=hint)
