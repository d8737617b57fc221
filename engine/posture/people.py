"""Who may do what, with which keys, and who is told when something is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model import ChannelKind, ChannelView, Role
from engine.model.apikeys import ApiKeyView, KeyState
from engine.model.posture import Statement
from engine.posture.facts import Looked
from engine.posture.wording import UNKNOWN, WEAKER, Where, ago, listed, plural, say, span, value_text

_OLD_DAYS = 90
_HUMAN = "settings:operators"


def access(looked: Looked) -> Iterator[Statement]:
    """Operators, what their roles are worth, sessions, API keys."""
    live = [o for o in looked.operators if o.disabled_at is None]
    if not looked.operators:
        yield say(
            f"Nobody logs in: whoever may use the OS account {looked.os_user} may do everything, under that name. That"
            " is right for one person.",
            (("operators", 0), ("OS account", looked.os_user)),
            WEAKER,
            mend="For several people: `offsitedb operator add NAME --role admin`.",
            place=_HUMAN,
        )
    else:
        counted = {role: sum(o.role is role for o in live) for role in Role}
        yield say(
            f"{plural(len(live), 'person logs in', 'people log in')}, each with a name, a password and a role, and"
            " stands by name in the history.",
            (
                *((f"{role.value}s", counted[role]) for role in Role),
                ("disabled", listed(o.name for o in looked.operators if o.disabled_at is not None) or "nobody"),
                *((o.name, f"{o.role.value}, last login {value_text(o.last_login_at or 'never')}") for o in live[:20]),
            ),
            place=_HUMAN,
        )
        for operator in live:
            last = operator.last_login_at or operator.created_at
            if (looked.at - last).days >= _OLD_DAYS:
                yield say(
                    f"{operator.name} ({operator.role}) may log in, and has not done so since {ago(looked.at, last)}.",
                    (("operator", operator.name), ("last login", operator.last_login_at or "never")),
                    WEAKER,
                    mend=f"`offsitedb operator disable {operator.name}`, where it is not needed any more.",
                    subject=operator.name,
                    place=_HUMAN,
                )
        yield from _boundary(looked)
        yield _logins(looked)
    yield from _keys(looked)


def _logins(looked: Looked) -> Statement:
    rules = looked.logins
    return say(
        f"A login lasts {span(rules.absolute_s)} at the most and ends after {span(rules.idle_s)} without use; passwords"
        f" have at least {rules.shortest} characters and are kept as hashes. After {rules.free} failures an"
        f" account waits 2, 4, 8 … seconds, at most {span(rules.longest_wait_s)}.",
        (
            ("sessions now", sum(o.sessions for o in looked.operators)),
            ("idle limit", span(rules.idle_s)),
            ("longest session", span(rules.absolute_s)),
            ("shortest password", rules.shortest),
            ("passwords are kept as", "; ".join(rules.hashes)),
        ),
        place=_HUMAN,
    )


def _boundary(looked: Looked) -> Iterator[Statement]:
    mode = ("access.service_user", looked.settings.access.service_user)
    if not looked.settings.access.service_user:
        yield say(
            f"Roles are guard-rails: they keep people from mistakes. Whoever may use the OS account {looked.os_user}"
            " can read and write the installation's files beside the program.",
            (mode, ("OS account", looked.os_user)),
            WEAKER,
            mend="docs/SERVICE-USER.md makes them a boundary: an account that belongs to the service, and"
            " `service_user = true` under `[access]` in config.toml.",
            place=_HUMAN,
        )
        return
    if looked.root:
        yield say(
            "The installation says that it is a service's, but it runs as root.",
            (mode, ("OS account", looked.os_user)),
            WEAKER,
            mend="Run it as an account of its own: docs/SERVICE-USER.md.",
            place=_HUMAN,
        )
    yield say(
        f"The account {looked.os_user} is said to be the service's alone, which makes roles a boundary. Whether people"
        " can reach it in another way than this program is not known: sshd's and sudo's settings are not read.",
        (mode, ("OS account", looked.os_user)),
        UNKNOWN,
        place=_HUMAN,
    )


def _keys(looked: Looked) -> Iterator[Statement]:
    good = [k for k in looked.api_keys if k.state in (KeyState.ACTIVE, KeyState.ENDING)]
    ended = len(looked.api_keys) - len(good)
    if not good:
        yield say(
            "No machine may ask for checkpoints: there is no API key that is good.",
            (("API keys that are good", 0), ("ended", ended)),
            place="settings:apikeys",
        )
        return
    for key in good:
        yield _key(looked, key)


def _key(looked: Looked, key: ApiKeyView) -> Statement:
    where = Where(subject=key.name, place="settings:apikeys")
    reach = listed(key.connections) or "every connection, also those to come"
    facts = (
        ("key", key.id),
        ("may", ", ".join(s.value for s in key.scopes)),
        ("reaches", reach),
        ("made", f"{key.created_at:%Y-%m-%d} by {key.created_by}"),
        ("last used", key.last_used_at or "never"),
        ("ends", key.expires_at or "when somebody ends it"),
    )
    made = ago(looked.at, key.created_at)
    if (looked.at - (key.last_used_at or key.created_at)).days >= _OLD_DAYS:
        return say(
            f"The API key {key.name} was not used for {_OLD_DAYS} days or more, and is good.",
            facts,
            WEAKER,
            mend=f"`offsitedb apikey revoke {key.id}`, where it is not needed any more.",
            **where,
        )
    if key.state is KeyState.ACTIVE and (looked.at - key.created_at).days >= _OLD_DAYS:
        return say(
            f"The API key {key.name} was made {made}; keys should be changed every {_OLD_DAYS} days.",
            facts,
            WEAKER,
            mend=f"`offsitedb apikey rotate {key.id}`: both are good for a day.",
            **where,
        )
    return say(
        f"The API key {key.name}, made {made}, may {' and '.join(s.value for s in key.scopes)} for {reach}. Only its"
        " SHA-256 is kept.",
        facts,
        **where,
    )


def told(looked: Looked) -> Iterator[Statement]:
    """Whether somebody hears of what is wrong."""
    place = "settings:alerts"
    if not looked.channels:
        yield say(
            "Nobody is told when something is wrong: there is no alert channel.",
            (("alert channels", 0),),
            WEAKER,
            mend="`offsitedb alerts add NAME --kind heartbeat`, and one that people read: `offsitedb alerts add NAME`.",
            place=place,
        )
    else:
        yield from _channels(looked)
    for pause in looked.paused:
        yield say(
            f"Retention of {pause.connection} is paused: {pause.reason}. Nothing is removed until somebody has looked.",
            (("connection", pause.connection), ("why", pause.reason)),
            WEAKER,
            mend=f"`offsitedb retention plan {pause.connection}`.",
            subject=pause.connection,
            place="connections",
        )
    if not looked.paused:
        yield say(
            "Retention is paused nowhere.",
            (("paused", 0), ("connections", len(looked.sources))),
        )


def _channels(looked: Looked) -> Iterator[Statement]:
    place = "settings:alerts"
    hearing = [c for c in looked.channels if c.kind is not ChannelKind.HEARTBEAT]
    beating = [c for c in looked.channels if c.kind is ChannelKind.HEARTBEAT]
    if hearing:
        yield say(
            f"{plural(len(hearing), 'channel is', 'channels are')} told when something is wrong.",
            [(c.name, f"{c.kind.value}, {c.shown}, of {_kinds(c)}") for c in hearing[:20]],
            place=place,
        )
    else:
        yield say(
            "Nobody is told what is wrong: there is a heartbeat only.",
            (("alert channels", len(looked.channels)), ("of these heartbeats", len(beating))),
            WEAKER,
            mend="`offsitedb alerts add NAME`.",
            place=place,
        )
    if not beating:
        yield say(
            "A worker that is dead can tell nobody, and no heartbeat is missed: there is none.",
            (("heartbeats", 0),),
            WEAKER,
            mend="`offsitedb alerts add NAME --kind heartbeat`, with the URL of a watching service.",
            place=place,
        )
    for channel in looked.channels:
        yield _arrived(looked, channel)


def _kinds(channel: ChannelView) -> str:
    return listed(k.value for k in channel.only) or "everything"


def _arrived(looked: Looked, channel: ChannelView) -> Statement:
    where = Where(subject=channel.name, place="settings:alerts")
    facts = (
        ("newest arrived", channel.delivered_at or "never"),
        ("waiting", channel.waiting),
        ("error", channel.error),
    )
    mend = f"`offsitedb alerts test {channel.name}`."
    if channel.error:
        return say(f"What was last sent to {channel.name} has not arrived.", facts, WEAKER, mend=mend, **where)
    if channel.delivered_at is None:
        return say(
            f"Whether {channel.name} works is not known: nothing was sent to it yet. `offsitedb alerts test"
            f" {channel.name}` sends something.",
            facts,
            UNKNOWN,
            **where,
        )
    return say(f"{channel.name} was last told something {ago(looked.at, channel.delivered_at)}.", facts, **where)
