"""When checkpoints are due: cron expressions, presets, time zones, slots, and what becomes of a slot. Pure.

It reads no clock and no catalog. It refuses expressions that never fire, seconds, and zones that nobody knows.
"""

from engine.schedule.cron import check_cron
from engine.schedule.decide import Decision, decide, drills_this, target_of
from engine.schedule.policies import parse_policy, policy_text, policy_words
from engine.schedule.presets import cron_of, in_words
from engine.schedule.slots import next_slot, next_slots, slots_between
from engine.schedule.zones import check_zone, local_text, zone

__all__ = [
    "Decision",
    "check_cron",
    "check_zone",
    "cron_of",
    "decide",
    "drills_this",
    "in_words",
    "local_text",
    "next_slot",
    "next_slots",
    "parse_policy",
    "policy_text",
    "policy_words",
    "slots_between",
    "target_of",
    "zone",
]
