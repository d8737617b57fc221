"""``destination add | list | test | edit | policy | remove``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from engine.model import BucketKey, BucketKeys, BucketSpec
from engine.model.kit import KitState, KitView
from engine.model.views import PolicyView, StepView
from engine.service import Engine
from engine.service.buckets import bucket_policy, provider_of
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from screens.present import visible

app = typer.Typer(no_args_is_help=True, help="Where artifacts go: a local folder, or an S3-compatible bucket.")

ACCESS_KEY = "OFFSITEDB_S3_ACCESS_KEY_ID"
SECRET_KEY = "OFFSITEDB_S3_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
PRUNE_ACCESS_KEY = "OFFSITEDB_S3_PRUNE_ACCESS_KEY_ID"
PRUNE_SECRET_KEY = "OFFSITEDB_S3_PRUNE_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable

Bucket = Annotated[str | None, typer.Option(help="A bucket, which exists.")]
Provider = Annotated[
    str | None,
    typer.Option(
        help="s3, r2, b2, wasabi, scaleway, or ceph for everything else. Told from the endpoint if not said.",
        show_default=False,
    ),
]
Endpoint = Annotated[str | None, typer.Option(metavar="URL", help="Where the provider's S3 is, if that is not known.")]
Region = Annotated[str | None, typer.Option(help="The bucket's region.")]
Prefix = Annotated[str | None, typer.Option(help="A path in the bucket: everything lies beneath it.")]
CaFile = Annotated[Path | None, typer.Option(help="CA of a private endpoint, PEM; its content is kept.")]
AllowHttp = Annotated[bool, typer.Option("--allow-http", help="Accept an endpoint without encryption.")]
AskPrune = Annotated[bool, typer.Option("--prune-key", help="Ask for a prune credential, too.")]


@app.command()
def add(
    name: str,
    folder: Annotated[Path | None, typer.Option(help="A local folder (made if absent).")] = None,
    bucket: Bucket = None,
    provider: Provider = None,
    endpoint: Endpoint = None,
    region: Region = None,
    prefix: Prefix = None,
    ca_file: CaFile = None,
    allow_http: AllowHttp = False,
    ask_prune: AskPrune = False,
    as_json: AsJson = False,
) -> None:
    """Add a destination; it is tried with a real round trip before it is saved.

    The keys of a bucket come from OFFSITEDB_S3_ACCESS_KEY_ID and OFFSITEDB_S3_SECRET_ACCESS_KEY, or are asked for. The
    worker needs no right to delete: a second key may have it (OFFSITEDB_S3_PRUNE_ACCESS_KEY_ID, …_SECRET_ACCESS_KEY).
    """
    with speaking(as_json=as_json) as talk:
        if (folder is None) == (bucket is None):
            raise ConfigError(
                "config.invalid",
                "say either --folder or --bucket",
                hint="For a folder: `offsitedb destination add NAME --folder PATH`.",
            )
        if bucket is None:
            if any((endpoint, region, prefix, ca_file, allow_http, ask_prune)):
                raise ConfigError(
                    "config.invalid",
                    "--endpoint, --region, --prefix, --ca-file, --allow-http and --prune-key go with --bucket",
                    hint="Leave them out for a folder.",
                )
            assert folder is not None
            with open_engine() as engine:
                view, steps = engine.destinations.add_folder(name, folder)
                kit = _kit(engine, name)
        else:
            spec = spec_of(bucket, provider, endpoint, region, prefix, ca_file, allow_http=allow_http)
            bucket_policy(spec)  # refuses what cannot be, before anything is asked
            with open_engine() as engine:
                view, steps = engine.destinations.add_bucket(name, spec, _keys(ask_prune=ask_prune))
                kit = _kit(engine, name)
        talk.document({"destination": view, "steps": steps, "kit": kit})
        _show_steps(steps, talk)
        at = f" at {visible(view.endpoint)}" if view.endpoint else ""
        talk.show(f"destination {view.name}: {visible(view.where)}{at}")
        _show_kit(kit, talk)


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


@app.command("test")
def try_(name: str, as_json: AsJson = False) -> None:
    """Upload, commit, look, read a range, list and delete, for real."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        steps = engine.destinations.test(name)
        talk.document(steps)
        _show_steps(steps, talk)


@app.command()
def edit(name: str, ca_file: CaFile = None, ask_prune: AskPrune = False, as_json: AsJson = False) -> None:
    """Give a bucket new keys (as ``add`` takes them); they are tried before they are saved."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        view, steps = engine.destinations.change_keys(name, _keys(ask_prune=ask_prune), ca_pem=_pem(ca_file))
        kit = _kit(engine, name)
        talk.document({"destination": view, "steps": steps, "kit": kit})
        _show_steps(steps, talk)
        talk.show(f"destination {view.name} has new keys")
        _show_kit(kit, talk)


@app.command()
def policy(
    name: Annotated[str | None, typer.Argument(help="A destination; or say --bucket.")] = None,
    bucket: Bucket = None,
    provider: Provider = None,
    endpoint: Endpoint = None,
    region: Region = None,
    prefix: Prefix = None,
    prune: Annotated[bool, typer.Option("--prune", help="The prune credential's instead of the worker's.")] = False,
    as_json: AsJson = False,
) -> None:
    """The least rights that a bucket's keys need, as policies to paste at the provider."""
    with speaking(as_json=as_json) as talk:
        if (name is None) == (bucket is None):
            raise ConfigError(
                "config.invalid",
                "say either a destination's name or --bucket",
                hint="Before it is added: `offsitedb destination policy --bucket B --prefix P`.",
            )
        if bucket is not None:
            # the policy does not depend on where the endpoint is
            named = provider or provider_of(endpoint)
            spec = spec_of(bucket, named, endpoint or "https://localhost", region or "any", prefix, None)
            found = bucket_policy(spec)
        else:
            assert name is not None
            with open_engine() as engine:
                found = engine.destinations.policy(name)
        talk.document(found)
        _show_policy(found, talk, prune=prune)


@app.command()
def remove(name: str, as_json: AsJson = False) -> None:
    """Forget a destination. Nothing that lies there is touched."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        engine.destinations.remove(name)
        talk.document({"removed": name})
        talk.say(f"destination {name} is forgotten; what lies there was not touched")


def spec_of(
    bucket: str,
    provider: str | None,
    endpoint: str | None,
    region: str | None,
    prefix: str | None,
    ca_file: Path | None,
    *,
    allow_http: bool = False,
) -> BucketSpec:
    """Which bucket the options name. Raises ConfigError for a CA file that cannot be read."""
    return BucketSpec(
        bucket=bucket,
        provider=provider or provider_of(endpoint),
        endpoint=endpoint,
        region=region,
        prefix=prefix or "",
        ca_pem=_pem(ca_file),
        allow_http=allow_http,
    )


def _pem(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is no PEM"
        raise ConfigError("config.invalid", f"the CA file {path} cannot be read: {reason}") from e


def _keys(*, ask_prune: bool) -> BucketKeys:
    """The keys from the environment, else from a prompt. Never from the command line, which everybody can read."""
    worker = _key("Access key id", ACCESS_KEY, "Secret access key", SECRET_KEY)
    given = PRUNE_ACCESS_KEY in os.environ or PRUNE_SECRET_KEY in os.environ
    if not ask_prune and not given:
        return BucketKeys(worker)
    return BucketKeys(
        worker, _key("Prune access key id", PRUNE_ACCESS_KEY, "Prune secret access key", PRUNE_SECRET_KEY)
    )


def _key(id_prompt: str, id_variable: str, secret_prompt: str, secret_variable: str) -> BucketKey:
    return BucketKey(
        ask(id_prompt, id_variable, hidden=False).strip(), ask(secret_prompt, secret_variable, hidden=True).strip()
    )


def ask(prompt: str, variable: str, *, hidden: bool) -> str:
    """A part of a key from the environment, else from a prompt. Raises ConfigError where nobody can be asked."""
    given = os.environ.get(variable)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise ConfigError(
            "config.invalid",
            f"{variable} is not set, and there is nobody to ask",
            hint=f"Set {variable}: keys never belong on a command line.",
        )
    return str(typer.prompt(prompt, hide_input=hidden, err=True))


def _kit(engine: Engine, name: str) -> KitView | None:
    return next((view for view in engine.recovery.show().kits if view.destination == name), None)


def _show_kit(kit: KitView | None, talk: Talk) -> None:
    if kit is not None and kit.state is KitState.CURRENT:
        talk.show("recovery kit: in RECOVERY/ there")
    elif kit is not None:
        why = f" ({visible(kit.error)})" if kit.error else ""
        talk.show(f"recovery kit: not there yet{why}; a worker writes it, or `offsitedb recovery kit`")


def _show_steps(steps: tuple[StepView, ...], talk: Talk) -> None:
    for step in steps:
        glyph = "i" if step.info else "✓" if step.ok else "✗"
        talk.show(f"  {glyph} {step.name}  {visible(step.detail)}".rstrip())


def _show_policy(found: PolicyView, talk: Talk, *, prune: bool) -> None:
    """JSON on stdout, everything about it on stderr: ``destination policy … > worker.json`` must be usable."""
    if talk.as_json:
        return
    whose = "The prune credential" if prune else "The worker's key"
    talk.say(f"{whose}, {visible(found.where)}:")
    talk.show(found.prune if prune else found.worker)
    if not prune:
        talk.say(
            "It cannot delete. Where snapshots are to be pruned a second key does that: add --prune for its policy."
        )
    if "user/USER" in found.worker:
        talk.say("Put the name of the key's user in the place of USER, and attach it to the bucket.")
    if found.rights:
        talk.say(found.rights)
