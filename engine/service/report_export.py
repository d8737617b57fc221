"""A report's files handed out as they were signed: one of them, or the whole bundle as folder, zip or tar file."""

from __future__ import annotations

import hashlib
import io
import secrets
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from engine.errors import ConfigError, FormatError
from engine.model.report import ReportExported, ReportLine
from engine.report import bundle, stamp
from engine.report.reading import Bundle, opened
from engine.service.outfile import may_write, new_file, unwritable

FORMS = {"pdf": "report.pdf", "html": "report.html", "json": bundle.REPORT_JSON, "text": "report.txt"}
"""Files of a bundle by the names of their formats."""
_READ_ONLY = 0o644


def checked(found: Bundle, line: ReportLine, name: str) -> bytes:
    """One file, held against the sums that the catalog knows. Raises FormatError ``format.bundle``."""
    data = found.read(name)
    if name not in bundle.BESIDE and _sums(found, line).get(name) != _sha256(data):
        raise FormatError("format.bundle", f"{name} was altered since the report was built")
    return data


def written(folder: Path, line: ReportLine, destination: Path, *, form: str, force: bool) -> ReportExported:
    """Write it out. Raises ConfigError, FormatError."""
    with opened(folder) as found:
        if form == "bundle":
            size = _bundle(found, line, destination, force=force)
        elif form in FORMS:
            with new_file(destination, force=force) as file:
                size = file.write(checked(found, line, FORMS[form]))
        else:
            known = ", ".join(("bundle", *FORMS))
            raise ConfigError("config.invalid", f"{form!r} is no format of a report", hint=f"Take one of: {known}.")
    return ReportExported(line.month, line.revision, form, str(destination), size)


def _bundle(found: Bundle, line: ReportLine, destination: Path, *, force: bool) -> int:
    if destination.suffix == ".zip":
        with new_file(destination, force=force) as file:
            _zip(found, line, file)
            return file.tell()
    if destination.suffix == ".tar":
        with new_file(destination, force=force) as file:
            _tar(found, line, file)
            return file.tell()
    return _folder(found, line, destination)


def _folder(found: Bundle, line: ReportLine, destination: Path) -> int:
    """A folder is never replaced: whoever wants that removes it."""
    may_write()
    if destination.exists() or destination.is_symlink():
        raise ConfigError("config.file-exists", f"{destination} is there already")
    beside = destination.with_name(f".{destination.name[:200]}.{secrets.token_hex(8)}.partial")
    size = 0
    try:
        beside.mkdir(mode=0o700)
        (beside / bundle.RECEIPTS).mkdir(mode=0o700)
        for name, data in _all(found, line):
            bundle.put(beside / name, data)
            size += len(data)
        bundle.name_it(beside, destination)
    except OSError as e:
        raise unwritable(destination, e) from e
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return size


def _zip(found: Bundle, line: ReportLine, file: BinaryIO) -> None:
    at = _at(line.built_at)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _all(found, line):
            info = zipfile.ZipInfo(f"{_top(line)}/{name}", at)
            info.external_attr = (0o100000 | _READ_ONLY) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)


def _tar(found: Bundle, line: ReportLine, file: BinaryIO) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in _all(found, line):
            info = tarfile.TarInfo(f"{_top(line)}/{name}")
            info.size, info.mode, info.mtime = len(data), _READ_ONLY, int(line.built_at.timestamp())
            archive.addfile(info, io.BytesIO(data))


def _all(found: Bundle, line: ReportLine) -> Iterator[tuple[str, bytes]]:
    """Every file in the order of its name, one in memory at a time."""
    sums = _sums(found, line)
    for name in sorted(found.names | sums.keys()):  # what is missing is said by the reading
        data = found.read(name)
        if name not in bundle.BESIDE and sums.get(name) != _sha256(data):
            raise FormatError("format.bundle", f"{name} was altered since the report was built")
        if name == bundle.STAMP:
            _hold_stamp(data, found.read(bundle.SUMS))
        yield name, data


def _hold_stamp(data: bytes, sums: bytes) -> None:
    try:
        stamp.read(data, sums)
    except ValueError as e:
        raise FormatError(
            "format.bundle",
            f"{bundle.STAMP} is none of this report: {e}",
            hint="Remove that file, then ask for another: `offsitedb report stamp MONTH`.",
        ) from e


def _sums(found: Bundle, line: ReportLine) -> dict[str, str]:
    data = found.read(bundle.SUMS)
    if _sha256(data) != line.sha256:
        raise FormatError("format.bundle", f"{bundle.SUMS} was altered since the report was built")
    lines = data.decode("ascii").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _top(line: ReportLine) -> str:
    """The folder in an archive."""
    return f"restore-drill-report-{line.month}" + (f"-r{line.revision}" if line.revision > 1 else "")


def _at(at: datetime) -> tuple[int, int, int, int, int, int]:
    return (at.year, at.month, at.day, at.hour, at.minute, at.second)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
