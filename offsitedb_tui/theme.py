"""The looks: one for terminals with true colour, one in the terminal's own sixteen, which is also the cheaper one."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from textual.theme import Theme

DARK = Theme(
    name="offsitedb",
    primary="#5fb3b3",
    secondary="#8fa8c8",
    accent="#6cb6ff",
    foreground="#d5dbe3",
    background="#11151c",
    surface="#11151c",
    panel="#1c2330",
    success="#7fc97f",
    warning="#e6b450",
    error="#f07178",
    dark=True,
)
LIGHT = Theme(
    name="offsitedb-light",
    primary="#1f6f78",
    secondary="#44546a",
    accent="#0b62c4",
    foreground="#1b2330",
    background="#fafafa",
    surface="#fafafa",
    panel="#e6eaf0",
    success="#2e7d32",
    warning="#9a6700",
    error="#b3261e",
    dark=False,
)
SIXTEEN = Theme(
    name="offsitedb-16",
    ansi=True,
    primary="ansi_cyan",
    secondary="ansi_cyan",
    accent="ansi_bright_blue",
    warning="ansi_yellow",
    error="ansi_bright_red",
    success="ansi_green",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables={
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_cyan",
        "input-cursor-background": "ansi_black",
        "input-cursor-foreground": "ansi_bright_white",
        "text-muted": "ansi_bright_black",
    },
)
THEMES = (DARK, LIGHT, SIXTEEN)


def choose() -> str:
    """The theme's name for this terminal: true colour where the terminal says that it has it, else its own sixteen."""
    return DARK.name if Console(file=sys.stdout).color_system == "truecolor" else SIXTEEN.name


def ascii_only() -> bool:
    """Whether this terminal has no glyphs beyond ASCII: no UTF-8, the Linux console, or asked for."""
    if os.environ.get("OFFSITEDB_ASCII"):
        return True
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return not utf8 or os.environ.get("TERM") in ("linux", "dumb", "vt100", "vt220")
