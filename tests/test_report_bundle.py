"""A report's bundle against the stock tools, against edits, and against whoever holds the key."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError, FormatError
from engine.evidence import canonical, sshsig
from engine.evidence.signer import Signer, allowed_signers
from engine.model import EventHead, Failure, Skip, Verdict
from engine.model.report import BundleVerdict, ReportLine
from engine.report import bundle
from engine.report.recount import recount, reduce
from engine.service.report_renderers import RENDERERS
from engine.service.reports import verify_bundle
from tests.fixtures.reported import Month, new_month, utc

EDITS = 100
SIGN = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", "offsitedb", "-n", "offsitedb-report"]


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    with new_month(tmp_path_factory.mktemp("reported") / "home") as made:
        c = made.connection("shop", utc(1, month=10), proof_target_s=86400.0, restore_target_s=99.0)
        made.drilled(c, utc(30, month=10))
        made.drilled(c, utc(2), restore_s=40.0)
        lost = [Failure("drill.mismatch", "public.orders: 3 of 4 rows came back", "Look.")]
        made.drilled(c, utc(3), Verdict.FAILED, failures=lost, restore_s=60.0)
        made.drilled(c, utc(4), Verdict.PROVEN_WITH_SKIPS, skips=[Skip("EVENT TRIGGER", "t", "why")], restore_s=50.0)
        made.snapshot(c, utc(5))
        yield made


@pytest.fixture(scope="module")
def line(month: Month) -> ReportLine:
    return month.build()


@pytest.fixture
def copy(month: Month, line: ReportLine, tmp_path: Path) -> Path:
    """The bundle, to be spoilt."""
    return Path(shutil.copytree(month.folder(line), tmp_path / "bundle"))


def stock_tools(folder: Path) -> bool:
    """The two commands of VERIFY.txt; whether both are content."""
    sums = subprocess.run(["sha256sum", "-c", "--quiet", bundle.SUMS], cwd=folder, capture_output=True, check=False)
    with (folder / bundle.SUMS).open("rb") as signed:
        argv = [*SIGN, "-s", bundle.SIGNATURE]
        signature = subprocess.run(argv, cwd=folder, stdin=signed, capture_output=True, check=False)
    return sums.returncode == 0 and signature.returncode == 0


def wrong(found: BundleVerdict) -> dict[str, str]:
    return {c.name: c.detail for c in found.checks if not c.ok}


def reseal(folder: Path, signer: Signer) -> None:
    """What whoever holds a key can do: sums and signature anew over what lies there now."""
    for name in (bundle.SUMS, bundle.SIGNATURE):
        (folder / name).unlink()
    sums = b"".join(f"{digest}  {name}\n".encode() for name, digest in sorted(bundle._digests(folder)))
    (folder / bundle.SUMS).write_bytes(sums)
    (folder / bundle.SIGNATURE).write_text(signer.sign(sshsig.REPORT, sums))


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    plain = json.loads(path.read_bytes())
    change(plain)
    path.write_bytes(canonical.encode(plain))


def test_a_bundle_is_whole_and_the_stock_tools_and_ours_agree(copy: Path) -> None:
    names = {str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file()}
    assert {n for n in names if not n.startswith("receipts/")} == {
        *("report.json", "report.html", "report.pdf", "report.txt", "events.jsonl", "head.txt"),
        *("SHA256SUMS", "SHA256SUMS.sig", "allowed_signers", "VERIFY.txt"),
    }
    assert sum(n.startswith("receipts/") for n in names) == 4
    assert (copy / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert "shop" in (copy / "report.txt").read_text()
    assert "shop" in (copy / "report.html").read_text()
    assert stock_tools(copy)
    found = verify_bundle(copy)
    assert (found.ok, found.month, found.revision) == (True, "2026-11", 1), wrong(found)


def test_the_commands_of_verify_txt_are_those_that_work(copy: Path) -> None:
    text = (copy / "VERIFY.txt").read_text()
    commands = [row.strip() for row in text.splitlines() if row.startswith("    s") and "SHA256SUMS" in row]
    assert len(commands) == 2
    said = [subprocess.run(c, shell=True, cwd=copy, capture_output=True, text=True, check=True) for c in commands]
    good = next(row for row in text.splitlines() if row.startswith("It has to say: "))
    assert said[1].stdout.strip() == good.removeprefix("It has to say: ")


@pytest.mark.parametrize("ours_each", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_a_hundred_edits_are_all_refused(copy: Path, ours_each: int) -> None:
    """By the stock tools each time, by our own verification each so many times."""
    chance = random.Random(20261130)
    files = sorted(p for p in copy.rglob("*") if p.is_file())
    for n in range(EDITS):
        path = files[n % len(files)]
        before = path.read_bytes()
        path.write_bytes(edited(before, chance, signature=path.name == bundle.SIGNATURE))
        assert not stock_tools(copy), f"edit {n} of {path.name} was not refused"
        assert n % ours_each or not verify_bundle(copy).ok, f"edit {n} of {path.name}"
        path.write_bytes(before)
    assert stock_tools(copy)


def edited(data: bytes, chance: random.Random, *, signature: bool) -> bytes:
    """One byte changed, removed or added, or one digit of a number: as accidents and people do it.

    ssh-keygen passes over white space in an armor: there a letter is changed.
    """
    at = chance.randrange(len(data))
    while signature and data[at : at + 1].isspace():
        at = chance.randrange(len(data))
    other = bytes([data[at] ^ chance.randrange(1, 128)])
    while signature and other.isspace():
        other = bytes([data[at] ^ chance.randrange(1, 128)])
    kind = "change" if signature else chance.choice(["change", "remove", "add", "digit"])
    digits = [i for i in range(len(data)) if data[i : i + 1].isdigit()] if kind == "digit" else []
    if digits:
        at = chance.choice(digits)
        other = str((int(data[at : at + 1]) + chance.randrange(1, 10)) % 10).encode()
    return (
        data[:at] + other + data[at + (0 if kind == "add" else 1) :] if kind != "remove" else data[:at] + data[at + 1 :]
    )


def test_files_that_are_missing_or_too_many_are_told(copy: Path) -> None:
    (copy / "receipts" / f"{'a' * 32}.json").write_text("{}")
    assert "is in no sum" in wrong(verify_bundle(copy))["files"]
    (copy / "receipts" / f"{'a' * 32}.json").unlink()
    (copy / "notes.txt").write_text("hello")
    assert "notes.txt" in wrong(verify_bundle(copy))["files"]
    (copy / "notes.txt").unlink()
    (copy / "report.pdf").unlink()
    assert "report.pdf is missing" in wrong(verify_bundle(copy))["files"]
    (copy / "report.pdf").symlink_to("/etc/hostname")
    assert "report.pdf" in wrong(verify_bundle(copy))["files"]


def test_a_stranger_who_signs_with_a_key_of_his_own_is_found_out(copy: Path, line: ReportLine) -> None:
    stranger = Signer(b"\7" * 32)
    edit_json(copy / bundle.REPORT_JSON, lambda plain: plain["summary"].update(missed=0))
    (copy / bundle.SIGNERS).write_text(allowed_signers(stranger.public_hex))
    reseal(copy, stranger)
    assert stock_tools(copy), "the tools alone cannot know whose key it is"
    found = verify_bundle(copy)
    assert {"report", "receipts"} <= wrong(found).keys()
    ours = json.loads((copy / bundle.REPORT_JSON).read_bytes())["installation"]["signer_fingerprint"]
    assert f"not by {ours}" in wrong(verify_bundle(copy, fingerprint=ours))["signature"]


def test_whoever_holds_the_key_cannot_leave_a_failed_drill_out(copy: Path, month: Month) -> None:
    failed = next(p for p in (copy / "receipts").iterdir() if b'"FAILED"' in p.read_bytes())

    def forget(plain: Any) -> None:
        connection = plain["connections"][0]
        for row in connection["snapshots"]:
            row["drills"] = [d for d in row["drills"] if d["id"] != failed.stem]
        for drills in (connection["drills"], plain["summary"]["drills"], connection["days"][2]["drills"]):
            drills["failed"] = 0
        connection["undrilled"] += 1
        connection["days"][2]["state"] = "not drilled"
        plain["summary"]["undrilled"] += 1
        plain["verifying"]["receipts"] -= 1

    edit_json(copy / bundle.REPORT_JSON, forget)
    failed.unlink()
    reseal(copy, month.history.keys.signer)
    assert stock_tools(copy)
    assert "not in the bundle" in wrong(verify_bundle(copy))["figures"]


def test_whoever_holds_the_key_cannot_cut_the_history_or_take_an_event_out(copy: Path, month: Month) -> None:
    events = (copy / bundle.EVENTS).read_bytes().splitlines(keepends=True)
    (copy / bundle.EVENTS).write_bytes(b"".join(events[:-1]))
    reseal(copy, month.history.keys.signer)
    assert "does not end" in wrong(verify_bundle(copy))["history"]
    (copy / bundle.EVENTS).write_bytes(b"".join(events[:2] + events[3:]))
    reseal(copy, month.history.keys.signer)
    assert "does not follow" in wrong(verify_bundle(copy))["history"]


NOT_RECOUNTED = {
    *("revision", "v", "scope.everything", "installation.key_epoch"),
    *("connections[].recovery.target_s", "connections[].restore.target_s"),
    *(f"connections[].restore.months[].{name}" for name in ("drills", "p50_s", "p95_s", "worst_s")),
    *(f"connections[].retention.{name}" for name in ("has_policy", "pinned", "stored", "stored_bytes")),
    *("connections[].snapshots[].seq", "connections[].snapshots[].tables_in_source"),
}
"""Numbers that follow from neither receipts nor history: as the catalog said. Of the chart that is the earlier months,
of ``tables_in_source`` the snapshots that nobody drilled."""


def test_every_number_of_the_report_that_is_changed_is_noticed(copy: Path) -> None:
    """What neither receipts nor history hold stands in a list of its own: nothing else may slip through."""
    plain = json.loads((copy / bundle.REPORT_JSON).read_bytes())
    receipts = []
    for path in sorted((copy / "receipts").iterdir()):
        receipts.append(reduce(json.loads(path.read_bytes())["receipt"], bundle_digest(path)))
    events = [json.loads(row) for row in (copy / bundle.EVENTS).read_bytes().splitlines()]
    assert recount(plain, receipts, events) == []
    unnoticed = set()
    for name, holder, key in numbers(plain, ""):
        before = holder[key]
        holder[key] = changed(before)
        if not recount(plain, receipts, events):
            unnoticed.add(name)
        holder[key] = before
    assert sorted(unnoticed - NOT_RECOUNTED) == []
    assert sorted(NOT_RECOUNTED - unnoticed) == []


def bundle_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def numbers(plain: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Every number below: integers, and durations, which are text with three decimals."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain)
    for key, value in list(items):
        name = f"{path}[]" if isinstance(plain, list) else f"{path}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            yield from numbers(value, name)
        elif isinstance(value, int | bool) or (isinstance(value, str) and name.endswith("_s")):
            yield name, plain, key


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{float(value) + 1:.3f}"


def test_a_bundle_as_zip_and_tar_is_the_same_bundle(month: Month, line: ReportLine, tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar"):
        done = month.engine.reports.export(line, tmp_path / name)
        assert done.size_bytes == (tmp_path / name).stat().st_size
        assert verify_bundle(tmp_path / name).ok
        with pytest.raises(ConfigError) as refused:
            month.engine.reports.export(line, tmp_path / name)
        assert refused.value.code == "config.file-exists"
        again = tmp_path / f"again-{name}"
        month.engine.reports.export(line, again)
        assert again.read_bytes() == (tmp_path / name).read_bytes()
    month.engine.reports.export(line, tmp_path / "folder")
    assert stock_tools(tmp_path / "folder")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert stock_tools(tmp_path / "unpacked" / "restore-drill-report-2026-11")
    for form, begin in (("pdf", b"%PDF"), ("html", b"<!"), ("json", b"{"), ("text", b"")):
        month.engine.reports.export(line, tmp_path / form, form=form)
        assert (tmp_path / form).read_bytes().startswith(begin)


def test_archives_that_came_from_anywhere_do_no_harm(tmp_path: Path, copy: Path) -> None:
    outside = tmp_path / "outside"
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        for path in copy.rglob("*"):
            archive.add(path, f"b/{path.relative_to(copy)}", recursive=False)
        info = tarfile.TarInfo("b/../../outside")
        archive.addfile(info)
        link = tarfile.TarInfo("b/receipts/link.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found = verify_bundle(tmp_path / "evil.tar")
    assert "outside" in wrong(found)["files"]
    assert not outside.exists()
    for name, data in (("empty.zip", b""), ("no.tar", b"x" * 10_000), ("none", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FormatError) as refused:
            verify_bundle(tmp_path / name)
        assert refused.value.code == "format.bundle"
    with pytest.raises(FormatError) as gone:
        verify_bundle(tmp_path / "is-not-there")
    assert gone.value.message.endswith("is-not-there cannot be read: no such file or directory")


def test_what_was_altered_in_the_home_is_not_handed_out(month: Month, line: ReportLine, tmp_path: Path) -> None:
    path = month.folder(line) / "report.txt"
    before = path.read_bytes()
    path.write_bytes(before + b"all is well\n")
    try:
        with pytest.raises(FormatError):
            month.engine.reports.export(line, tmp_path / "x.zip")
        with pytest.raises(FormatError):
            month.engine.reports.file(line, "report.txt")
        path.unlink()
        with pytest.raises(FormatError) as refused:
            month.engine.reports.export(line, tmp_path / "x.zip")
        assert "report.txt is missing" in refused.value.message
        assert not (tmp_path / "x.zip").exists()
    finally:
        path.write_bytes(before)


def test_a_bundle_about_some_names_nobody_else(tmp_path: Path) -> None:
    with new_month(tmp_path / "home") as month:
        shop, rival = month.connection("shop", utc(1, month=10)), month.connection("rival", utc(1, month=10))
        month.engine.schedules.set("rival", when="daily at 03:00", zone="UTC")
        month.drilled(shop, utc(2))
        month.drilled(rival, utc(3))
        month.engine.apikeys.create("rival-ci", connections=["rival"])
        folder = month.folder(month.build("2026-11", "shop"))
        assert folder.name == "2026-11-shop"
        files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert [data for data in files if b"rival" in data or rival.id.encode() in data] == []
        assert verify_bundle(folder).ok
        assert stock_tools(folder)


def test_the_same_facts_make_the_same_bytes(month: Month, line: ReportLine, tmp_path: Path) -> None:
    report = month.engine.reports.show(line)
    head = report.verifying
    signed = EventHead(head.head_seq, head.head_hash, head.head_signature, head.head_signed_at)
    made = []
    for copied in ("one", "other"):
        folder = Path(shutil.copytree(month.folder(line), tmp_path / copied))
        for path in folder.iterdir():
            if path.is_file() and path.name != bundle.EVENTS:
                path.unlink()
        bundle.complete(folder, report, signed, RENDERERS, month.history.keys.signer)
        made.append({str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert made[0] == made[1]
    assert made[0][bundle.SUMS] == (month.folder(line) / bundle.SUMS).read_bytes()


def test_built_again_it_is_a_new_revision_and_the_old_one_stays(month: Month, line: ReportLine) -> None:
    again = month.build()
    assert (line.revision, again.revision) == (1, 2)
    assert (month.folder(line).name, month.folder(again).name) == ("2026-11", "2026-11.r2")
    assert month.engine.reports.newest("2026-11").id == again.id
    first, second = month.engine.reports.show(line), month.engine.reports.show(again)
    assert first.posture
    assert replace(second, revision=1, built_at=first.built_at, posture=first.posture) == first
    assert {p.name for p in month.engine.paths.reports.iterdir()} == {"2026-11", "2026-11.r2"}
    assert verify_bundle(month.folder(again)).ok
