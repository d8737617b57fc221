"""``operator add | list | reset | disable | enable | role | password | recover``, ``login``, ``logout``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from engine.errors import AccessDenied, ConfigError
from engine.model import OperatorView, Role
from engine.service import Engine
from offsitedb_tui import entrance
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from screens.present import visible

app = typer.Typer(no_args_is_help=True, help="People who log in, and what each of them may do.")
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin, one line.")]
RoleName = Annotated[Role, typer.Option("--role", help="viewer looks; operator also works; admin also decides.")]


@app.command()
def add(
    name: str, role: RoleName = Role.OPERATOR, password_stdin: PasswordStdin = False, as_json: AsJson = False
) -> None:
    """Add somebody who logs in. After the first one, an admin, everybody has to."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        first = not engine.operators.any_exist()
        view = engine.operators.add(name, role, _new_password(password_stdin=password_stdin))
        talk.document(view)
        talk.show(f"{view.name} may log in, with the role {view.role}")
        if first:
            talk.say("From now on everybody logs in: `offsitedb login`. The worker needs no login.")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Everybody, their roles, and whether they are logged in."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.operators.list()
        talk.document(found)
        if not found:
            talk.show("Nobody has to log in here: whoever may use this OS account may do everything.")
            talk.show("To give people names and roles: `offsitedb operator add NAME --role admin`.")
            return
        talk.table(("NAME", "ROLE", "STATE", "LAST LOGIN", "SESSIONS"), [_row(o) for o in found])


@app.command()
def reset(name: str, password_stdin: PasswordStdin = False, as_json: AsJson = False) -> None:
    """Give somebody another password; all their sessions end."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        _told(engine.operators.reset(name, _new_password(password_stdin=password_stdin)), talk)


@app.command()
def disable(name: str, as_json: AsJson = False) -> None:
    """Let somebody in no more; all their sessions end. History goes on naming them."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        _told(engine.operators.disable(name), talk)


@app.command()
def enable(name: str, as_json: AsJson = False) -> None:
    """Let somebody in again, with the password they had."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        _told(engine.operators.enable(name), talk)


@app.command("role")
def set_role(name: str, role: Role, as_json: AsJson = False) -> None:
    """Give somebody another role: viewer, operator or admin; all their sessions end."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        _told(engine.operators.set_role(name, role), talk)


@app.command()
def password(password_stdin: PasswordStdin = False, as_json: AsJson = False) -> None:
    """Give yourself another password; you log in again with it."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        view = engine.operators.change_password(_new_password(password_stdin=password_stdin))
        entrance.forget(engine)
        _told(view, talk)


@app.command()
def recover(name: str, as_json: AsJson = False) -> None:
    """Let somebody in as an admin with the recovery code, when no admin knows a password any more.

    Asks for the code and the new password; without a terminal they are two lines on stdin.
    """
    with speaking(as_json=as_json) as talk, open_engine(login=False) as engine:
        if sys.stdin.isatty():
            code = typer.prompt("Recovery code", hide_input=True, err=True)
            new = _new_password(password_stdin=False)
        else:
            code, new = sys.stdin.readline(4096), _line()
        _told(engine.operators.recover(name, new, code), talk)


@app.command()
def login(
    name: Annotated[str | None, typer.Argument(help="Who you are.")] = None,
    password_stdin: PasswordStdin = False,
    as_json: AsJson = False,
) -> None:
    """Log in: the commands that follow, and the console, act for you. Ends after 15 idle minutes or 12 hours."""
    with speaking(as_json=as_json) as talk, open_engine(login=False) as engine:
        if engine.settings.access.service_user:
            raise AccessDenied(
                "access.not-here",
                "a login on the account of a service would be everybody's",
                hint="Each command asks by itself: `ssh -t HOST VERB`; the console does, too.",
            )
        if not engine.operators.any_exist():
            raise ConfigError(
                "config.invalid",
                "there is no operator: nobody has to log in here",
                hint="To give people names and roles: `offsitedb operator add NAME --role admin`.",
            )
        name = name or (typer.prompt("Operator", err=True) if sys.stdin.isatty() else "")
        secret = _line() if password_stdin or not sys.stdin.isatty() else entrance.ask_password()
        before = engine.operators.token
        token = engine.operators.login(name, secret, entrance.source())
        entrance.keep(engine, token)
        if before is not None:
            engine.operators.logout(before, reason="replaced")
        _logged_in(engine, token, talk)


@app.command()
def logout(as_json: AsJson = False) -> None:
    """End the session of this OS account."""
    with speaking(as_json=as_json) as talk, open_engine(login=False) as engine:
        token = engine.operators.token
        if token is not None:
            engine.operators.logout(token)
            entrance.forget(engine)
        talk.document({"logged_out": token is not None})
        talk.show("logged out" if token is not None else "nobody was logged in")


def _logged_in(engine: Engine, token: str, talk: Talk) -> None:
    principal = engine.operators.session(token)
    name = principal.actor.partition(":")[2]
    talk.document({"operator": name, "role": principal.role})
    talk.show(f"logged in as {name}, with the role {principal.role}")


def _told(view: OperatorView, talk: Talk) -> None:
    talk.document(view)
    state = "may not log in" if view.disabled_at is not None else f"has the role {view.role}"
    talk.show(f"{view.name} {state}; {view.name}'s sessions have ended")


def _row(o: OperatorView) -> tuple[object, ...]:
    last = f"{o.last_login_at.astimezone():%Y-%m-%d %H:%M}" if o.last_login_at is not None else "never"
    return visible(o.name), o.role, "disabled" if o.disabled_at is not None else "enabled", last, o.sessions


def _new_password(*, password_stdin: bool) -> str:
    """From stdin, or typed twice. Never from the command line, which everybody can read."""
    if password_stdin or not sys.stdin.isatty():
        return _line()
    typed = entrance.ask_password("New password, at least 15 characters")
    if entrance.ask_password("Once more") != typed:
        raise ConfigError("config.password", "these are two different passwords", hint="Run the command again.")
    return typed


def _line() -> str:
    return sys.stdin.readline(8192).rstrip("\r\n")
