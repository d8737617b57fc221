"""What boto3 is told of S3's operations, read once per process and kept small.

Left alone, each client reads three megabytes of JSON anew, with every operation's documentation, into dictionaries of
the heavier kind, and every other service's endpoints besides: 12 MiB a client. It also looks for more such files below
the home directory; here it finds its own only.
"""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from typing import Any

from botocore.loaders import JSONFileLoader, Loader

_PROSE = ("documentation", "documentationUrl", "documentation_url")
_SERVICE = "s3"


class _Files(JSONFileLoader):
    """Reads a file once. What it hands out is shared by all clients, none of which changes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: dict[str, Any] = {}

    def load_file(self, file_path: str) -> Any:
        """The contents of ``file_path``, which lacks its ending; None where there is none."""
        with self._lock:
            if file_path not in self._read:
                self._read[file_path] = _read(Path(file_path))
            return self._read[file_path]


_files = _Files()


def loader() -> Loader:
    """A loader of botocore's own files, for one session."""
    return Loader([Loader.BUILTIN_DATA_PATH], file_loader=_files, include_default_search_paths=False)


def _read(path: Path) -> Any:
    plain, packed = path.with_name(path.name + ".json"), path.with_name(path.name + ".json.gz")
    if plain.is_file():
        text = plain.read_bytes()
    elif packed.is_file():
        text = gzip.decompress(packed.read_bytes())
    else:
        return None
    read = json.loads(text, object_hook=_without_prose)
    return _of_one_service(read) if path.name == "endpoints" else read


def _without_prose(fields: dict[str, Any]) -> dict[str, Any]:
    for name in _PROSE:
        if isinstance(fields.get(name), str):  # a member of that name would be a dictionary
            fields[name] = ""
    return fields


def _of_one_service(endpoints: dict[str, Any]) -> dict[str, Any]:
    """The endpoints of all partitions, of S3 alone."""
    for partition in endpoints.get("partitions", ()):
        partition["services"] = {k: v for k, v in partition.get("services", {}).items() if k == _SERVICE}
    return endpoints
