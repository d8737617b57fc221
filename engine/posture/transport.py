"""What protects bytes on the way: to databases, to destinations, to the catalog, to alert channels."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model.posture import Statement
from engine.posture.facts import Link, Looked, Place, Source, Unknown
from engine.posture.wording import HOLDS, UNKNOWN, WEAKER, Where, say

_VERIFIED = "verify-full"


def transport(looked: Looked) -> Iterator[Statement]:
    for source in looked.sources:
        yield _source(source)
    for place in looked.places:
        yield _destination(place)
    yield _catalog(looked)
    for channel in looked.channels:
        if channel.allow_private:
            yield say(
                f"The alert channel {channel.name} may use http, any port and private addresses: somebody allowed it.",
                (("channel", channel.name), ("goes to", channel.shown), ("allow private", True)),
                WEAKER,
                mend=f"`offsitedb alerts remove {channel.name}`, then add it with an https URL:"
                f" `offsitedb alerts add {channel.name}`.",
                subject=channel.name,
                place="settings:alerts",
            )
        else:
            yield say(
                f"The alert channel {channel.name} is reached by https alone, at public addresses.",
                (("channel", channel.name), ("goes to", channel.shown), ("allow private", False)),
                subject=channel.name,
                place="settings:alerts",
            )


def _source(source: Source) -> Statement:
    link, taken = source.link, source.taken
    where = Where(subject=source.name, place="connections")
    seen: list[tuple[str, object]] = []
    if taken is not None:
        used = f"{taken.tls.version or 'TLS'} {taken.tls.cipher or ''}".strip() if taken.tls.in_use else "not encrypted"
        seen = [("at the newest snapshot", f"{used}, sslmode={taken.tls.sslmode}, {taken.tls.transport}")]
    if isinstance(link, Unknown):
        return say(
            f"How {source.name} is reached is not known: {link.why}.",
            (("connection", source.name), *seen),
            UNKNOWN,
            **where,
        )
    facts = (("address", link.address), ("sslmode", link.sslmode), ("CA", _ca(link)), *seen)
    if link.local:
        return say(
            f"{source.name} is reached at an address of this machine: this program sends nothing of it over a network."
            " What listens there is not looked at.",
            facts,
            **where,
        )
    if link.sslmode == _VERIFIED:
        return say(f"The way to {source.name} is encrypted, and its certificate and name are verified.", facts, **where)
    mend = (
        f"`offsitedb connection edit {source.name} --url` with `sslmode=verify-full` (and `sslrootcert=/path/ca.pem`"
        " where the provider has a CA of its own)."
    )
    how = {
        "verify-ca": "encrypted and signed by a known CA, but the server's name is not verified",
        "require": "encrypted, but nobody verifies who answers",
    }.get(link.sslmode, "encrypted only if the server offers it, and nobody verifies who answers")
    if link.sslmode == "disable":
        how = "not encrypted: the data can be read on the way"
    return say(f"The way to {source.name} is {how}.", facts, WEAKER, mend=mend, **where)


def _ca(link: Link) -> str:
    if link.ca is None:
        return "none: nothing is verified"
    return link.ca if link.own_ca else "the bundle of public CAs that comes with this program"


def _destination(place: Place) -> Statement:
    where = Where(subject=place.name, place="settings:destinations")
    if place.endpoint is None:
        return say(
            f"{place.name} is a folder: this program sends nothing over a network to get there.",
            (("destination", place.name), ("folder", place.where)),
            **where,
        )
    ca = "its own, given when it was added" if place.own_ca else "public CAs"
    facts = (("endpoint", place.endpoint), ("CA", ca))
    if place.endpoint.lower().startswith("https://"):
        return say(f"{place.name} is reached by https, and its certificate is verified.", facts, HOLDS, **where)
    if place.local:
        return say(
            f"{place.name} is reached by plain http, at an address of this machine: its keys and sealed snapshots do"
            " not leave it.",
            facts,
            WEAKER,
            mend="Give the endpoint a certificate and add it by https:"
            " `offsitedb destination add NAME --bucket B --endpoint https://… --ca-file ca.pem`, then"
            " `offsitedb connection edit C --destination NAME`.",
            **where,
        )
    return say(
        f"{place.name} is reached by plain http: snapshots are sealed before they leave, but which keys are used, and"
        " what is stored when, can be read and altered on the way.",
        (*facts, ("allow http", True)),
        WEAKER,
        mend="Add it by https: `offsitedb destination add NAME --bucket B --endpoint https://…`, then"
        " `offsitedb connection edit C --destination NAME`.",
        **where,
    )


def _catalog(looked: Looked) -> Statement:
    where = (("catalog", looked.catalog_where),)
    if looked.catalog_sslmode is None:
        return say("The catalog is a file in the installation's home.", where)
    facts = (*where, ("sslmode", looked.catalog_sslmode))
    if looked.catalog_local:
        return say("The catalog is a PostgreSQL database, reached at an address of this machine.", facts)
    if looked.catalog_sslmode == _VERIFIED:
        return say("The way to the catalog's database is encrypted, and its certificate is verified.", facts)
    return say(
        "The way to the catalog's database is not verified: somebody on the way could pose as it. Secrets in it are"
        " sealed, everything else is in clear.",
        facts,
        WEAKER,
        mend="Set `OFFSITEDB_DATABASE_URL` to end in `?sslmode=verify-full&sslrootcert=/path/ca.pem`.",
    )
