"""The door to the OS keyring, before real keyrings: the kernel's, systemd's credentials, a Secret Service."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.errors import KeyAccessError
from engine.keys.backends import Request, perform
from engine.keys.door import KeyStore, OsKeyring, load_verified
from engine.keys.kernel import check_usable
from engine.keys.master import MasterKey
from engine.keys.systemd import credential_name, render_install
from tests.fixtures.secret_service import SecretService, secret_service

ROOT = Path(__file__).parents[1]
MASTER = MasterKey(1, bytes(range(32)))


def kernel_unusable() -> str:
    try:
        check_usable()
    except RuntimeError as e:
        return str(e)
    return ""


needs_kernel = pytest.mark.skipif(bool(kernel_unusable()), reason=kernel_unusable() or "usable")


@pytest.fixture
def catalog_id() -> str:
    return uuid.uuid4().hex


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretService]:
    with secret_service(tmp_path_factory.mktemp("keyring")) as running:
        yield running


def kernel(op: str, catalog_id: str, value: str = "") -> str | None:
    """What the backend says to ``op``, past the door."""
    reply = perform(Request(op, "kernel", f"offsitedb/{catalog_id}", "master/1", value))
    assert reply.state == "ok"
    return reply.value


def keep_and_fetch(store: KeyStore, catalog_id: str) -> None:
    """What every holder of keys must do."""
    with pytest.raises(KeyAccessError) as caught:
        store.load(catalog_id, 1)
    assert caught.value.code == "key.missing"
    store.delete(catalog_id, 1)
    second = MasterKey.generate(2)
    try:
        for master in (MASTER, second, MASTER):
            store.store(catalog_id, master)
        assert store.load(catalog_id, 1) == MASTER
        assert store.load(catalog_id, 2) == second
        replaced = MasterKey.generate(1)
        store.store(catalog_id, replaced)
        assert store.load(catalog_id, 1) == replaced
        record = second.check_record(catalog_id)
        assert load_verified(store, catalog_id, 2, record) == second
        with pytest.raises(KeyAccessError) as caught:
            load_verified(store, catalog_id, 1, record)
        assert caught.value.code == "key.wrong"
        with pytest.raises(KeyAccessError):
            store.load(uuid.uuid4().hex, 1)
    finally:
        store.delete(catalog_id, 1)
        store.delete(catalog_id, 2)
    with pytest.raises(KeyAccessError) as caught:
        store.load(catalog_id, 1)
    assert caught.value.code == "key.missing"


# -- kernel keyring


@needs_kernel
def test_kernel(catalog_id: str) -> None:
    keep_and_fetch(OsKeyring(environment={}).at("kernel"), catalog_id)


@needs_kernel
@pytest.mark.skipif(shutil.which("keyctl") is None, reason="keyutils is not installed")
def test_kernel_key_is_read_in_another_session(catalog_id: str) -> None:
    def in_a_session_of_its_own(code: str) -> str:
        program = f"from engine.keys.kernel import KernelKeyring as K; {code}"
        argv = ["keyctl", "session", "-", sys.executable, "-c", program, f"offsitedb/{catalog_id}"]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.strip()

    try:
        in_a_session_of_its_own("import sys; K().set_password(sys.argv[1], 'master/1', 'first')")
        assert in_a_session_of_its_own("import sys; print(K().get_password(sys.argv[1], 'master/1'))") == "first"
        assert kernel("get", catalog_id) == "first"
        in_a_session_of_its_own("import sys; K().set_password(sys.argv[1], 'master/1', 'second')")
        assert kernel("get", catalog_id) == "second"
    finally:
        kernel("delete", catalog_id)


@needs_kernel
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("keyctl") is None, reason="needs root and keyutils")
def test_kernel_key_is_not_read_by_another_user(catalog_id: str) -> None:
    kernel("set", catalog_id, "geheim")
    try:
        serial = subprocess.run(
            ["keyctl", "search", "@u", "user", f"offsitedb/{catalog_id}:master/1"], capture_output=True, check=True
        ).stdout.strip()
        described = subprocess.run(["keyctl", "rdescribe", serial], capture_output=True, text=True, check=True)
        assert described.stdout.startswith("user;0;")
        assert ";3f1b0000;" in described.stdout
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--"]
        read = subprocess.run([*other, "keyctl", "pipe", serial], capture_output=True, check=False)
        assert read.returncode != 0
        assert b"Permission denied" in read.stderr
        assert b"geheim" not in read.stdout
    finally:
        kernel("delete", catalog_id)


@needs_kernel
def test_what_is_no_master_key_is_not_taken_for_one(catalog_id: str) -> None:
    kernel("set", catalog_id, "something else")
    try:
        with pytest.raises(KeyAccessError) as caught:
            OsKeyring(environment={}).load("kernel", catalog_id, 1)
        assert caught.value.code == "key.wrong"
        assert "something else" not in str(caught.value)
    finally:
        kernel("delete", catalog_id)


@needs_kernel
def test_without_a_bus_the_kernel_is_chosen() -> None:
    keyring = OsKeyring(environment={})
    assert keyring.choose() == "kernel"
    states = {state.name: state for state in keyring.probe()}
    assert states["secret-service"].state == "key.no-backend"
    assert "DBUS_SESSION_BUS_ADDRESS" in states["secret-service"].detail


# -- systemd credentials


def test_systemd_credentials_are_read(catalog_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / credential_name(catalog_id, 1)).write_text(MASTER.text + "\n")
    keyring = OsKeyring(environment={})
    with pytest.raises(KeyAccessError) as caught:
        keyring.load("systemd", catalog_id, 1)
    assert caught.value.code == "key.no-backend"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert keyring.load("systemd", catalog_id, 1) == MASTER
    assert keyring.load("kernel", catalog_id, 1) == MASTER  # what the service was given comes first
    for missing in ((catalog_id, 2), (uuid.uuid4().hex, 1), ("../" + catalog_id, 1)):
        with pytest.raises(KeyAccessError) as caught:
            keyring.load("systemd", *missing)
        assert caught.value.code == "key.missing"
    with pytest.raises(KeyAccessError) as caught:
        keyring.store("systemd", catalog_id, MASTER)
    assert caught.value.code == "key.write-failed"
    assert "install-systemd" in caught.value.hint
    assert (tmp_path / credential_name(catalog_id, 1)).read_text() == MASTER.text + "\n"
    with pytest.raises(KeyAccessError) as caught:
        keyring.delete("systemd", catalog_id, 1)
    assert caught.value.code == "key.write-failed"
    states = {state.name: state for state in keyring.probe()}
    assert states["systemd"].usable
    assert keyring.at("systemd").load(catalog_id, 1) == MASTER
    for op in ("set", "delete"):  # past the door
        reply = perform(Request(op, "systemd", f"offsitedb/{catalog_id}", "master/1", "v"))
        assert "read-only" in reply.detail


def test_systemd_set_up_is_a_script(tmp_path: Path) -> None:
    script = render_install("8c7d", (1, 3), retired=(2,), unit="offsitedb-worker@main.service")
    subprocess.run(["sh", "-n"], input=script.encode(), check=True)
    assert "systemd-creds encrypt --name=offsitedb-8c7d-master-3 - /etc/credstore.encrypted/" in script
    assert "LoadCredentialEncrypted=offsitedb-8c7d-master-3:/etc/credstore.encrypted/" in script
    assert script.count("LoadCredentialEncrypted=") == script.count("--print-key --epoch ") == 2
    assert "rm -f /etc/credstore.encrypted/offsitedb-8c7d-master-2\n" in script
    assert "odbm1" not in script
    for wrong in ("a/b", "a b", "", "$(id)"):
        with pytest.raises(ValueError):
            render_install(wrong, (1,))
    for wrong in ("x", "../x.service", "a b.service", "x;.service\n"):
        with pytest.raises(ValueError):
            render_install("8c7d", (1,), unit=wrong)


@pytest.mark.skipif(shutil.which("systemd-creds") is None or os.geteuid() != 0, reason="needs systemd-creds and root")
def test_systemd_set_up_keeps_the_key(catalog_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rendered commands, with their folder moved and the host key (not every machine has a TPM)."""
    name = credential_name(catalog_id, 1)
    sealed = tmp_path / "sealed"
    encrypt = next(line for line in render_install(catalog_id, (1,)).splitlines() if line.startswith("systemd-creds"))
    command = encrypt.replace(f"/etc/credstore.encrypted/{name}", str(sealed))
    for key in ("null", "tpm2-absent"):  # the empty key, by its newer and its older name: leaves no host key behind
        with_key = command.replace("creds encrypt", f"creds --with-key={key} encrypt")
        done = subprocess.run(["sh", "-c", with_key], input=MASTER.text.encode(), capture_output=True, check=False)
        if done.returncode == 0:
            break
    else:
        pytest.skip(f"systemd-creds cannot encrypt here: {done.stderr.decode().strip()}")
    assert MASTER.text.encode() not in sealed.read_bytes()
    opened = subprocess.run(
        ["systemd-creds", f"--name={name}", "decrypt", str(sealed), "-"], capture_output=True, check=False
    )
    if opened.returncode != 0:
        pytest.skip(f"systemd-creds cannot decrypt here: {opened.stderr.decode().strip()}")
    (tmp_path / name).write_bytes(opened.stdout)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert OsKeyring(environment={}).load("systemd", catalog_id, 1) == MASTER


# -- Secret Service


def test_secret_service(service: SecretService, catalog_id: str) -> None:
    keyring = OsKeyring(environment=service.environment)
    assert keyring.choose() == "secret-service"
    keep_and_fetch(keyring.at("secret-service"), catalog_id)


def test_a_silent_secret_service_times_out(service: SecretService, catalog_id: str) -> None:
    keyring = OsKeyring(environment=service.environment, timeout_s=1.5)
    with service.silent():
        with pytest.raises(KeyAccessError) as caught:
            keyring.load("secret-service", catalog_id, 1)
        assert caught.value.code == "key.timeout"
        assert caught.value.retry
        states = {state.name: state.state for state in keyring.probe()}
    assert states["secret-service"] == "key.timeout"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_child_shows_no_secret(service: SecretService, catalog_id: str) -> None:
    keyring = OsKeyring(environment=service.environment, timeout_s=3)
    with service.silent(), ThreadPoolExecutor(1) as pool:
        storing = pool.submit(keyring.store, "secret-service", catalog_id, MASTER)
        seen: list[bytes] = []
        while not seen and not storing.done():
            seen = [shown for shown in shown_by_children() if b"engine.keys.child" in shown]
        with pytest.raises(KeyAccessError):
            storing.result()
    assert seen
    assert all(MASTER.text.encode() not in shown and MASTER.key.hex().encode() not in shown for shown in seen)


def shown_by_children() -> Iterator[bytes]:
    """Command line and environment of each child process of ours, as any user, or we, can read them."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if status.read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                yield b"".join((status.parent / name).read_bytes() for name in ("cmdline", "environ"))
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_a_locked_secret_service_says_so(tmp_path: Path, catalog_id: str) -> None:
    with secret_service(tmp_path, unlocked=True):
        pass  # makes the collection
    with secret_service(tmp_path, unlocked=False) as service:
        keyring = OsKeyring(environment=service.environment)
        for call in (keyring.at("secret-service").load, keyring.at("secret-service").delete):
            with pytest.raises(KeyAccessError) as caught:
                call(catalog_id, 1)
            assert caught.value.code == "key.locked"
        with pytest.raises(KeyAccessError) as caught:
            keyring.store("secret-service", catalog_id, MASTER)
        assert caught.value.code == "key.locked"
        states = {state.name: state.state for state in keyring.probe()}
        assert states["secret-service"] == "key.locked"


# -- what is not trusted


@pytest.mark.parametrize(
    "name",
    ["keyring.backends.null.Keyring", "keyring.backends.fail.Keyring", "keyrings.alt.file.PlaintextKeyring", "x", ""],
)
def test_an_unlisted_backend_is_refused(name: str, catalog_id: str) -> None:
    keyring = OsKeyring(environment={})
    with pytest.raises(KeyAccessError) as caught:
        keyring.store(name, catalog_id, MASTER)
    assert caught.value.code == "key.weak-backend"
    with pytest.raises(KeyAccessError) as caught:
        keyring.delete(name, catalog_id, 1)
    assert caught.value.code == "key.weak-backend"
    with pytest.raises(KeyAccessError) as caught:
        keyring.load(name, catalog_id, 1)
    assert caught.value.code == "key.weak-backend"
    assert perform(Request("get", name, "s", "u")).state == "key.weak-backend"


def test_a_plaintext_backend_is_seen_and_not_used(tmp_path: Path) -> None:
    """A third-party package registers a file backend; with it alone `keyring` would store keys in clear."""
    (tmp_path / "plain_file.py").write_text(
        "from keyring.backend import KeyringBackend\n"
        "class PlainFile(KeyringBackend):\n"
        "    priority = 9\n"
        "    def get_password(self, service, username): return 'x'\n"
        "    def set_password(self, service, username, password): pass\n"
        "class Second(PlainFile):\n"
        "    priority = 8\n"
    )
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import plain_file\n"
        "from engine.keys.backends import Request, perform\n"
        "print(*perform(Request('list')).found)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, env={}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["plain_file.PlainFile", "plain_file.Second"]
