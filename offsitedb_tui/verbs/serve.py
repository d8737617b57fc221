"""``serve``: the checkpoint API for deploys, and receipts for a browser."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import speaking


def serve(
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="HOST:PORT", help="Where to listen (default: 127.0.0.1:8440)."),
    ] = None,
    unix: Annotated[
        Path | None, typer.Option("--unix", metavar="PATH", help="A unix socket instead, for a proxy on this machine.")
    ] = None,
    cert: Annotated[
        Path | None, typer.Option("--cert", metavar="FILE", help="The certificate with its chain, PEM.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="The certificate's key, PEM.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answer the checkpoint API until stopped. Beyond this machine it needs a certificate; every caller needs a key.

    It queues jobs and runs none: a worker does (`offsitedb worker`). SIGTERM stops it; checkpoints go on.
    """
    with speaking(as_json=as_json) as talk:
        from offsitedb_tui.api import listening  # late: a web server is loaded where one is wanted
        from offsitedb_tui.api.server import serve as run

        if listen is not None and unix is not None:
            raise ConfigError("api.listen", "it listens at one place", hint="Give `--listen` or `--unix`, not both.")
        tls = listening.tls_context(cert, key)
        if unix is not None and tls is not None:
            raise ConfigError(
                "api.listen", "a unix socket needs no certificate", hint="Leave `--cert` and `--key` out."
            )
        with open_engine(login=False) as engine:
            logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
            logging.getLogger("offsitedb.api").setLevel(logging.INFO)
            place = (
                listening.listen_unix(unix)
                if unix is not None
                else listening.listen_tcp(listen or listening.DEFAULT, tls)
            )

            def ready() -> None:
                talk.document({"listening": place.where})
                talk.say(f"listening on {place.where}; stop it with Ctrl-C or SIGTERM")

            try:
                run(engine, place, ready)
            finally:
                place.close()
            talk.say("stopped; checkpoints that were asked for go on")
