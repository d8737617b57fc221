"""The ground floor: errors, redaction, cancel tokens, child processes, settings, words for numbers."""

from __future__ import annotations

import pickle
import signal
import string
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import config, errors
from engine.cancel import CancelToken
from engine.clock import from_rfc3339, rfc3339
from engine.codec import from_json, to_json
from engine.error_codes import CODES
from engine.errors import Cancelled, ConfigError, Internal, OffsiteError, SourceError, add_cleanup_note
from engine.model import Check, CheckStatus, NotCaptured, Timings
from engine.process import run, spawn
from engine.redact import MASK, holding, redact
from screens.present import human_bytes, human_seconds, visible
from tests.fixtures.installation import wait_until

ERROR_CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, OffsiteError)]


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_meaning_and_a_full_sentence_of_advice(code: str) -> None:
    meaning, hint = CODES[code]
    assert meaning == meaning.strip()
    assert not meaning.endswith(".")
    assert hint.endswith((".", "`."))
    assert hint[0].isupper() or hint[0] == "`"


@pytest.mark.parametrize("cls", ERROR_CLASSES)
def test_errors_survive_pickling(cls: type[OffsiteError]) -> None:
    error = cls("internal.error", "m", hint="H.", context={"a": 1}, retry=True)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (again.code, again.message, again.hint, again.context, again.retry) == (
        "internal.error", "m", "H.", {"a": 1}, True,
    )  # fmt: skip


def test_an_unknown_code_is_refused_at_once() -> None:
    with pytest.raises(KeyError, match=r"no\.such-code"):
        OffsiteError("no.such-code", "m")


def test_exit_statuses_are_those_of_the_table() -> None:
    expected = {
        "ConfigError": 2, "PartialResult": 3, "KeyAccessError": 12, "SourceError": 20, "StoreError": 30,
        "FormatError": 40, "CatalogError": 50, "PreflightFailed": 60, "DrillFailed": 70, "CouldNotVerify": 71,
        "StillRunning": 75, "AccessDenied": 80, "AlertFailed": 90, "Internal": 99, "Cancelled": 130,
    }  # fmt: skip
    assert {c.__name__: c.exit_status for c in ERROR_CLASSES if c is not OffsiteError} == expected


def test_a_failed_clean_up_is_a_note_on_the_first_error() -> None:
    error = SourceError("pg.auth", "refused")
    add_cleanup_note(error, "closing", OSError("postgresql://u:geheim@h/d"))
    assert error.__notes__ == [f"while cleaning up (closing): OSError: postgresql://u:{MASK}@h/d"]


# -- redaction ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("could not connect to postgresql://reader:s3cr%40t@db:5432/x", "s3cr%40t"),
        ("host=db password=hunter2 user=u", "hunter2"),
        ("host=db password='hun ter2' user=u", "hun ter2"),
        ('{"secret": "abcdef"}', "abcdef"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
        ("key odb_live_ab12_ZZZZZZZZ end", "ZZZZZZZZ"),
        ("code odbr1-a9c4-3yun-uyk0-9ccx-7axe-850r-h79n-fy4d-dl8e-qrs3-4lad-kk2g-kx5s-jxst-78", "7axe"),
    ],
)
def test_credential_shapes_are_masked(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert secret not in SourceError("pg.auth", text, hint=text, context={"t": text}).message


@given(st.text(min_size=4, max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_a_held_secret_never_comes_through(secret: str, before: str, after: str) -> None:
    with holding(secret):
        # what remains may only be the mask itself
        assert secret not in redact(before + secret + after).replace(MASK, "") or secret in (before + after)


def test_secrets_are_forgotten_after_the_block() -> None:
    with holding("korrekt-pferd"):
        assert redact("korrekt-pferd") == MASK
    assert redact("korrekt-pferd") == "korrekt-pferd"


# -- cancel -------------------------------------------------------------------------------------------------------


def test_the_first_reason_wins_and_callbacks_run_once() -> None:
    token, calls = CancelToken(), []
    with token.on_cancel(lambda: calls.append(1)):
        token.cancel(Internal("internal.error", "first"))
        token.cancel()
    assert calls == [1]
    with pytest.raises(Internal, match="first"):
        token.check()


def test_a_callback_registered_too_late_runs_at_once() -> None:
    token, calls = CancelToken(), []
    token.cancel()
    with token.on_cancel(lambda: calls.append(1)):
        assert calls == [1]


# -- child processes ----------------------------------------------------------------------------------------------


def test_run_collects_output_and_redacts_stderr() -> None:
    code = "import sys; print('out'); print('password=oops', file=sys.stderr); sys.exit(3)"
    done = run([sys.executable, "-c", code], name="t", cancel=CancelToken(), timeout_s=30)
    assert (done.status, done.stdout, done.stderr) == (3, b"out\n", f"password={MASK}")


def test_a_chatty_child_does_not_block() -> None:
    code = "import sys; sys.stderr.write('x' * 79 + '\\n'); [sys.stderr.write('y' * 99 + '\\n') for _ in range(20000)]"
    done = run([sys.executable, "-c", code], name="t", cancel=CancelToken(), timeout_s=60)
    assert done.status == 0
    assert done.stderr.splitlines()[-1] == "y" * 99


def test_cancel_kills_the_child_and_its_children() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    token = CancelToken()
    with spawn([sys.executable, "-c", code], name="t", cancel=token) as child:
        grandchild = int(child.stdout.readline())
        token.cancel()
        assert child.wait(10) == -signal.SIGKILL
    wait_until(lambda: not _runs(grandchild), "the grandchild to end")
    with pytest.raises(Cancelled):
        token.check()


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux's")
def test_children_die_with_a_killed_parent() -> None:
    code = (
        "from engine.cancel import CancelToken\n"
        "from engine.process import spawn\n"
        "with spawn(['sleep', '600'], name='t', cancel=CancelToken()) as c:\n"
        "    print(c.pid, flush=True); c.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent) as p:
        assert p.stdout is not None
        pid = int(p.stdout.readline())
        assert _runs(pid)
        p.kill()
    wait_until(lambda: not _runs(pid), "the child to end")


def test_inherited_postgres_variables_do_not_reach_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "x")
    monkeypatch.setenv("PGSERVICE", "x")
    done = run(["env"], name="env", cancel=CancelToken(), timeout_s=30)
    assert b"PG" not in done.stdout


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("[drill]\nisolaton = 'required'", "config.unknown-key", "isolaton"),
        ("[drill]\nisolation = 'maybe'", "config.invalid", "isolation"),
        ("[worker]\nthreads = 0", "config.invalid", "worker.threads"),
        ("[worker]\nthreads = 'many'", "config.invalid", "threads"),
        ("not toml", "config.invalid", "TOML"),
    ],
)
def test_bad_settings_are_refused_with_the_key(tmp_path: Path, text: str, code: str, says: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        config.load(path)
    assert caught.value.code == code


def test_settings_default_where_nothing_is_said(tmp_path: Path) -> None:
    assert config.load(tmp_path / "absent.toml") == config.Settings()
    path = tmp_path / "config.toml"
    path.write_text("[worker]\nthreads = 3\n[postgres]\nbin_dirs = ['/opt/pg/bin']")
    loaded = config.load(path)
    assert (loaded.worker.threads, loaded.worker.lease_s) == (3, config.WorkerSettings().lease_s)
    assert loaded.postgres.bin_dirs == ("/opt/pg/bin",)


# -- values -------------------------------------------------------------------------------------------------------


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1)), st.integers(-23, 23))  # noqa: DTZ001
def test_instants_round_trip_and_sort_as_text(at: datetime, hours: int) -> None:
    here = at.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert from_rfc3339(rfc3339(here)) == here
    later = here + timedelta(microseconds=1)
    assert rfc3339(here) < rfc3339(later)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        from_rfc3339("2026-01-01T00:00:00")


def test_records_round_trip_and_unknown_keys_are_refused() -> None:
    check = Check("tls", CheckStatus.WARN, "weak", None)
    assert from_json(Check, to_json(check)) == check
    assert from_json(Timings, to_json(Timings(total_s=1.5))).total_s == 1.5
    with pytest.raises(ValueError, match="extra"):
        from_json(NotCaptured, '{"kind":"t","name":"n","reason":"r","fix_sql":null,"extra":1}')


@given(st.text())
def test_nothing_invisible_is_printed(text: str) -> None:
    shown = visible(text)
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u200b\u2066\ufeff" for c in shown)


@given(st.text(alphabet=string.ascii_letters + string.digits + " .,äß日"))
def test_plain_text_is_printed_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_words_for_sizes_and_durations() -> None:
    assert [human_bytes(n) for n in (0, 999, 1000, 412_300_000, 5e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "412.3 MB",
        "5.0 TB",
    ]
    assert [human_seconds(s) for s in (0.44, 94, 188, 7500)] == ["0.4 s", "94 s", "3 min 08 s", "2 h 05 min"]


def test_on_cancel_is_thread_safe() -> None:
    token, seen = CancelToken(), []
    ready = threading.Barrier(9)

    def register() -> None:
        ready.wait()
        with token.on_cancel(lambda: seen.append(1)):
            token.wait(10)

    threads = [threading.Thread(target=register) for _ in range(8)]
    for t in threads:
        t.start()
    ready.wait()
    token.cancel()
    for t in threads:
        t.join(10)
    assert len(seen) == 8
