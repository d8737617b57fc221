"""What an operator wants to know of every restored copy, asked of it.

Each question is one statement in a read-only transaction of its own session, as the role that owns the copy and with an
empty search_path. The room refuses a second statement behind the first, and reads no more than the first row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal, InvalidOperation

import psycopg
from psycopg import sql
from psycopg.types.string import TextLoader

from engine.cancel import CancelToken
from engine.errors import CouldNotVerify
from engine.model import CheckResult, OperatorCheck
from engine.postgres.cluster import ScratchCluster
from engine.postgres.external import ExternalServer
from engine.postgres.recount import owner_of
from engine.postgres.session import interruptible

_BOUND = re.compile(r"\s*(>=|<=|>|<)\s*([+-]?\d+(?:\.\d+)?)\s*")
_SHOWN_CHARS = 1_000
"""As much of an answer as a receipt needs; all of it is compared."""


def ask(
    cluster: ScratchCluster | ExternalServer, dbname: str, checks: Sequence[OperatorCheck], cancel: CancelToken
) -> tuple[CheckResult, ...]:
    """The answers of the copy. A question that fails is an answer, too.

    Raises CouldNotVerify ``drill.scratch`` when the server is gone, and the token's error when cancelled.
    """
    if not checks:
        return ()
    owner = owner_of(cluster, dbname)
    results = []
    for check in checks:
        cancel.check()
        results.append(_ask(cluster, dbname, owner, check, cancel))
    return tuple(results)


def holds(expect: str, got: str) -> bool:
    """Whether an answer is the expected one: equal text, or within the bound ``>=N``, ``<=N``, ``>N``, ``<N``."""
    bound = _BOUND.fullmatch(expect)
    if bound is None:
        return got == expect
    try:
        number = Decimal(got.strip())
    except InvalidOperation:
        return False
    if not number.is_finite():
        return False
    limit = Decimal(bound[2])
    match bound[1]:
        case ">=":
            return number >= limit
        case "<=":
            return number <= limit
        case ">":
            return number > limit
        case _:
            return number < limit


def _ask(
    cluster: ScratchCluster | ExternalServer, dbname: str, owner: str, check: OperatorCheck, cancel: CancelToken
) -> CheckResult:
    with closing(_session(cluster, dbname, owner, cancel)) as conn:
        try:
            with interruptible(conn, cancel):
                got = _answer(conn, check.query, cluster.settings.statement_timeout_s)
        except psycopg.Error as e:
            cancel.check()
            if conn.broken:  # the question ended its own session, or the server is gone
                _session(cluster, dbname, owner, cancel).close()
            error = (e.diag.message_primary or str(e)).strip() or "no message"
            return CheckResult(check.name, check.query, check.expect, None, passed=False, error=error)
        except UnicodeDecodeError:  # a database of encoding SQL_ASCII
            error = "the answer is not text in UTF-8"
            return CheckResult(check.name, check.query, check.expect, None, passed=False, error=error)
    if got is None:
        error = "the answer is NULL, or there is none"
        return CheckResult(check.name, check.query, check.expect, None, passed=False, error=error)
    return CheckResult(check.name, check.query, check.expect, got[:_SHOWN_CHARS], passed=holds(check.expect, got))


def _session(
    cluster: ScratchCluster | ExternalServer, dbname: str, owner: str, cancel: CancelToken
) -> psycopg.Connection[tuple[object, ...]]:
    try:
        return cluster.connect(dbname, user=owner)
    except psycopg.Error as e:
        cancel.check()
        raise CouldNotVerify("drill.scratch", f"the restored copy could not be asked: {str(e).strip()}") from e


def _answer(conn: psycopg.Connection[tuple[object, ...]], query: str, timeout_s: float) -> str | None:
    """The first column of the first row as PostgreSQL writes it."""
    for info in conn.adapters.types:
        for oid in (info.oid, info.array_oid):
            if oid:
                conn.adapters.register_loader(oid, TextLoader)
    conn.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(int(timeout_s * 1000))))
    conn.execute("SET default_transaction_read_only = on")
    conn.execute("BEGIN READ ONLY")
    with conn.cursor() as cursor:
        for row in cursor.stream(query.encode()):  # the extended protocol, which takes one statement alone
            return str(row[0]) if row and row[0] is not None else None
    return None
