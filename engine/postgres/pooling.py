"""Telling a transaction pooler from a real session, on the wire and without leaving a trace.

A pooler reports a process id of its own when we log in, so that an id that differs from the backend's is the sign to
look closer. The proof is a second session: where both ever meet the same backend, sessions are shared. Nothing is SET
before that is known, because a setting on a shared backend would reach the application's statements: it could make
them read-only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg

from engine.cancel import CancelToken

_ROUNDS = 4
"""An idle pooler hands out the backend that was used last, so that one round mostly suffices."""
_ANSWER_WITHIN_S = 5.0
"""A pool in session mode that has no backend left makes the second session wait, for minutes by default."""

Connection = psycopg.Connection[tuple[object, ...]]


def behind_pooler(conn: Connection) -> bool:
    """Whether the backend is another process than the one that answered the login. Raises psycopg.Error."""
    return _backend(conn) != conn.pgconn.backend_pid


def shares_backends(conn: Connection, open_second: Callable[[], Connection], cancel: CancelToken) -> bool:
    """Whether another session is given the same backend as ``conn``: transaction or statement pooling.

    ``open_second`` opens a session in the same way. Raises psycopg.Error and the token's error.
    """
    ours: set[int] = set()
    theirs: set[int] = set()
    second = open_second()
    try:
        for _ in range(_ROUNDS):
            cancel.check()
            ours.add(_backend(conn))
            answer = _within(lambda: _backend(second), _ANSWER_WITHIN_S, cancel)
            if answer is None:
                return False  # it had to queue for a backend of its own: session mode
            theirs.add(answer)
            if len(ours) > 1 or len(theirs) > 1 or ours & theirs:
                return True
    finally:
        second.close()
    return False


def _backend(conn: Connection) -> int:
    row = conn.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    return int(str(row[0])) if row is not None else 0


def _within(ask: Callable[[], int], timeout_s: float, cancel: CancelToken) -> int | None:
    """The answer, or None after ``timeout_s`` seconds; whoever waits longer is freed when the session is closed."""
    done = threading.Event()
    answers: list[int] = []
    failed: list[psycopg.Error] = []

    def work() -> None:
        try:
            answers.append(ask())
        except psycopg.Error as e:
            failed.append(e)
        finally:
            done.set()

    with cancel.on_cancel(done.set):
        threading.Thread(target=work, name="second-session", daemon=True).start()
        done.wait(timeout_s)
    cancel.check()
    if failed:
        raise failed[0]
    return answers[0] if answers else None
