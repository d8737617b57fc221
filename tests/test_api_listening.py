"""Where the API may listen: what others could hear in clear does not start."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import ConfigError
from offsitedb_tui.api.listening import Listening, listen_tcp, listen_unix, tls_context
from tests.fixtures.served import certificate


def refused(listen: Callable[[], object]) -> str:
    """Why it does not listen."""
    with pytest.raises(ConfigError) as e:
        listen()
    assert e.value.code == "api.listen"
    return e.value.message


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8440", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"])
def test_in_clear_it_is_for_this_machine_alone(address: str) -> None:
    assert "there is no certificate" in refused(lambda: listen_tcp(address, None))


@pytest.mark.parametrize(
    "address", ["", "nowhere", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "no.invalid:1", "a:١"]
)
def test_addresses_that_are_none(address: str) -> None:
    refused(lambda: listen_tcp(address, None))


def test_a_port_of_this_machine() -> None:
    found = listen_tcp("127.0.0.1:0", None)
    try:
        assert found.where.startswith("http://127.0.0.1:")
        assert "in use" in refused(lambda: listen_tcp(found.where.removeprefix("http://"), None))
    finally:
        found.close()
    again = listen_tcp("localhost:0", None)
    assert all(one.getsockname()[0] in ("127.0.0.1", "::1") for one in again.sockets)
    again.close()


def test_a_certificate_and_its_key(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "127.0.0.1")
    locked = tmp_path / "locked.pem"
    locking = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-out", str(locked), "-passout", "pass:secret"]
    subprocess.run(locking, check=True, capture_output=True)
    (tmp_path / "other").mkdir()
    _, stranger = certificate(tmp_path / "other", "127.0.0.1")
    for c, k in ((cert, None), (None, key), (cert, cert), (cert, tmp_path / "none"), (cert, stranger), (cert, locked)):
        refused(lambda c=c, k=k: tls_context(c, k))  # type: ignore[misc]
    assert tls_context(None, None) is None
    found = listen_tcp("0.0.0.0:0", tls_context(cert, key))
    assert found.where.startswith("https://0.0.0.0:")
    found.close()


def test_a_socket_of_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # what a killed server leaves
    found: Listening = listen_unix(path)
    assert path.stat().st_mode & 0o777 == 0o660
    assert "another server" in refused(lambda: listen_unix(path))
    found.close()
    assert not path.exists()
    file = tmp_path / "file"
    file.write_text("mine")
    assert "a file" in refused(lambda: listen_unix(file))
    assert file.read_text() == "mine"
    refused(lambda: listen_unix(tmp_path / "no" / "such" / "folder"))
    refused(lambda: listen_unix(tmp_path / ("x" * 200)))
