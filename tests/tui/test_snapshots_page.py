"""Snapshots: the list, everything about one of them, and what can be done with its artifact."""

from __future__ import annotations

import asyncio
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.cancel import CancelToken
from engine.errors import StoreError
from engine.model import JobProgress, JobState, NotCaptured, TableCount, Verdict
from engine.service.snapshots import SnapshotsFacet
from offsitedb_tui.app import ConsoleApp
from screens.fetching import file_name, written_path
from screens.receipt import ReceiptSheet
from screens.snapshots import SnapshotsPage
from screens.widgets.facts import Facts
from screens.widgets.rows import Rows
from tests.fixtures.history import NOW, TABLES, History, acme
from tests.fixtures.pilot import SIZES, Operator, app_of, console, screen_text, until, until_shown
from tests.fixtures.shop import Shop

Scene = Callable[[Pilot[None]], Awaitable[None]]
KEYS = 7


def play(history: History, scene: Scene, size: tuple[int, int] = (80, 24), *, start: str = "3") -> None:
    async def run() -> None:
        async with console(history, size) as pilot:
            if start:
                await pilot.press(start)
                await until(pilot, lambda: app_of(pilot).current_mode == "snapshots", "the page")
            await scene(pilot)

    asyncio.run(run())


def rows(pilot: Pilot[None]) -> Rows[Any]:
    return pilot.app.screen.query_one("#snapshots", Rows)


def detail(pilot: Pilot[None]) -> Facts:
    return pilot.app.screen.query_one("#detail", Facts)


async def told(pilot: Pilot[None], text: str) -> None:
    await until(pilot, lambda: text in detail(pilot).text, f"{text!r} in the detail")


async def cursor_to(pilot: Pilot[None], text: str) -> None:
    """Walk down to the line that says ``text``, as an operator would."""
    facts = detail(pilot)
    at = next(n for n, part in enumerate(facts.items) if text in facts.row_text(n))
    await pilot.press(*["down"] * (at - facts.cursor))


def changed_shop(history: History) -> None:
    """Two proven snapshots with a difference in everything that is told."""
    shop = history.connection("shop", provider="Neon")
    before = [*TABLES, TableCount("public", "old_carts", 12)]
    after = [TableCount("public", "events", 4_102_733), *TABLES[1:], TableCount("public", "audit_2026", 5)]
    missing = NotCaptured("table", "public.invoices", "row-level security hides rows", "ALTER ROLE r\n  BYPASSRLS;")
    history.drilled(shop, NOW - timedelta(days=1), tables=before)
    history.drilled(shop, NOW - timedelta(hours=1), tables=after, not_captured=[missing], tag="v2")


# what it says


@pytest.mark.parametrize("size", SIZES)
def test_list_and_detail_stand_together(history: History, size: tuple[int, int]) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "412.3 MB (412,300,000 bytes)")
        text = screen_text(pilot)
        assert "SNAPSHOTS  all · 21 · newest first" in text
        assert "prod-api · taken 13:50:10, 12 min ago · pre-deploy-4f2a1c" in text
        assert "Verdict      ⛭ PROVEN · restored in 91 s" in text
        assert "2026-11-23 13:50:10 UTC · it took 12 s" in text
        assert "Captured     3 of 3 tables" in text

    play(history, scene, size)


def test_the_detail_tells_all(history: History) -> None:
    changed_shop(history)

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "Restore it yourself")
        said = detail(pilot).text
        for line in (
            "Captured     4 of 5 tables, 2 view",
            "Rows         5,193,096, counted exactly, in the same moment that was dumped",
            "Connection   shop · Neon · database shop",
            "Destination  here",
            "Versions     server 17.11 · pg_dump 17.11",
            "Transport    verify-full, TLSv1.3",
            "! table public.invoices: row-level security hides rows",
            "      BYPASSRLS;",
            "Changed since  the proven snapshot of 2026-11-22 14:02:10",
            "public.audit_2026    new table",
            "public.old_carts    gone",
            "public.events  4,102,533 → 4,102,733  +200",
            """printf %s "$TARGET_URL" | offsitedb restore """,
            " --to-url-stdin",
            "public.events  4,102,733",
        ):
            assert line in said, (line, said)

    play(history, scene)


def test_the_first_snapshot_has_nothing_before_it(history: History) -> None:
    history.drilled(history.connection("shop"), NOW - timedelta(hours=1))

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "there is no proven snapshot before this one")
        await told(pilot, "nothing is missing")

    play(history, scene)


def test_a_failed_one_says_what_to_do_next(history: History) -> None:
    acme(history)
    failed = next(a for a in history.engine.ledger.entries() if a.drill and a.drill.verdict is Verdict.FAILED)
    assert failed.snapshot is not None
    wanted = failed.snapshot.id

    async def scene(pilot: Pilot[None]) -> None:
        app_of(pilot).go("snapshots", snapshot=wanted)
        await until_shown(pilot, "SNAPSHOTS  all")
        await told(pilot, "public.orders: 1,002,033 of 1,002,117 rows came back  [drill.mismatch]")
        assert "→ Look at the table's triggers." in detail(pilot).text
        assert getattr(rows(pilot).item, "snapshot_id", None) == wanted

    play(history, scene, start="")


def test_an_unknown_snapshot_is_said(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        app_of(pilot).go("snapshots", snapshot="0" * 32)
        await until_shown(pilot, "that snapshot is not among the ones listed here")

    play(history, scene, start="")


@pytest.mark.parametrize(("connections", "said"), [(0, "Press 2, then n"), (1, "Press c: one is taken")])
def test_an_empty_page_says_what_to_do(history: History, connections: int, said: str) -> None:
    for n in range(connections):
        history.connection(f"c{n}")

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, said)
        await pilot.press("v", "l", "o", "tab", "enter", "y")
        await until_shown(pilot, "there is nothing to copy here")
        await pilot.press("d")
        await until_shown(pilot, "there is no snapshot under the cursor")

    play(history, scene)


def test_a_snapshot_that_is_drilled_now_says_so(history: History) -> None:
    shop = history.connection("shop")
    history.worker()
    snapshot = history.snapshot(shop, NOW - timedelta(minutes=3))
    halfway = JobProgress("restore", 61, 100, "bytes", "", 2.0, NOW)
    history.job(shop, NOW, state=JobState.RUNNING, progress=halfway, snapshot_id=snapshot.id)

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "○ unproven · now ● restore 61 %")

    play(history, scene)


def test_a_new_verdict_is_read_again(history: History) -> None:
    shop = history.connection("shop")
    snapshot = history.snapshot(shop, NOW - timedelta(minutes=3))

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "○ unproven · nobody has restored it yet")
        await told(pilot, "SHA-256")
        history.drill(shop, snapshot, restore_s=44.0)
        await pilot.press("r")
        await told(pilot, "⛭ PROVEN · restored in 44 s")
        await told(pilot, "l opens the receipt")

    play(history, scene)


# going about


def test_the_cursor_brings_the_detail_along(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "Tag          pre-deploy-4f2a1c")
        await pilot.press("down")
        await told(pilot, "Connection   billing · Neon")
        await pilot.press("end")
        await told(pilot, "there is no proven snapshot before this one")
        await pilot.click("#snapshots", offset=(5, 2))
        await until(pilot, lambda: rows(pilot).cursor > 0, "the click")

    play(history, scene)


@pytest.mark.parametrize("size", SIZES)
def test_enter_gives_the_detail_the_whole_screen(history: History, size: tuple[int, int]) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "SHA-256")
        await pilot.press("enter")
        await until_shown(pilot, "esc list")
        assert detail(pilot).has_focus
        assert "SNAPSHOTS" not in screen_text(pilot)
        assert detail(pilot).size.height > size[1] - 6
        await pilot.press("tab", "escape")
        await until_shown(pilot, "SNAPSHOTS  all")
        assert rows(pilot).has_focus
        await pilot.press("tab")
        assert detail(pilot).has_focus
        await pilot.press("enter", "enter")
        await until_shown(pilot, "SNAPSHOTS  all")
        await pilot.press("shift+tab", "escape")
        assert rows(pilot).has_focus

    play(history, scene, size)


def test_brackets_go_from_section_to_section(history: History) -> None:
    changed_shop(history)

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "Tables  rows in each")
        await pilot.press("tab", "right_square_bracket")
        assert detail(pilot).row_text(detail(pilot).cursor).strip().startswith("Not captured")
        await pilot.press("right_square_bracket", "right_square_bracket")
        assert detail(pilot).row_text(detail(pilot).cursor).strip().startswith("Restore it yourself")
        await pilot.press("left_square_bracket")
        assert detail(pilot).row_text(detail(pilot).cursor).strip().startswith("Changed since")
        await pilot.press("pagedown", "home")
        assert detail(pilot).cursor == 0

    play(history, scene)


def test_the_filter_looks_as_one_types(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"pre-deploy")
        await until_shown(pilot, "with “pre-deploy” · 1 of 21")
        await pilot.press("enter", "escape")
        await until_shown(pilot, "SNAPSHOTS  all")
        await pilot.press("slash", *"nothing at all")
        await until_shown(pilot, "no snapshot holds that word")
        await pilot.press("escape")
        await until_shown(pilot, "SNAPSHOTS  all")
        await pilot.press("enter", "slash", *"failed")
        await until_shown(pilot, "with “failed” · 1 of 21")
        await told(pilot, "✗ FAILED")

    play(history, scene)


def test_at_most_seven_keys_at_the_bottom(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "SHA-256")
        for _ in range(2):
            shown = [b.binding.description for b in pilot.app.screen.active_bindings.values() if b.binding.show]
            assert len(shown) <= KEYS, shown
            assert len(screen_text(pilot).splitlines()[-1]) <= 80
            await pilot.press("tab")

    play(history, scene)


def test_ten_thousand_snapshots(history: History) -> None:
    """Going through them asks the engine for the one where the cursor comes to rest."""
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        app = app_of(pilot)
        assert app.overview is not None
        some = app.overview.lines[0]
        made = [replace(some, snapshot_id=f"{n:032x}", job_id=f"{n:032x}") for n in range(9_999)]
        page = app.screen
        assert isinstance(page, SnapshotsPage)
        await told(pilot, "SHA-256")
        began = time.process_time()
        page.take(replace(app.overview, lines=(some, *made)))
        await until_shown(pilot, "all · 10,000")
        assert time.process_time() - began < 0.5
        began = time.process_time()
        await pilot.press(*["pagedown"] * 10, *["pageup"] * 10, "end", "home")
        await pilot.pause()
        assert time.process_time() - began < 0.1 * 22
        await told(pilot, "SHA-256")

    play(history, scene)


# copying


def test_copying_what_the_cursor_is_on(history: History) -> None:
    changed_shop(history)
    newest = history.engine.ledger.entries(limit=1)[0].snapshot
    assert newest is not None

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "Restore it yourself")
        await pilot.press("y")
        await until_shown(pilot, "copied the snapshot's id (32 characters)")
        assert pilot.app.clipboard == newest.id
        await pilot.press("escape", "enter")
        for text, copied in (
            ("SHA-256", "ab" * 32),
            ("BYPASSRLS", "ALTER ROLE r\n  BYPASSRLS;"),
            ("old_carts", "public.old_carts\tgone"),
            ("Restore it yourself", history.engine.snapshots.restore_command(newest.id)),
            ("--to-url-stdin", history.engine.snapshots.restore_command(newest.id)),
            ("auth.users", "auth.users\t88241"),
        ):
            await cursor_to(pilot, text)
            await pilot.press("y")
            await until(pilot, lambda c=copied: pilot.app.clipboard == c, copied)  # type: ignore[misc]
            await pilot.press("escape")

    play(history, scene)


def test_the_head_of_a_section_copies_all_of_it(history: History) -> None:
    changed_shop(history)

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "Restore it yourself")
        await pilot.press("tab", "right_square_bracket", "y")
        await until_shown(pilot, "copied the section")
        assert pilot.app.clipboard.splitlines()[0] == "Not captured  1 object"
        assert pilot.app.clipboard.splitlines()[-1].strip() == "BYPASSRLS;"

    play(history, scene)


# what the keys start


def test_d_drills_again_and_c_takes_another(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("down", "d")
        await until_shown(pilot, "drill of billing is queued")
        await pilot.press("escape", "c")
        await until_shown(pilot, "Checkpoint of billing, tag (optional):")
        await pilot.press("escape")

    play(history, scene)
    assert history.engine.jobs.recent(1)[0].connection == "billing"


def test_l_opens_the_receipt_of_the_newest_drill(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("l")
        await until_shown(pilot, "Receipt of prod-api")
        assert isinstance(pilot.app.screen, ReceiptSheet)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, SnapshotsPage), "the page")

    play(history, scene)


def test_an_undrilled_snapshot_has_no_receipt(history: History) -> None:
    history.snapshot(history.connection("shop"), NOW - timedelta(hours=1))

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "SHA-256")
        await pilot.press("l")
        await until_shown(pilot, "nobody has drilled this snapshot")

    play(history, scene)


def test_an_artifact_that_is_not_there_is_a_notice(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("v")
        await until_shown(pilot, "[store.missing]")
        assert "✗ verifying prod-api" in screen_text(pilot)
        assert not pilot.app.screen.query_one("#doing").display

    play(history, scene)


def test_a_dead_destination_freezes_nothing_and_escape_ends_it(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme(history)
    token: list[CancelToken] = []
    hangs = threading.Event()

    def dead(self: SnapshotsFacet, text: str, *, cancel: CancelToken, on_bytes: Callable[[int, int], None]) -> None:
        token.append(cancel)
        on_bytes(100_000_000, 412_300_000)
        hangs.wait(30)
        raise StoreError("store.unreachable", "no answer")

    monkeypatch.setattr(SnapshotsFacet, "verify", dead)
    monkeypatch.setattr("screens.fetching.EVERY_S", 0.0)

    async def scene(pilot: Pilot[None]) -> None:
        await told(pilot, "SHA-256")
        await pilot.press("v")
        await until_shown(pilot, "verifying prod-api of 13:50:10 · 100.0 MB of 412.3 MB")
        await pilot.press("down")
        await told(pilot, "Connection   billing")
        await pilot.press("v", "escape")
        await until_shown(pilot, "stopped: nothing is known about the bytes of prod-api of 13:50:10")
        assert token[0].cancelled
        assert not pilot.app.screen.query_one("#doing").display
        await pilot.press("escape")
        await until(pilot, lambda: "stopped" not in screen_text(pilot), "the notice to go")

    play(history, scene)
    hangs.set()


def test_one_artifact_at_a_time(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    acme(history)
    hangs = threading.Event()
    monkeypatch.setattr(SnapshotsFacet, "verify", lambda *_args, **_named: hangs.wait(30))

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("v")
        await until_shown(pilot, "esc stops it")
        for key in ("v", "o"):
            await pilot.press(key)
            await until_shown(pilot, "one is being read already")
        await pilot.press("escape")
        await until_shown(pilot, "stopped")

    play(history, scene)
    hangs.set()


# the real thing


@pytest.fixture(scope="module")
def snapshot(shop: Shop) -> str:
    """Id of a proven snapshot of the shop."""
    document = shop.program.run("checkpoint", "shop", "--wait", "--json").document()
    return str(document["snapshot"]["id"])


def play_for_real(shop: Shop, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    async def run() -> None:
        app = ConsoleApp(shop.program.place.engine, theme_name="offsitedb", ascii_only=False)
        async with app.run_test(size=size, notifications=True):
            pilot = Operator(app)
            await until(pilot, lambda: app.overview is not None, "the first look at the catalog")
            await pilot.press("3")
            await until_shown(pilot, "Destination  here")
            await scene(pilot)

    asyncio.run(run())


@contextmanager
def damaged(shop: Shop, snapshot: str) -> Iterator[None]:
    with shop.program.place.engine() as engine:
        key = engine.snapshots.show(snapshot)[1].object_key
    path = shop.program.place.destination / key
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    yield
    path.write_bytes(whole)


@pytest.mark.parametrize("size", SIZES)
def test_verify_reads_every_byte(shop: Shop, snapshot: str, size: tuple[int, int]) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("v")
        await until_shown(pilot, "every byte is authentic")
        assert "Whether it restores, only a drill says: d." in screen_text(pilot)

    play_for_real(shop, scene, size)


def test_verify_finds_a_changed_byte(shop: Shop, snapshot: str) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        with damaged(shop, snapshot):
            await pilot.press("v")
            await until_shown(pilot, "✗ verifying shop")
            assert "[format." in screen_text(pilot)

    play_for_real(shop, scene)


def test_download_asks_warns_and_writes_privately(
    shop: Shop, snapshot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("o")
        await until_shown(pilot, "not encrypted")
        await until_shown(pilot, "Write the dump to ~/shop-")
        await pilot.press("enter")
        await until_shown(pilot, "every byte checked")
        made = next(tmp_path.glob("shop-*.dump"))
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
        assert made.read_bytes()[:5] == b"PGDMP"
        before = made.stat()
        await pilot.press("escape", "o", "enter")
        await until_shown(pilot, "is there already")
        assert "nothing is ever replaced from here" in screen_text(pilot)
        assert made.stat() == before

    play_for_real(shop, scene)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_artifact_leaves_no_file(shop: Shop, snapshot: str, tmp_path: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        with damaged(shop, snapshot):
            await pilot.press("o", "ctrl+u", *str(tmp_path / "x.dump"), "enter")
            await until_shown(pilot, "✗ downloading shop")

    play_for_real(shop, scene)
    assert list(tmp_path.iterdir()) == []


def test_leaving_the_question_writes_nothing(shop: Shop, snapshot: str, tmp_path: Path) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("o", "escape")
        await until(pilot, lambda: "not encrypted" not in screen_text(pilot), "the warning to go")
        await pilot.press("o", "ctrl+u", "enter")
        await until_shown(pilot, "no file was named")
        await pilot.press("o", "ctrl+u", *"/proc/nowhere/x.dump", "enter")
        await until_shown(pilot, "[config.file]")

    play_for_real(shop, scene)


def test_names_of_files() -> None:
    assert file_name("prod/api …") == "prod_api_"
    assert file_name("../../etc") == "_.._etc"
    assert file_name("…") == "_"
    assert written_path(" ~/x ") == Path.home() / "x"
    assert written_path("~nobody-such/x") == Path("~nobody-such/x")
