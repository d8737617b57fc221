"""Which snapshots are kept, and why: pure. Nothing here reads a clock, a catalog or a destination.

The slots are restic's: of each hour, day, week, month or year the newest snapshot, for as many of them as the policy
says and have one; while slots are left over the oldest snapshot is kept, too, so that history grows to its full length.
What is different: only proven snapshots fill slots, and the newest proven ones are beyond every rule.
"""

from engine.retention.plan import is_overdue, plan
from engine.retention.policy import check_policy, policy_words

__all__ = ["check_policy", "is_overdue", "plan", "policy_words"]
