"""Opening the engine for a process of the program, with the queue's wake-up handed in."""

from __future__ import annotations

from engine.service import Engine


def open_engine() -> Engine:
    """The installation of this environment; jobs that it starts wake the workers. Raises ConfigError, CatalogError."""
    return Engine.open(wake=_wake)


def _wake(job_id: str) -> None:
    import huey_config  # late: the queue's file is made on import, and only a verb that starts a job needs it

    huey_config.wake(job_id)
