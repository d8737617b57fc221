"""What we ask databases for, and what is captured of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from engine.model import RolePowers
from engine.model.posture import Statement
from engine.posture.facts import Looked, Source, Taken
from engine.posture.wording import HOLDS, LIMIT, UNKNOWN, WEAKER, Where, ago, instant, listed, plural, say, span

_GRANTS = (
    "Make a role that only reads with the SQL of `offsitedb connection grants`, then give its connection string:"
    " `offsitedb connection edit {name} --url`."
)


def asked_for(looked: Looked) -> Iterator[Statement]:
    """The role of each connection, and what it may do beyond reading."""
    for source in looked.sources:
        taken = source.taken
        if taken is None:
            yield say(
                f"What the role of {source.name} may do is not known: no snapshot was taken yet, and the server is"
                " asked when one is.",
                (("connection", source.name), ("newest snapshot", None)),
                UNKNOWN,
                subject=source.name,
                place="connections",
            )
            continue
        yield _role(source, taken)
    if looked.sources:
        yield say(
            "Every session of ours begins read-only, with an empty search path, and reads through pg_dump, COPY and"
            " the server's catalog. Nothing is installed at a source: no extension, no agent, no replication slot.",
            (("connections", len(looked.sources)), ("sessions start with", looked.session_options)),
        )
    else:
        yield say(
            "No database is asked for anything: there is no connection yet.",
            (("connections", 0),),
            place="connections",
        )


def _role(source: Source, taken: Taken) -> Statement:
    powers = taken.powers
    seen = (
        ("role", taken.role),
        ("superuser", taken.superuser),
        ("as of snapshot", f"{taken.id[:12]}, {instant(taken.at)}"),
    )
    where = Where(subject=source.name, place="connections")
    if taken.superuser:
        return say(
            f"{source.name} is read as {taken.role}, a superuser: whoever steals this connection string owns the"
            " server.",
            seen,
            WEAKER,
            mend=_GRANTS.format(name=source.name),
            **where,
        )
    if powers is None:
        return say(
            f"{source.name} is read as {taken.role}, no superuser. Whether it could write is not known: the server was"
            " not asked when the newest snapshot was taken, or did not say.",
            seen,
            UNKNOWN,
            **where,
        )
    facts = (
        *seen,
        ("may write tables", powers.writes),
        ("owns tables", powers.owns),
        ("may create in", listed(powers.creates_in) or "no schema"),
        ("attributes", listed(_attributes(powers)) or "none"),
        ("member of", listed(powers.member_of) or "none of the server's own roles that write or run programs"),
        ("sessions begin read-only", powers.read_only),
    )
    if powers.beyond_reading:
        return say(
            f"{source.name} is read as {taken.role}, which could do more than read: {'; '.join(_beyond(powers))}. We"
            " do not use any of it; whoever steals the connection string could.",
            facts,
            WEAKER,
            mend=_GRANTS.format(name=source.name),
            **where,
        )
    hidden = "and sees all rows (BYPASSRLS)" if powers.bypassrls else "and is subject to row level security"
    return say(f"{source.name} is read as {taken.role}, which can only read {hidden}.", facts, HOLDS, **where)


def _attributes(powers: RolePowers) -> list[str]:
    named = (
        ("BYPASSRLS", powers.bypassrls),
        ("CREATEROLE", powers.createrole),
        ("CREATEDB", powers.createdb),
        ("REPLICATION", powers.replication),
    )
    return [name for name, there in named if there]


def _beyond(powers: RolePowers) -> Iterator[str]:
    if powers.writes:
        yield f"write {plural(powers.writes, 'table')}"
    if powers.owns:
        yield f"change or drop {plural(powers.owns, 'table')} that it owns"
    if powers.creates_in:
        yield f"create objects in {listed(powers.creates_in, 3)}"
    if powers.createrole:
        yield "make roles"
    if powers.createdb:
        yield "make databases"
    if powers.replication:
        yield "replicate the server"
    if powers.member_of:
        yield f"act as {listed(powers.member_of, 3)}"


def captured(looked: Looked) -> Iterator[Statement]:
    """What the newest snapshot of each connection holds and what not, and how old the newest proof is."""
    if not looked.sources:
        yield say("Nothing is captured: there is no connection yet.", (("connections", 0),), place="connections")
    for source in looked.sources:
        if source.taken is None:
            yield say(
                f"Nothing of {source.name} is captured yet.",
                (("connection", source.name), ("newest snapshot", None)),
                WEAKER,
                mend=f"`offsitedb checkpoint {source.name} --wait`.",
                subject=source.name,
                place="connections",
            )
            continue
        yield from _coverage(source, source.taken)
        yield _proof(source, source.taken, looked.at)


def _coverage(source: Source, taken: Taken) -> Iterator[Statement]:
    facts = (
        ("tables captured", f"{taken.tables} of {taken.tables_in_source}"),
        ("counts", "exact, in the dump's own snapshot" if taken.exact else "none"),
        ("content compared", source.fingerprint),
        ("as of snapshot", f"{taken.id[:12]}, {instant(taken.at)}"),
    )
    mendable = [n for n in taken.not_captured if n.fix_sql or n.kind == "table"]
    never = [n for n in taken.not_captured if n not in mendable]
    if mendable or taken.tables < taken.tables_in_source:
        reasons = [(f"not captured: {n.kind} {n.name}", n.reason) for n in mendable[:20]]
        more = [("not captured, too", f"{len(mendable) - 20} more")] if len(mendable) > 20 else []
        yield say(
            f"{taken.tables} of {plural(taken.tables_in_source, 'table')} of {source.name} are captured;"
            f" {plural(len(mendable), 'thing')} cannot be read by the role, and {'is' if len(mendable) == 1 else 'are'}"
            " named with the reason.",
            (*facts, *reasons, *more),
            WEAKER,
            mend=f"`offsitedb connection preflight {source.name}` prints the SQL that changes it.",
            subject=source.name,
            place="connections",
        )
    else:
        yield say(
            f"All {plural(taken.tables_in_source, 'table')} of {source.name} that hold rows are captured.",
            facts,
            subject=source.name,
            place="connections",
        )
    if never:
        yield say(
            f"No dump of one database holds these parts of {source.name}; keep them by other means.",
            [(n.kind, f"{n.name}: {n.reason}") for n in never[:20]],
            LIMIT,
            subject=source.name,
        )


def _proof(source: Source, taken: Taken, now: datetime) -> Statement:
    where = Where(subject=source.name, place="connections")
    target = ("proof may be as old as", span(source.target_s) if source.target_s is not None else "nobody set a target")
    if source.proven_at is None:
        return say(
            f"No snapshot of {source.name} was ever proven by a restore.",
            (("newest proof", None), ("newest snapshot", taken.at), target),
            WEAKER,
            mend=f"`offsitedb drill {source.name}@latest --wait`.",
            **where,
        )
    facts = (("newest proof, taken", source.proven_at), ("newest snapshot", taken.at), target)
    age = ago(now, source.proven_at)
    if source.target_s is None:
        return say(
            f"The newest proven snapshot of {source.name} was taken {age}. How old it may be was never said, so that"
            " nothing can be overdue.",
            facts,
            WEAKER,
            mend=f"`offsitedb connection edit {source.name} --proof-target 36h`, or a schedule:"
            f" `offsitedb schedule set {source.name} --preset 'daily at 03:00'`.",
            **where,
        )
    if (now - source.proven_at).total_seconds() > source.target_s:
        return say(
            f"The newest proven snapshot of {source.name} was taken {age}, which is older than it may be.",
            facts,
            WEAKER,
            mend=f"`offsitedb checkpoint {source.name} --wait`.",
            **where,
        )
    return say(f"The newest proven snapshot of {source.name} was taken {age}, within its target.", facts, **where)
