"""``destination add | list | test | remove``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from engine.model.views import StepView
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking

app = typer.Typer(no_args_is_help=True, help="Where artifacts go: a local folder, or an S3-compatible bucket.")
PROVIDERS = ("s3", "r2", "b2", "wasabi", "ceph")


@app.command()
def add(
    name: str,
    folder: Annotated[Path | None, typer.Option(help="A local folder (made if absent).")] = None,
    bucket: Annotated[str | None, typer.Option(help="A bucket.")] = None,
    provider: Annotated[str, typer.Option(help="s3, r2, b2, wasabi or ceph.")] = "s3",
    endpoint: Annotated[str | None, typer.Option(metavar="URL")] = None,
    region: Annotated[str | None, typer.Option()] = None,
    prefix: Annotated[str | None, typer.Option()] = None,
    ca_file: Annotated[Path | None, typer.Option(help="CA of a private endpoint, PEM.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a destination; it is tried with a real round trip before it is saved."""
    with speaking(as_json=as_json) as talk:
        if (folder is None) == (bucket is None):
            raise ConfigError(
                "config.invalid", "say either --folder or --bucket", hint="For a folder: `offsitedb destination add NAME --folder PATH`."
            )
        if folder is None:
            _refuse_bucket(provider, endpoint)
        elif any((endpoint, region, prefix, ca_file)):
            raise ConfigError(
                "config.invalid", "--endpoint, --region, --prefix and --ca-file go with --bucket", hint="Leave them out for a folder."
            )
        else:
            with open_engine() as engine:
                view, steps = engine.destinations.add_folder(name, folder)
            talk.document({"destination": view, "steps": steps})
            _show_steps(steps, talk)
            talk.show(f"destination {view.name}: {view.where}")


def _refuse_bucket(provider: str, endpoint: str | None) -> None:
    if provider not in PROVIDERS:
        raise ConfigError("config.invalid", f"unknown provider {provider!r}", hint=f"Choose one of: {', '.join(PROVIDERS)}.")
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        raise ConfigError("config.invalid", f"{endpoint!r} is no endpoint", hint="Give a URL, such as `https://s3.example.com`.")
    raise ConfigError("config.not-built", "bucket destinations come with the next version")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The destinations."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.destinations.list()
        talk.document(found)
        if not found:
            talk.show("There is no destination yet. Add one: `offsitedb destination add NAME --folder PATH`.")
            return
        talk.table(("NAME", "KIND", "WHERE", "CONNECTIONS"), [(d.name, d.kind, d.where, d.connections) for d in found])


@app.command()
def test(name: str, as_json: AsJson = False) -> None:
    """Upload, commit, look, read a range, list and delete, for real."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        steps = engine.destinations.test(name)
        talk.document(steps)
        _show_steps(steps, talk)


@app.command()
def remove(name: str) -> None:
    """Forget a destination. Nothing that lies there is touched."""
    with speaking(as_json=False) as talk, open_engine() as engine:
        engine.destinations.remove(name)
        talk.say(f"destination {name} is forgotten; what lies there was not touched")


def _show_steps(steps: tuple[StepView, ...], talk: Talk) -> None:
    for step in steps:
        talk.show(f"  {'✓' if step.ok else '✗'} {step.name}  {step.detail}".rstrip())
