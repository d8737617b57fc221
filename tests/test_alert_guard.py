"""Which URLs and addresses alerts may be sent to: judged before anything is connected to, and reached as judged."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engine.alerts import guard
from engine.alerts.guard import Resolve, check_url
from engine.alerts.sending import Outbound
from engine.errors import AlertFailed, ConfigError, OffsiteError
from tests.fixtures.receiver import Receiver, answer, cut, drip, flood, hang

LITERALS = (
    # this machine, in every form that some parser takes for it
    "127.0.0.1", "127.0.0.2", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1",
    "017700000001", "0177.1", "127.0.0.01", "127.0x0.0.1", "0.0.0.0", "0", "00", "localhost", "localhost.", "LOCALHOST",
    "127.0.0.1.", "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]",
    "[fe80::1]", "[fe80::1%25lo]", "[::1%25lo]", "[2606:4700::5efe:127.0.0.1]",
    # private networks, and where clouds keep their credentials
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200", "169.254.169.254", "2852039166",
    "0xa9fea9fe", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[fd12::1]", "[fec0::1]", "[ff02::1]", "192.0.0.192",
    "198.18.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1",
)  # fmt: skip
OTHER = (
    "https://user:pw@HOST/", "https://HOST@example.com/", "https://example.com@HOST/", "https://example.com\\@HOST/",
    "https://HOST/#x", "https:///x", "https://", "gopher://HOST/", "file:///etc/passwd", "//HOST/x", "HOST/x",
    " https://HOST/", "https://HOST/\r\nX: y", "https://HO ST/", "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/",
    "https://[::1/", "https://HOST:0/", "https://HOST:99999/", "https://HOST:22/", "https://example.com:5432/",
    "https://-.example.com/", "https://a..b/", "http://example.com/", "https://%31%32%37.0.0.1/",
)  # fmt: skip


def to(*answers: str) -> Resolve:
    """A resolver that says ``answers`` whatever it is asked."""
    return lambda _host, _port: list(answers)


@pytest.fixture
def aimed(monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """A server that must not be reached, at a port that is allowed: the address alone keeps it safe."""
    receiver = Receiver()
    monkeypatch.setattr(guard, "PORTS", frozenset((443, receiver.port)))
    return receiver


def test_there_are_more_than_sixty() -> None:
    assert len(LITERALS) + len(OTHER) > 75


@pytest.mark.parametrize("url", [*(f"https://{host}:PORT/hook" for host in LITERALS), *OTHER])
def test_nothing_is_connected_to(aimed: Receiver, url: str) -> None:
    url = url.replace("PORT", str(aimed.port)).replace("HOST", f"127.0.0.1:{aimed.port}")
    with aimed, pytest.raises(OffsiteError) as refused:
        Outbound(attempt_s=5).post(check_url(url, allow_private=False), b"{}", {})
    assert refused.value.code in ("config.alert-url", "alert.refused")
    assert aimed.connections == 0


@pytest.mark.parametrize(
    "answers",
    [
        ("127.0.0.1",),
        ("1.1.1.1", "127.0.0.1"),  # one of ours among the others spoils them all
        ("::ffff:127.0.0.1",),
        ("::1",),
        ("10.1.2.3",),
        ("169.254.169.254",),
        ("64:ff9b::7f00:1",),
        ("fe80::1%lo",),
        ("nonsense",),
    ],
)
def test_a_name_that_leads_to_us_is_refused(aimed: Receiver, answers: tuple[str, ...]) -> None:
    target = check_url(f"https://hooks.example.com:{aimed.port}/", allow_private=False)
    with aimed, pytest.raises(AlertFailed, match=r"leads to|no address") as refused:
        Outbound(to(*answers)).post(target, b"{}", {})
    assert refused.value.code == "alert.refused"
    assert aimed.connections == 0


def test_a_name_is_asked_for_once_and_its_answer_used() -> None:
    """Rebinding: whoever answers with another address the second time is not asked a second time."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with Receiver() as receiver:
        target = check_url(f"http://rebind.example.com:{receiver.port}/a?b=c", allow_private=True)
        Outbound(rebinding).post(target, b"{}", {})
        assert asked == ["rebind.example.com"]
        [got] = receiver.received
        assert (got.path, got.headers["host"]) == ("/a?b=c", f"rebind.example.com:{receiver.port}")


@pytest.mark.parametrize(
    "where", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:10.0.0.1]", "100.100.100.200", "0.0.0.0"]
)
def test_a_private_channel_reaches_no_metadata_service(where: str) -> None:
    with pytest.raises(ConfigError, match="not an address"):
        check_url(f"http://{where}/latest", allow_private=True)
    with pytest.raises(AlertFailed, match="leads to"):
        guard.addresses(check_url("http://intranet/", allow_private=True), to(where.strip("[]")))


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"])
def test_the_internet_is_allowed(text: str) -> None:
    assert guard.allowed(ip_address(text), allow_private=False)


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "10.0.0.8", "192.168.3.4", "fd12:3456::1"])
def test_our_own_network_is_for_those_who_ask_for_it(text: str) -> None:
    assert not guard.allowed(ip_address(text), allow_private=False)
    assert guard.allowed(ip_address(text), allow_private=True)


def test_what_is_shown_of_a_url_holds_no_token() -> None:
    target = check_url("https://hooks.example.com/services/T000/B000/XXXX?k=v", allow_private=False)
    assert target.shown == "https://hooks.example.com/…"


def test_a_redirect_is_not_followed() -> None:
    with Receiver() as inner, Receiver() as outer:
        for status in (301, 302, 303, 307, 308):
            outer.instead.append(answer(status, location=inner.url))
            with pytest.raises(AlertFailed, match="redirects are not followed"):
                Outbound().post(check_url(outer.url, allow_private=True), b"{}", {})
        assert (outer.connections, inner.connections) == (5, 0)


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [(answer(500), "alert.status"), (answer(404), "alert.status"), (cut, "alert.unreachable"),
     (hang, "alert.timeout"), (drip, "alert.timeout")],
    ids=["500", "404", "cut", "hang", "drip"],
)  # fmt: skip
def test_what_a_server_may_do(behaviour: Callable[..., None], code: str) -> None:
    with Receiver() as receiver:
        receiver.instead.append(behaviour)
        with pytest.raises(AlertFailed) as failed:
            Outbound(step_s=0.3, attempt_s=0.6).post(check_url(receiver.url, allow_private=True), b"{}", {})
        assert failed.value.code == code
        assert failed.value.retry
        assert "s3cr3t" not in str(failed.value)


def test_an_answer_is_not_read() -> None:
    with Receiver() as receiver:
        receiver.instead.append(flood)
        Outbound(attempt_s=5).post(check_url(receiver.url, allow_private=True), b"{}", {})


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy, Receiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        Outbound().ping(check_url(receiver.url, allow_private=True))
        assert (proxy.connections, len(receiver.received)) == (0, 1)


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    with Receiver() as receiver:
        target = check_url(f"http://hooks.internal:{receiver.port}/", allow_private=True)
        Outbound(to("127.0.0.9", "127.0.0.1")).post(target, b"{}", {})
        assert len(receiver.received) == 1


def test_the_certificate_is_that_of_the_name(tmp_path: Path) -> None:
    ca, context = certificate(tmp_path, "hooks.example.com")
    with Receiver(context) as receiver:
        out = Outbound(to("127.0.0.1"), str(ca))
        good, other = (
            check_url(f"https://{host}:{receiver.port}/", allow_private=True)
            for host in ("hooks.example.com", "other.example.com")
        )
        out.post(good, b"{}", {})
        for sender, target in ((out, other), (Outbound(to("127.0.0.1")), good)):
            with pytest.raises(AlertFailed) as failed:
                sender.post(target, b"{}", {})
            assert failed.value.code == "alert.tls"
        assert len(receiver.received) == 1


def certificate(where: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate of its own for ``host``, and a server's side with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, private = where / "cert.pem", where / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, private)
    return cert, context
