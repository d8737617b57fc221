"""Policies checked and put into words."""

from __future__ import annotations

from engine.errors import ConfigError
from engine.model.retention import DAY_S, RetentionPolicy

SLOTS = ("hourly", "daily", "weekly", "monthly", "yearly")
_MOST = 100_000
_LONGEST_S = 36_500 * DAY_S
_TAGS = 50
_UNITS = ((DAY_S, "day"), (3600.0, "hour"), (60.0, "minute"))
_KEEPS = (
    "Give at least one of --keep-last, --keep-hourly, --keep-daily, --keep-weekly, --keep-monthly, --keep-yearly,"
    " --keep-within."
)


def check_policy(policy: RetentionPolicy) -> None:
    """Raise ConfigError ``config.invalid`` for a policy that keeps nothing, or that no number of snapshots fits."""
    counts = {"last": policy.keep_last, **{slot: getattr(policy, f"keep_{slot}") for slot in SLOTS}}
    for name, n in counts.items():
        if not 0 <= n <= _MOST:
            raise ConfigError("config.invalid", f"keep {name} is {n}", hint=f"Give a number from 0 to {_MOST:,}.")
    if not any(counts.values()) and policy.keep_within_s is None:
        raise ConfigError("config.invalid", "a policy without a rule would keep next to nothing", hint=_KEEPS)
    if not 1 <= policy.keep_newest_proven <= _MOST:
        raise ConfigError(
            "config.invalid",
            "the newest proven snapshot is never removed",
            hint="Give --keep-newest-proven a number from 1 on.",
        )
    for name, seconds in (("within", policy.keep_within_s), ("unproven", policy.keep_unproven_s)):
        if seconds is not None and not 0 < seconds <= _LONGEST_S:
            raise ConfigError("config.invalid", f"keep {name} is no useful time", hint="Give it as in 12h or 14d.")
    if len(policy.keep_tags) > _TAGS or not all(0 < len(t) <= 100 and t.isprintable() for t in policy.keep_tags):
        raise ConfigError(
            "config.invalid",
            "a tag to keep has 1 to 100 printable characters",
            hint="* and ? stand for any characters, as in `release-*`.",
        )


def policy_words(policy: RetentionPolicy | None) -> str:
    """The policy as one sentence; a connection without one keeps everything."""
    if policy is None:
        return "everything is kept"
    rules = [f"the last {policy.keep_last}"] if policy.keep_last else []
    rules += [f"{n} {slot}" for slot in SLOTS if (n := int(getattr(policy, f"keep_{slot}")))]
    if policy.keep_within_s is not None:
        rules.append(f"all within {span(policy.keep_within_s)} of the newest")
    if policy.keep_tags:
        rules.append(f"tags {', '.join(policy.keep_tags)}")
    newest = "the newest proven one" if policy.keep_newest_proven == 1 else f"the {policy.keep_newest_proven} newest"
    return f"{', '.join(rules)}; always {newest}; unproven ones {span(policy.keep_unproven_s)}"


def span(seconds: float) -> str:
    """``14 days``, ``36 hours``: in the largest unit that needs no fraction."""
    for size, name in _UNITS:
        if seconds % size == 0:
            n = int(seconds // size)
            return f"{n} {name}{'' if n == 1 else 's'}"
    return f"{seconds:g} seconds"
