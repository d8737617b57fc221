"""The import rules, looked at from a clean interpreter: what a module drags in is what `sys.modules` says."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINE = sorted(
    str(p.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for p in (ROOT / "engine").rglob("*.py")
    if "versions" not in p.parts and p.name not in ("env.py", "child.py")
)
NEVER_IN_ENGINE = {"textual", "huey", "typer", "starlette", "uvicorn", "offsitedb_tui", "screens", "huey_config"}
NEVER_IN_SCREENS = {"psycopg", "boto3", "sqlalchemy", "huey", "subprocess", "offsitedb_tui", "huey_config"}
DOOR = {"engine.service", "engine.model", "engine.errors"}


def loaded_by(modules: list[str]) -> set[str]:
    """Top-level names in ``sys.modules`` after importing ``modules`` in an interpreter of their own."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def imported_names(path: Path) -> set[str]:
    """Every module that ``path`` names in an import, at any depth of the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
    return names


def test_the_engine_drags_in_no_user_interface_and_no_scheduler() -> None:
    assert len(ENGINE) > 60
    assert not loaded_by(ENGINE) & NEVER_IN_ENGINE


@pytest.mark.parametrize("module", ["engine.service", "engine.model", "engine.errors", "engine.keys.door"])
def test_each_door_opens_alone(module: str) -> None:
    assert "engine" in loaded_by([module])


def test_the_command_line_starts_without_textual_boto3_and_huey() -> None:
    assert not loaded_by(["offsitedb_tui.cli"]) & {"textual", "boto3", "botocore", "huey"}


@pytest.mark.parametrize("path", sorted((ROOT / "screens").rglob("*.py")), ids=lambda p: p.name)
def test_screens_know_the_door_only(path: Path) -> None:
    names = imported_names(path)
    assert not {n.split(".")[0] for n in names} & NEVER_IN_SCREENS
    for name in names:
        if name.split(".")[0] == "engine":
            assert ".".join(name.split(".")[:2]) in DOOR, f"{path.name} imports {name}"


def test_huey_config_is_thin() -> None:
    path = ROOT / "huey_config.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 120
    mine = {n.split(".")[0] for n in imported_names(path)}
    assert not mine & {"psycopg", "sqlalchemy", "subprocess", "offsitedb_tui", "screens"}


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
