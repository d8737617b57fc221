"""Drills run other people's SQL: what stood between them and the host, and which programs did it."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model import Isolation
from engine.model.posture import Statement
from engine.posture.facts import Looked, Source, Unknown
from engine.posture.wording import UNKNOWN, WEAKER, Where, ago, instant, plural, say

_INSTALL = "Install bubblewrap with this host's packages (`apt install bubblewrap`), then restart the worker."


def isolation(looked: Looked) -> Iterator[Statement]:
    yield _host(looked)
    yield from _strict(looked)
    for source in looked.sources:
        yield _last(looked, source)
    yield _plaintext(looked)


def _facts(found: Isolation) -> tuple[tuple[str, object], ...]:
    return (
        ("sandbox", found.sandbox),
        ("network", "out of reach" if found.network == "none" else f"of the {found.network}"),
        ("OS user", found.user or "of the worker"),
    )


def _host(looked: Looked) -> Statement:
    found = looked.doctor.isolation
    facts = (*_facts(found), ("tried", "now, with a program that lists its network"))
    missing = tuple(("why nothing stronger", reason) for reason in looked.doctor.isolation_missing)
    if found.network != "none":
        return say(
            "A drill on this host would run beside everything else: no sandbox works here, and the network is"
            " in reach.",
            (*facts, *missing),
            WEAKER,
            mend=_INSTALL,
            place="settings:tools",
        )
    if found.sandbox != "bubblewrap":
        return say(
            "Drills on this host run without network, and could see the host's files that their OS user may read.",
            (*facts, *missing),
            WEAKER,
            mend=_INSTALL,
            place="settings:tools",
        )
    return say(
        "Drills on this host run in a sandbox without network that sees nothing of the host but its programs and the"
        " scratch directory.",
        facts,
        place="settings:tools",
    )


def _strict(looked: Looked) -> Iterator[Statement]:
    policy = looked.settings.drill.isolation
    if policy == "required":
        yield say("A drill without such isolation is refused (`drill.isolation`).", (("drill.isolation", policy),))
    elif looked.doctor.isolation.network == "none":
        yield say(
            "Where the sandbox fails one day, drills go on without it and their receipts say so: isolation is not"
            " required.",
            (("drill.isolation", policy),),
            WEAKER,
            mend='Write `isolation = "required"` under `[drill]` in config.toml.',
        )


def _last(looked: Looked, source: Source) -> Statement:
    drilled = source.drilled
    where = Where(subject=source.name, place="connections")
    if drilled is None:
        return say(
            f"{source.name} was never drilled, so that no receipt says what was in force.",
            (("connection", source.name), ("drills", 0)),
            UNKNOWN,
            **where,
        )
    if isinstance(drilled, Unknown):
        return say(
            f"What was in force at the last drill of {source.name} is not known: {drilled.why}.",
            (("connection", source.name),),
            UNKNOWN,
            **where,
        )
    found = drilled.isolation
    facts = (
        *_facts(found),
        ("receipt of drill", f"{drilled.record.id[:12]}, {instant(drilled.record.finished_at)}"),
        ("verdict", drilled.record.verdict.value),
    )
    age = ago(looked.at, drilled.record.finished_at)
    if found.sandbox.startswith("external server"):
        return say(
            f"The last drill of {source.name}, {age}, ran on an {found.sandbox}, which has the network that it has:"
            " nothing there is isolated by us.",
            facts,
            WEAKER,
            mend=f"`offsitedb connection edit {source.name} --scratch none` drills in a cluster of this host, where it"
            " has what the database needs.",
            **where,
        )
    if found.network != "none":
        return say(
            f"The last drill of {source.name}, {age}, ran with the network in reach.",
            facts,
            WEAKER,
            mend=f"Mend the host's isolation first (`offsitedb doctor`), then `offsitedb drill {source.name}@latest"
            " --wait`.",
            **where,
        )
    return say(
        f"The last drill of {source.name}, {age}, ran without network ({found.sandbox}), as its signed receipt says.",
        facts,
        **where,
    )


def _plaintext(looked: Looked) -> Statement:
    entries = looked.scratch_entries
    facts: tuple[tuple[str, object], ...] = (
        ("directories where drills restore", f"not known: {entries.why}" if isinstance(entries, Unknown) else entries),
        ("jobs that may use them", looked.scratch_busy),
    )
    if isinstance(entries, Unknown):
        return say(f"Whether a drill left a database in clear on disk is not known: {entries.why}.", facts, UNKNOWN)
    if entries > looked.scratch_busy:
        return say(
            f"{plural(entries, 'scratch directory', 'scratch directories')} and {plural(looked.scratch_busy, 'job')}"
            " that could use them: a drill that was killed may have left a restored database on disk.",
            facts,
            WEAKER,
            mend="`offsitedb worker` removes them when it starts.",
        )
    return say(
        "No restored database lies on disk but for drills that run now. The decrypted archive is never a file with a"
        " name: it is an unnamed one in the drill's scratch directory, gone with it. What an operator downloads lies"
        " where the operator put it.",
        facts,
    )


def programs(looked: Looked) -> Iterator[Statement]:
    """PostgreSQL's programs against the security floor of each major."""
    doctor = looked.doctor
    if not doctor.postgres:
        yield say(
            "Which PostgreSQL programs are used is not known: there are none on this host.",
            (("programs found", 0),),
            UNKNOWN,
            place="settings:tools",
        )
    for tool in doctor.postgres:
        facts = (("version", tool.version), ("security floor", tool.floor), ("where", f"{tool.where} ({tool.source})"))
        if tool.floor == "unknown":
            yield say(
                f"Whether PostgreSQL {tool.version} has known holes is not known: there is no security floor for"
                f" {tool.major}.",
                facts,
                UNKNOWN,
                place="settings:tools",
            )
        elif tool.meets_floor:
            yield say(
                f"PostgreSQL {tool.version} here is at or above the security floor {tool.floor}.",
                facts,
                place="settings:tools",
            )
        else:
            how = (
                f"`apt install --only-upgrade postgresql-client-{tool.major} postgresql-{tool.major}`, or your"
                " distribution's like of it."
                if tool.source == "system"
                else f"`offsitedb postgres install {tool.major}` takes the newest that is published."
            )
            yield say(
                f"PostgreSQL {tool.version} here is below the security floor {tool.floor}: what executes other people's"
                " schemas has known holes.",
                facts,
                WEAKER,
                mend=how,
                place="settings:tools",
            )
    for source in looked.sources:
        yield from _used(source)
    strict = looked.settings.postgres.strict_floor
    if doctor.postgres and not strict and any(not t.meets_floor for t in doctor.postgres):
        yield say(
            "Programs below the floor are used with a warning (`postgres.strict_floor` is off).",
            (("postgres.strict_floor", strict),),
            WEAKER,
            mend="Write `strict_floor = true` under `[postgres]` in config.toml: they are refused then.",
        )
    elif strict:
        yield say("Programs below the floor are refused.", (("postgres.strict_floor", strict),))


def _used(source: Source) -> Iterator[Statement]:
    taken = source.taken
    if taken is None:
        return
    facts = (("pg_dump", taken.pg_dump), ("in a sandbox", taken.sandbox), ("as of snapshot", taken.id[:12]))
    where = Where(subject=source.name, place="settings:tools")
    if taken.pg_dump is None:
        yield say(
            f"Which pg_dump took the newest snapshot of {source.name} is not known: it was not written down.",
            facts,
            UNKNOWN,
            **where,
        )
    elif taken.below_floor is not None:
        yield say(
            f"The newest snapshot of {source.name} was taken by pg_dump {taken.pg_dump}, below the security floor"
            f" {taken.below_floor}.",
            facts,
            WEAKER,
            mend=f"Update the programs as said above, then `offsitedb checkpoint {source.name} --wait`.",
            **where,
        )
    else:
        yield say(f"The newest snapshot of {source.name} was taken by pg_dump {taken.pg_dump}.", facts, **where)
