"""Sessions of the queue, which lies beside a catalog in PostgreSQL. What it holds is the scheduler's business."""

from __future__ import annotations

from typing import Any

import psycopg

from engine.catalog.database import BUSY_TIMEOUT_S, SILENCE_S


def connect(url: str) -> psycopg.Connection[Any]:
    """A session whose transaction ends, and whose locks come free, when its client falls silent within it."""
    connection = psycopg.connect(
        url,
        autocommit=True,
        application_name="offsitedb/queue",
        connect_timeout=BUSY_TIMEOUT_S,
        keepalives_idle=SILENCE_S // 3,
        keepalives_interval=SILENCE_S // 6,
        keepalives_count=3,
        tcp_user_timeout=SILENCE_S * 1000,
        prepare_threshold=None,
    )
    connection.execute("SET idle_in_transaction_session_timeout = '5s'")
    connection.execute(f"SET lock_timeout = '{SILENCE_S}s'")
    return connection
