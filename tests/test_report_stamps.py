"""Time stamps of monthly reports: a real authority, every way in which it can fail, and stamps that are not ours."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rfc3161_client import decode_timestamp_response

from engine import catalog as catalogs
from engine.alerts.sending import Outbound
from engine.errors import CatalogError, ConfigError, FormatError
from engine.model import Event
from engine.model.report import BundleVerdict, ReportLine, ReportStamp
from engine.report import bundle, stamp
from engine.service import reports as door
from engine.service.posture import PostureFacet
from engine.service.reports import verify_bundle
from offsitedb_tui.verbs import report as verbs
from screens import present_months
from tests.fixtures.installation import Place
from tests.fixtures.program import Program
from tests.fixtures.receiver import Behaviour, Handler, Receiver, answer, drip, flood, hang
from tests.fixtures.reported import Month, new_month, utc
from tests.fixtures.stamping import Tsa, https, new_tsa, said

SUMS = b"0" * 64 + b"  report.json\n"


@dataclass
class Stamped:
    """An installation, an authority, and the server where it is asked. ``instead``: see :class:`Receiver`."""

    month: Month
    tsa: Tsa
    server: Receiver
    place: Path

    def set(self, **changes: object) -> None:
        engine = self.month.engine
        engine.settings = replace(engine.settings, report=replace(engine.settings.report, **changes))  # type: ignore[arg-type]  # names of settings

    def events(self, line: ReportLine) -> list[Event]:
        with self.month.engine.catalog.read() as tx:
            found = catalogs.events.list_recent(tx, limit=500)
        return [e for e in found if e.subject == line.id and "stamped" in e.kind]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stamped]:
    place = tmp_path_factory.mktemp("stamped")
    with pytest.MonkeyPatch.context() as patch, https(place / "tls") as (server, url, trusted):
        patch.setattr(PostureFacet, "report", lambda self, connections=None: ())
        patch.setattr(door, "RENDERERS", {})  # what is drawn for people is drawn elsewhere
        with new_month(place / "home") as month:
            month.drilled(month.connection("shop", utc(1, month=10)), utc(2))
            tsa = new_tsa(place / "tsa")
            found = Stamped(month, tsa, server, place)
            found.set(timestamp_url=url, timestamp_ca=str(tsa.ca), timestamp_allow_private=True)
            month.engine.reports.stamps.outbound = Outbound(ca_file=str(trusted), step_s=0.3, attempt_s=0.5)
            yield found


@pytest.fixture
def it(made: Stamped) -> Iterator[Stamped]:
    before, outbound = made.month.engine.settings, made.month.engine.reports.stamps.outbound
    made.server.instead.clear()
    yield made
    made.month.engine.settings, made.month.engine.reports.stamps.outbound = before, outbound


def good(it: Stamped) -> ReportLine:
    it.server.instead.append(it.tsa.answering())
    return it.month.build()


def had(line: ReportLine) -> ReportStamp:
    assert line.stamp is not None
    return line.stamp


def refused(found: BundleVerdict) -> dict[str, str]:
    assert found.stamp is None or found.ok
    return {c.name: c.detail for c in found.checks if not c.ok}


def files(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop(bundle.STAMP, None)
    return found


def test_a_stamp_is_had_and_openssl_and_we_agree(it: Stamped, tmp_path: Path) -> None:
    line = good(it)
    folder, asked = it.month.folder(line), it.server.received[-1]
    assert (asked.method, asked.headers["content-type"]) == ("POST", "application/timestamp-query")
    assert (had(line).by, had(line).held, had(line).error) == ("CN=Test TSA", True, None)
    assert abs((had(line).at or datetime.min.replace(tzinfo=UTC)) - datetime.now(UTC)) < timedelta(minutes=1)
    assert it.month.engine.reports.newest("2026-11") == line
    found = verify_bundle(folder, timestamp_ca=it.tsa.ca)
    assert (refused(found), found.checks[-1].name) == ({}, "time stamp")
    assert found.stamp is not None
    assert (found.stamp.at, found.stamp.held, found.stamp.accuracy_s) == (had(line).at, True, 1.0)
    assert "existed at" in found.stamp.shows
    said = found.stamp.shows
    assert ("one of the two clocks was wrong" in said) == (line.built_at > found.stamp.at + timedelta(minutes=5))
    blind = verify_bundle(folder)
    assert "existed at" in present_months.verified_lines(found)[-1].text
    assert "held against no authority" in present_months.verified_lines(blind)[-1].text
    assert blind.ok
    assert blind.stamp is not None
    assert not blind.stamp.held
    assert "proves nothing" in blind.stamp.shows
    text = (folder / bundle.VERIFY_TXT).read_text()
    command = next(row.strip() for row in text.splitlines() if row.startswith("    openssl ts -verify"))
    for argv in (shlex.split(command), [*shlex.split(command), "-attime", str(int(datetime.now(UTC).timestamp()))]):
        argv[argv.index("AUTHORITY.pem")] = str(it.tsa.ca)
        assert "Verification: OK" in subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert b"SHA256SUMS.tsr" not in (folder / bundle.SUMS).read_bytes()
    for name in ("a.zip", "a.tar", "a"):
        it.month.engine.reports.export(line, tmp_path / name)
        exported = verify_bundle(tmp_path / name, timestamp_ca=it.tsa.ca)
        assert exported.ok
        assert exported.stamp == found.stamp
    events = it.events(line)
    assert [(e.kind, e.data["sums_sha256"], e.data["by"]) for e in events] == [
        ("report.stamped", line.sha256, "CN=Test TSA")
    ]
    connections = it.server.connections
    assert replace(had(it.month.engine.reports.stamp(line)), asked_at=had(line).asked_at) == had(line)
    assert (it.server.connections, it.events(line)) == (connections, events), "what is there is kept, nobody is asked"
    assert sorted(p.name for p in it.month.engine.paths.reports.glob(".*")) == []


def _foreign(it: Stamped, **more: object) -> Behaviour:
    place = it.place / f"other-{len(list(it.place.iterdir()))}"
    return new_tsa(place, **more).answering()  # type: ignore[arg-type]  # of new_tsa


def _wrong_nonce(it: Stamped) -> Behaviour:
    """An answer to a question about the very same sums, asked by somebody else."""

    def do(handler: object) -> None:
        line = it.month.engine.reports.list()[0]
        sums = (it.month.folder(line) / bundle.SUMS).read_bytes()
        it.tsa.answering(stamp.question(sums).body)(handler)  # type: ignore[arg-type]  # a Behaviour

    return do


FAULTS: dict[str, tuple[Callable[[Stamped], Behaviour], str]] = {
    "nonce": (_wrong_nonce, "it answers another question (the nonce is not ours)"),
    "digest": (lambda it: it.tsa.answering(stamp.question(SUMS).body), "it is a stamp over something else"),
    "foreign": (_foreign, "it is not of an authority that the given CA vouches for"),
    "expired": (
        lambda it: _expired(it),
        "the authority's certificate was not good when the stamp was made",
    ),
    "rejected": (lambda it: _foreign(it, digests="sha512"), "the authority granted none (status 2)"),
    "no stamp": (lambda it: said(b"<html>sign in</html>"), "it is no time stamp that can be read"),
    "empty": (lambda it: said(b""), "it is no time stamp that can be read"),
    "500": (lambda it: answer(500), "answered 500"),
    "moved": (lambda it: answer(302, location="https://example.org/"), "redirects are not followed"),
    "hangs": (lambda it: hang, "did not answer in time"),
    "drips": (lambda it: drip, "did not answer in time"),
    "huge": (lambda it: flood, "answered with more than 131,072 bytes"),
}


def _expired(it: Stamped) -> Behaviour:
    tsa = new_tsa(it.place / "expired", days=(-0.9, -0.1))
    it.set(timestamp_ca=str(tsa.ca))
    return tsa.answering()


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_an_authority_does_the_report_is_there(it: Stamped, name: str) -> None:
    fault, message = FAULTS[name]
    it.server.instead.append(fault(it))
    line = it.month.build()
    said = had(line).error or ""
    assert message in said
    assert "s3cr3t" not in said + had(line).by, "the path of a URL may be secret"
    assert (had(line).at, had(line).by) == (None, f"https://127.0.0.1:{it.server.port}/…")
    found = verify_bundle(it.month.folder(line), timestamp_ca=it.tsa.ca)
    assert (refused(found), found.stamp) == ({}, None)
    assert it.month.engine.reports.newest("2026-11") == line
    assert present_months.unstamped_lines(line, said)[1].text.strip() == said
    assert [(e.kind, e.data["error"]) for e in it.events(line)] == [("report.unstamped", said)]


def test_who_may_not_be_asked_is_not_asked(it: Stamped) -> None:
    reports, connections = it.month.engine.reports, it.server.connections
    it.set(timestamp_ca="/nowhere.pem")
    line = it.month.build()
    loopback = f"https://127.0.0.1:{it.server.port}/"
    for changes, message in (
        ({"timestamp_allow_private": False}, "is none of a public service"),
        (
            {"timestamp_allow_private": False, "timestamp_url": "https://127.0.0.1/"},
            "is not an address on the internet",
        ),
        (
            {"timestamp_allow_private": False, "timestamp_url": "http://tsa.example.org/"},
            "has to begin with https:// (timestamp_allow_private is off)",
        ),
        ({"timestamp_url": "https://169.254.169.254/"}, "is not an address on the internet"),
        ({"timestamp_url": "tsa.example.org"}, "does not begin with https://"),
        ({"timestamp_ca": "/nowhere.pem"}, "/nowhere.pem cannot be read"),
        ({"timestamp_ca": "/etc/hostname"}, "holds no certificate in PEM form"),
    ):
        it.set(timestamp_url=loopback, timestamp_allow_private=True, timestamp_ca=str(it.tsa.ca))
        it.set(**changes)
        assert message in (had(reports.stamp(line)).error or "")
    it.set(timestamp_url=loopback, timestamp_ca=str(it.tsa.ca))
    reports.stamps.outbound = Outbound(resolve=lambda host, port: ["10.0.0.1"], step_s=0.3, attempt_s=0.5)
    it.set(timestamp_url="https://tsa.example.org/", timestamp_allow_private=False)
    assert "leads to 10.0.0.1" in (had(reports.stamp(line)).error or "")
    assert it.server.connections == connections
    reports.stamps.outbound = Outbound(step_s=0.3, attempt_s=0.5)
    it.set(timestamp_url=loopback, timestamp_allow_private=True)
    assert "certificate" in (had(reports.stamp(line)).error or ""), "a server that nobody vouches for"


def test_a_stamp_comes_later_and_no_signed_file_changes(it: Stamped) -> None:
    it.server.instead += [answer(503), answer(503), answer(503)]
    line = it.month.build()
    folder = it.month.folder(line)
    before = files(folder)
    other = it.month.build()
    again = it.month.engine.reports.stamp(line)
    assert had(again).error == had(line).error
    assert [e.kind for e in it.events(line)] == ["report.unstamped"], "of a row of failures the first"
    connections = it.server.connections
    it.month.engine.reports.look()
    assert it.server.connections == connections, "not before its time"
    it.month.at(it.month.clock.at + timedelta(minutes=15))
    it.server.instead.append(answer(503))
    it.month.engine.reports.look()
    assert it.server.connections == connections + 1, "one failure is enough for a look"
    it.server.instead += [it.tsa.answering(), answer(503)]
    it.month.engine.reports.look()
    late = next(one for one in it.month.engine.reports.list() if one.id == line.id)
    assert had(it.month.engine.reports.newest("2026-11")).error, f"{other.id} was asked for first"
    assert (late.id, had(late).held, had(late).error) == (line.id, True, None)
    assert [e.kind for e in it.events(line)] == ["report.stamped", "report.unstamped"]
    assert files(folder) == before
    assert verify_bundle(folder, timestamp_ca=it.tsa.ca).ok
    connections = it.server.connections
    it.month.at(it.month.clock.at + timedelta(minutes=15))
    it.month.engine.reports.stamps.again(lambda: [late])
    assert it.server.connections == connections


def test_a_process_that_ended_in_between_leaves_the_asking_to_the_worker(
    it: Stamped, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> ReportLine:
        raise CatalogError("catalog.busy", "the catalog is busy")

    with monkeypatch.context() as patch:
        patch.setattr(it.month.engine.reports.stamps, "get", gone)
        assert had(it.month.build()).error == "the catalog is busy"
    line = it.month.engine.reports.newest("2026-11")
    assert had(line).error == "nobody was asked yet"
    it.month.at(it.month.clock.at + timedelta(minutes=15))
    it.server.instead.append(it.tsa.answering())
    it.month.engine.reports.stamps.again(lambda: [line])
    assert had(it.month.engine.reports.newest("2026-11")).at is not None


def test_of_two_that_ask_at_the_same_time_the_first_stamp_stays(it: Stamped) -> None:
    it.set(timestamp_url=f"https://127.0.0.1:{it.server.port}/", timestamp_ca=str(it.tsa.ca))
    first = b""

    def overtaken(handler: Handler) -> None:
        nonlocal first
        folder = it.month.folder(it.month.engine.reports.newest("2026-11"))
        first = it.tsa.reply(stamp.question((folder / bundle.SUMS).read_bytes()).body)
        (folder / bundle.STAMP).write_bytes(first)
        it.tsa.answering()(handler)

    it.server.instead.append(overtaken)
    line = it.month.build()
    assert (had(line).error, had(line).held) == (None, True)
    assert (it.month.folder(line) / bundle.STAMP).read_bytes() == first
    assert [p.name for p in it.month.engine.paths.reports.glob(".*")] == []


def test_a_stamp_that_is_not_this_bundles_is_refused(it: Stamped, tmp_path: Path) -> None:
    line, other = good(it), good(it)
    folder = Path(shutil.copytree(it.month.folder(line), tmp_path / "bundle"))
    foreign = new_tsa(tmp_path / "foreign").reply(stamp.question((folder / bundle.SUMS).read_bytes()).body)
    mine = (folder / bundle.STAMP).read_bytes()
    for data, blind in (
        ((it.month.folder(other) / bundle.STAMP).read_bytes(), False),
        (foreign, True),
        (b"", False),
        (mine + b"\0", False),
        (mine[:-1], False),
        (b"x" * (stamp.LONGEST_BYTES + 1), False),
    ):
        (folder / bundle.STAMP).write_bytes(data)
        found = verify_bundle(folder, timestamp_ca=it.tsa.ca)
        assert not found.ok
        assert refused(found).keys() == {"time stamp"}
        assert "as it was signed, but its time stamp is refused" in present_months.verified_lines(found)[0].text
        assert verify_bundle(folder).ok == blind
        changed = replace(line, folder=str(folder))
        if not blind:
            with pytest.raises(FormatError):
                it.month.engine.reports.export(changed, tmp_path / "x.zip")
        with pytest.raises(FormatError, match="that is there is refused"):
            it.month.engine.reports.stamp(changed)
        assert (folder / bundle.STAMP).read_bytes() == data


def test_certificates_that_are_out_of_order_are_read(tmp_path: Path) -> None:
    tsa = new_tsa(tmp_path / "tsa", "CN=First", chain=True)
    data = tsa.reply(stamp.question(SUMS).body)
    with pytest.raises(ValueError, match="InvalidSetOrdering"):
        decode_timestamp_response(data)
    assert stamp.read(data, SUMS, roots=stamp.load_roots(tsa.ca)).authority == "CN=First"
    (tmp_path / "sums").write_bytes(SUMS)
    (tmp_path / "tsr").write_bytes(data)
    argv = ("openssl", "ts", "-verify", "-data", "sums", "-in", "tsr", "-CAfile", tsa.ca)
    assert subprocess.run(argv, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    with pytest.raises(ValueError, match="not of an authority"):
        stamp.read(data, SUMS, roots=stamp.load_roots(new_tsa(tmp_path / "other").ca))


@pytest.mark.parametrize(("chain", "step"), [(False, 3), (True, 11)])
def test_a_byte_that_is_changed_is_refused_or_says_nothing(tmp_path: Path, chain: bool, step: int) -> None:
    """What the format itself ignores may change; what the stamp says may not."""
    tsa = new_tsa(tmp_path / "tsa", chain=chain)
    mine, roots = tsa.reply(stamp.question(SUMS).body), stamp.load_roots(tsa.ca)
    told = stamp.read(mine, SUMS, roots=roots)
    ignored = 0
    for at in range(0, len(mine), step):
        other = mine[:at] + bytes([mine[at] ^ 0x41]) + mine[at + 1 :]
        try:
            assert stamp.read(other, SUMS, roots=roots) == told, at
            ignored += 1
        except ValueError:
            continue
    assert ignored < 10 or chain, "the certificate of a root that is trusted already is not looked at"


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_from_anywhere_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(ValueError, match="no time stamp"):
        stamp.read(data, SUMS)


def test_a_name_that_would_act_on_a_terminal_is_told_harmlessly(it: Stamped, tmp_path: Path) -> None:
    tsa = new_tsa(tmp_path / "evil", "CN=a\\1B[2Jb\u202ec")
    assert (
        stamp.read(tsa.reply(stamp.question(SUMS).body), SUMS).authority
        == "CN=a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c"
    )


def test_the_verbs(it: Stamped, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Left:
        def __enter__(self) -> object:
            return it.month.engine

        def __exit__(self, *_: object) -> None:
            """The engine stays open."""

    monkeypatch.setattr(verbs, "open_engine", Left)
    program = Program(place, {})
    build = ("report", "build", "--month", "2026-11")
    it.server.instead.append(answer(500))
    unstamped = program.call(*build, "--json").document(3)
    assert unstamped["stamp"]["at"] is None
    folder = unstamped["folder"]
    plain = program.call("report", "verify", folder)
    assert (plain.status, plain.out.splitlines()[-1]) == (0, "It has no time stamp.")
    it.server.instead.append(answer(500))
    failed = program.call("report", "stamp", "2026-11")
    assert failed.status == 3
    assert "partial.no-timestamp" in failed.err
    assert "answered 500" in failed.err
    assert "none: 127.0.0.1" in program.call("report", "list").out
    it.server.instead.append(it.tsa.answering())
    assert "UTC by CN=Test TSA" in program.call("report", "stamp", "2026-11").out
    checked = program.call("report", "verify", folder, "--timestamp-ca", str(it.tsa.ca))
    assert (checked.status, checked.out.count("✓")) == (0, 7)
    assert "existed at" in checked.out
    foreign = program.call("report", "verify", folder, "--timestamp-ca", str(it.place / "tls" / "root.crt"))
    assert foreign.status == 40
    assert "the report is as it was signed, but its time stamp" in foreign.err
    assert program.call("report", "verify", folder, "--timestamp-ca", "/none").status == 2
    connections = it.server.connections
    assert program.call(*build, "--no-timestamp", "--json").document()["stamp"] is None
    it.set(timestamp_url="")
    assert program.call(*build, "--json").document()["stamp"] is None
    assert program.call(*build, "--timestamp", "--json").error(2)["code"] == "config.timestamp"
    assert it.server.connections == connections
    with pytest.raises(ConfigError):
        it.month.engine.reports.stamp(it.month.engine.reports.newest("2026-11"))
