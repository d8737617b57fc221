"""Opening the engine for a process of the program, with the queue's wake-up handed in."""

from __future__ import annotations

from engine.service import Engine
from offsitedb_tui import entrance


def open_engine(*, login: bool = True) -> Engine:
    """The installation of this environment; jobs that it starts wake the workers. Raises ConfigError, CatalogError.

    Where operators exist it acts for whoever is logged in; with ``login`` it is not opened for anybody else, not even
    to look: AccessDenied ``access.login-required``, ``access.session-ended``.
    """
    engine = Engine.open(wake=_wake)
    try:
        entrance.prepare(engine)
        if login:
            entrance.admit(engine)
    except BaseException:
        engine.close()
        raise
    return engine


def _wake(job_id: str) -> None:
    import huey_config  # late: the queue's file is made on import, and only a verb that starts a job needs it

    huey_config.wake(job_id)
