"""What the first run says, step by step. Pure: no Textual."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from engine.errors import OffsiteError
from screens import present_connections as words
from screens.phrase import Phrase, Tone, joined, paragraphs

GROUPS_ASKED = 3


class Step(IntEnum):
    """In order."""

    KEY = 1
    CODE = 2
    DESTINATION = 3
    CONNECTION = 4
    CHECKPOINT = 5


TITLES = {
    Step.KEY: "Key",
    Step.CODE: "Recovery code",
    Step.DESTINATION: "Destination",
    Step.CONNECTION: "Connection",
    Step.CHECKPOINT: "First checkpoint",
}
_ABOUT = {
    Step.KEY: "made here, and put into this machine's keyring",
    Step.CODE: "shown once, for you to keep away from this machine",
    Step.DESTINATION: "where backups go: a bucket, or a folder",
    Step.CONNECTION: "the database to protect, tested before it is saved",
    Step.CHECKPOINT: "taken, fetched back, restored and compared",
}
_BLANK = Phrase()


def progress(now: Step, *, confirmed: bool = True) -> Phrase:
    """``✓ Key · ● Recovery code · 3 Destination · …``. ``confirmed``: the recovery code was typed back."""
    parts = []
    for step, title in TITLES.items():
        if step is Step.CODE and step < now and not confirmed:
            parts.append(Phrase(f"! {title}", Tone.WARN))
        elif step < now:
            parts.append(Phrase(f"✓ {title}", Tone.GOOD))
        elif step == now:
            parts.append(Phrase(f"● {title}", Tone.STRONG))
        else:
            parts.append(Phrase(f"{step} {title}", Tone.DIM))
    return joined(parts)


def welcome(keyring: str | OffsiteError | None) -> tuple[Phrase, ...]:
    """What will happen, what is needed, and where the key will be kept."""
    steps = (Phrase(f"  {step}  ") + Phrase(f"{TITLES[step]:<18}", Tone.STRONG) + _dim(_ABOUT[step]) for step in TITLES)
    return (
        Phrase("Welcome to OffsiteDB.", Tone.STRONG),
        Phrase("Five steps from here to a backup that is proven to restore:"),
        _BLANK,
        *steps,
        _BLANK,
        Phrase("You need", Tone.STRONG),
        Phrase("  a connection string   ") + _dim("postgresql://…, best of a role that only reads"),
        Phrase("  a place for backups   ") + _dim("a bucket and its access keys, or a folder"),
        _BLANK,
        Phrase("The master key will be kept in", Tone.STRONG),
        *_keyring_lines(keyring),
        _BLANK,
        Phrase("enter begins. ", Tone.STRONG) + _dim("Nothing was changed yet; q leaves."),
        Phrase("r", Tone.STRONG) + _dim(" the old machine is lost: recover it from its destination."),
    )


def _keyring_lines(keyring: str | OffsiteError | None) -> tuple[Phrase, ...]:
    if keyring is None:
        return (Phrase("  ● ", Tone.BUSY) + _dim("looking for a keyring"),)
    if isinstance(keyring, OffsiteError):
        hint = (Phrase("    ") + line for line in paragraphs(keyring.hint))
        return (Phrase("  ✗ ", Tone.BAD) + Phrase(keyring.message), *hint)
    caveat = words.keyring_caveat(keyring)
    return (
        Phrase("  ✓ ", Tone.GOOD) + Phrase(words.keyring_words(keyring)),
        *((Phrase("    ") + _dim(caveat),) if caveat else ()),
    )


def code(groups: Sequence[str], backend: str) -> tuple[Phrase, ...]:
    """The recovery code, and what it is for."""
    return (
        Phrase("✓ ", Tone.GOOD)
        + Phrase("The master key is made. It is kept in ")
        + Phrase(words.keyring_words(backend)),
        _BLANK,
        Phrase("This is the recovery code. It is shown once, and kept nowhere.", Tone.STRONG),
        _dim("It opens every backup, even when this machine is gone. Without the code"),
        _dim("and without this machine nobody can. Write it down, or put it into a"),
        _dim("password manager that is not on this machine."),
        _BLANK,
        *words.code_lines(groups),
        _BLANK,
        Phrase("y", Tone.STRONG) + _dim(" copies it · ") + Phrase("enter", Tone.STRONG) + _dim(" when you have it"),
    )


def type_back(positions: Sequence[int]) -> tuple[Phrase, ...]:
    """Asks for parts of it."""
    listed = ", ".join(str(n) for n in positions[:-1]) + f" and {positions[-1]}"
    return (
        Phrase(f"Type groups {listed} of what you have written down.", Tone.STRONG),
        _dim("They are numbered as on the screen before."),
    )


WITHOUT_CONFIRMING = (
    Phrase("! ", Tone.WARN) + Phrase("Without the code, whoever loses this machine loses every backup."),
    Phrase("  It is not shown again; Settings asks for all of it until it is confirmed.", Tone.DIM),
)
DESTINATION = (
    Phrase("Where backups go", Tone.STRONG),
    _BLANK,
    Phrase("  A bucket       ") + Phrase("somewhere else, which is the point: S3 and compatible", Tone.DIM),
    Phrase("  A folder       ") + Phrase("an external disk or a network mount", Tone.DIM),
    _BLANK,
    Phrase("Everything is encrypted here before it leaves. The keys of a bucket need", Tone.DIM),
    Phrase("no right to delete; the form shows the policy to copy. The place is tried", Tone.DIM),
    Phrase("before it is saved.", Tone.DIM),
    _BLANK,
    Phrase("enter", Tone.STRONG) + Phrase(" opens the form · ", Tone.DIM) + Phrase("l", Tone.STRONG)
    + Phrase(" leaves it for later", Tone.DIM),
)  # fmt: skip
CONNECTION = (
    Phrase("The database to protect", Tone.STRONG),
    _BLANK,
    Phrase("Paste its connection string. A role that only reads is enough; the form", Tone.DIM),
    Phrase("shows the SQL that makes one. You see what can be captured, and what", Tone.DIM),
    Phrase("cannot, before it is saved. Nothing in the database is changed.", Tone.DIM),
    _BLANK,
    Phrase("enter", Tone.STRONG) + Phrase(" opens the form · ", Tone.DIM) + Phrase("l", Tone.STRONG)
    + Phrase(" leaves it for later", Tone.DIM),
)  # fmt: skip


def checkpoint(connection: str, destination: str, *, worker: bool) -> tuple[Phrase, ...]:
    """The last step: what enter starts."""
    runs = (
        _dim("A worker is running; it does the work.")
        if worker
        else _dim("No worker is running yet: one is started for as long as this console is")
    )
    service = () if worker else (_dim("open. For good, run `offsitedb worker` as a service."),)
    return (
        Phrase("Everything is in place.", Tone.STRONG),
        _BLANK,
        Phrase("  ") + Phrase(connection, Tone.STRONG) + Phrase("  →  ") + Phrase(destination, Tone.STRONG),
        _BLANK,
        _dim("The first checkpoint takes a snapshot, fetches it back from there, restores"),
        _dim("it into a throw-away PostgreSQL server and counts the rows of every table."),
        _BLANK,
        runs,
        *service,
        _dim("Several people? 6 Settings › Operators gives each a login; alone skip it."),
        _BLANK,
        Phrase("enter", Tone.STRONG) + _dim(" starts it · ") + Phrase("l", Tone.STRONG) + _dim(" leaves it for later"),
    )


def _dim(text: str) -> Phrase:
    return Phrase(text, Tone.DIM)
