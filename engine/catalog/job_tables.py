"""Rows of each table while a job restores: live numbers, worth something only as long as the job runs.

Written under the job's fence like all that a worker reports, and gone when the job is settled, given back or taken
away: what came of it stands in the receipt.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from engine.catalog.schema import job_tables as table
from engine.catalog.schema import jobs
from engine.catalog.transaction import Tx
from engine.errors import CatalogError
from engine.model import JobState
from engine.progress import TableRows

_ROWS_AT_ONCE = 500
"""Five values each: far below the 32,766 variables of a statement that SQLite takes."""


def write(tx: Tx, job_id: str, fence: int, rows: Sequence[TableRows], *, anew: bool = False) -> None:
    """Note how far these tables are; with ``anew`` what was noted before is forgotten first.

    Raises CatalogError catalog.fenced.
    """
    held = select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.fence == fence, jobs.c.state == JobState.RUNNING.value)
    if tx.row(held) is None:
        raise CatalogError(
            "catalog.fenced",
            f"the job is no longer held by this worker: {job_id}",
            context={"job": job_id, "fence": fence},
        )
    if anew:
        clear(tx, job_id)
    insert = sqlite.insert if tx.dialect == "sqlite" else postgresql.insert
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        values = [
            {"job_id": job_id, "schema_name": r.schema, "table_name": r.table, "restored": r.rows, "done": r.done}
            for r in rows[start : start + _ROWS_AT_ONCE]
        ]
        new = insert(table).values(values)
        tx.change(
            new.on_conflict_do_update(
                index_elements=[table.c.job_id, table.c.schema_name, table.c.table_name],
                set_={"restored": new.excluded.restored, "done": new.excluded.done},
            )
        )


def read(tx: Tx, job_id: str) -> dict[tuple[str, str], TableRows]:
    """What was noted, by schema and table."""
    query = select(table.c.schema_name, table.c.table_name, table.c.restored, table.c.done)
    found = tx.rows(query.where(table.c.job_id == job_id))
    rows = (TableRows(row.schema_name, row.table_name, row.restored, row.done) for row in found)
    return {(told.schema, told.table): told for told in rows}


def clear(tx: Tx, job_id: str) -> None:
    """Forget what was noted."""
    tx.change(delete(table).where(table.c.job_id == job_id))
