"""Looking before a snapshot is taken: what will be captured, what will not, why, and the SQL that changes it.

Every finding is said in words that somebody new to PostgreSQL understands. The room changes nothing, at the source or
here; it refuses to call a connection healthy of which no row can be captured.
"""

from engine.preflight.findings import Captured, ChecksFailed, Preflight
from engine.preflight.look import raise_if_blocking, run

__all__ = ["Captured", "ChecksFailed", "Preflight", "raise_if_blocking", "run"]
