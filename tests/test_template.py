"""What initdb made is used again only where it would make the same again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.postgres import template


def test_other_programs_and_other_locales_have_a_template_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initdb, locales = tmp_path / "initdb", tmp_path / "locale"
    initdb.write_text("one")
    monkeypatch.setattr(template, "_LOCALES", (locales, locales / "locale-archive"))

    def now() -> Path:
        return template.template_of(tmp_path / "templates", tmp_path, "15.20")

    seen = [now(), now()]
    assert seen[0] == seen[1]
    locales.mkdir()
    seen.append(now())
    (locales / "en_US.utf8").mkdir()
    os.utime(locales, ns=(1, 1))
    seen.append(now())
    (locales / "locale-archive").write_text("de_DE")
    os.utime(locales, ns=(1, 1))
    seen.append(now())
    initdb.write_text("another one")
    seen.append(now())
    assert len(set(seen)) == 5
