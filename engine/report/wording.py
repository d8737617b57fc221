"""What the report and its bundle say in whole sentences, worded once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from engine.evidence import sshsig
from engine.evidence.signer import PRINCIPAL

CIPHER = (
    "AES-256-GCM: a snapshot is sealed before anything of it leaves the host, with a key of its own that only the"
    " installation's key and its recovery code open"
)

COMMANDS = (
    "sha256sum -c SHA256SUMS",
    f"ssh-keygen -Y verify -f allowed_signers -I {PRINCIPAL} -n {sshsig.REPORT} -s SHA256SUMS.sig < SHA256SUMS",
)
"""What checks a bundle without our software, in its folder."""

_CLOCKS = timedelta(minutes=5)
"""By how much a good clock may be wrong."""

STAMP_COMMAND = "openssl ts -verify -data SHA256SUMS -in SHA256SUMS.tsr -CAfile AUTHORITY.pem"
"""What checks a bundle's time stamp without our software."""

CRITERIA = (
    ("A1.2", "Data back-up processes and recovery infrastructure are in place and watched", "Summary; retention proof"),
    ("A1.3", "Recovery procedures are tested", "Tested restore times; evidence of each snapshot"),
    ("C1.1", "Confidential information is identified and protected", "Controls: encryption; retention proof"),
    ("CC6.1", "Access to protected information is restricted", "Controls: keys and changes of access"),
    ("CC7.2", "Anomalies are noticed and judged", "Summary: exceptions and who acknowledged them"),
)
"""Orientation only; no claim that a criterion is met."""

NOT_PROVEN = (
    "The signature does not prove that this is the only history there was: whoever holds the signing key could have"
    " written another one before the first copy left the host. Keep each month's bundle where they cannot reach it.",
    "The signature does not prove when the report was made: the times are those of the host's own clock.",
    "The signature does not prove that the key belongs to whom you think: compare its fingerprint with one that you"
    " were given in another way.",
    "A receipt proves that what was captured came back equal; it does not prove that the source held what it should"
    " have held.",
    "What is neither in a receipt nor in the history (policies, targets, listings of destinations, and the months"
    " before this one in the chart) is as the installation's catalog said when the report was built.",
)

VERIFY = """\
HOW TO CHECK THIS REPORT
========================

You need no software of ours: coreutils and OpenSSH (8.2 or newer) do it. In this folder run

    {sums}

Every line has to say OK. Then run

    {signature}

It has to say: Good "{namespace}" signature for {principal} with ED25519 key {fingerprint}

WHAT THIS PROVES

The first command: that every file named in SHA256SUMS is as it was when the report was built. The second: that whoever
holds the signing key signed exactly this SHA256SUMS. The key is in allowed_signers. Compare its fingerprint

    {fingerprint}

with one that you were given in another way, or with the reports of earlier months: a stranger could have made a folder
like this one with a key of his own.

WHERE THERE IS A TIME STAMP

If there is a SHA256SUMS.tsr beside this file, an authority for time stamps (RFC 3161) was asked to say when it saw
SHA256SUMS. It is made over that file and so cannot be named in it; it may have come after the report was built. With
the authority's CA certificates, fetched from the authority itself and not from this folder, run

    {stamp}

It has to say: Verification: OK. (When a certificate has expired since, add -attime and the seconds since 1970 of a day
on which it was good.) The time stands in:

    openssl ts -reply -in SHA256SUMS.tsr -text

It proves that this SHA256SUMS, and with it every file that it names, existed at that time. It does not prove how long
before that it was made, nor that what it says is true, nor that there was no other one. That there is none, or that it
was taken away, changes nothing of what the first two commands prove.

WHAT IS IN HERE

    report.pdf  report.html  report.txt    the report, to be read
    report.json                            the same report as data; the others are made from it
    receipts/ID.json                       the signed receipt of every drill of the month (and of the one that proves
                                           the newest snapshot before it): every table, expected and restored
    events.jsonl                           the history, one event a line: each names the hash of the one before it.
                                           Of what concerns other databases there are hashes only
    head.txt                               the end of that history, signed
    SHA256SUMS.tsr                         the time stamp, where there is one

Whoever wants to count for himself: the figures of report.json follow from receipts/ and events.jsonl. With our
software installed, and neither catalog nor key, this does it all:

    offsitedb report verify .

WHAT IT DOES NOT PROVE

{not_proven}
"""


def verify_text(fingerprint: str) -> str:
    """``VERIFY.txt``."""
    return VERIFY.format(
        sums=COMMANDS[0],
        signature=COMMANDS[1],
        stamp=STAMP_COMMAND,
        namespace=sshsig.REPORT,
        principal=PRINCIPAL,
        fingerprint=fingerprint,
        not_proven="\n\n".join(f"* {_wrapped(sentence)}" for sentence in NOT_PROVEN),
    )


def moment_utc(at: datetime) -> str:
    """``2026-11-30 20:28:13 UTC``."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def stamp_shows(
    at: datetime, accuracy: timedelta | None, authority: str, *, held: bool, built_at: datetime | None
) -> str:
    """What a time stamp proves, and what it does not. ``built_at``: as the report says."""
    if not held:
        return (
            f"The time stamp names {moment_utc(at)}, but its signature was held against nobody's certificate: it proves"
            " nothing until it is. Fetch the authority's CA certificates from the authority, and give them with"
            " `--timestamp-ca FILE`."
        )
    said = f" The report says that it was built at {moment_utc(built_at)}" if built_at is not None else ""
    if built_at is not None:
        late = built_at - at > (accuracy or timedelta()) + _CLOCKS
        said += ", which is later: one of the two clocks was wrong." if late else "."
    give = f" (give or take {accuracy.total_seconds():g} s)" if accuracy else ""
    return (
        f"The time stamp proves that this bundle existed at {moment_utc(at)}{give}, if you trust the clock of"
        f" {authority}.{said} It does not prove how long before that it was made, that what it says is true, or that it"
        " is the only one."
    )


def _wrapped(text: str, width: int = 116) -> str:
    """Lines of at most ``width`` characters, those after the first indented under a bullet."""
    lines, line = list[str](), ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n  ".join([*lines, line])
