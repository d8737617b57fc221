"""Options that several verbs share, worded once."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; talk goes to stderr.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the job to its end; the exit status says how it ended.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="Stop waiting after this long; the job goes on (75)."),
]
Tag = Annotated[str | None, typer.Option("--tag", help="A word to find the snapshot by, such as pre-deploy-4f2a1c.")]
Yes = Annotated[bool, typer.Option("--yes", help="Agree without being asked.")]
