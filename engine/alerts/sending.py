"""Telling a channel: one request to the address that was judged, or one call of Apprise.

Redirects are not followed, proxies of the environment not asked, and nothing of an answer is read but its status: what
a server says is nobody's business here (but of :meth:`Outbound.exchange`, which reads so much and no more). A whole
attempt is over within :data:`ATTEMPT_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from engine.alerts import guard
from engine.alerts.guard import Resolve, Target
from engine.errors import AlertFailed, ConfigError, OffsiteError
from engine.redact import holding
from engine.version import VERSION

if TYPE_CHECKING:
    import httpx

STEP_S = 10.0
"""How long connecting, sending and the wait for an answer may each take."""
ATTEMPT_S = 30.0
_AGENT = f"OffsiteDB/{VERSION}"


@dataclass(frozen=True, slots=True)
class Outbound:
    """How requests leave. ``resolve``: how names are looked up; ``ca_file``: whom to trust (default: the usual CAs)."""

    resolve: Resolve | None = None
    ca_file: str | None = None
    step_s: float = STEP_S
    attempt_s: float = ATTEMPT_S

    def post(self, target: Target, payload: bytes, headers: Mapping[str, str]) -> None:
        """POST a JSON document. Raises AlertFailed unless it was answered with 2xx."""
        self._send("POST", target, payload, {"content-type": "application/json", **headers})

    def ping(self, target: Target) -> None:
        """GET the URL. Raises AlertFailed unless it was answered with 2xx."""
        self._send("GET", target, b"", {})

    def exchange(self, target: Target, payload: bytes, headers: Mapping[str, str], *, at_most: int) -> bytes:
        """POST, and what was answered, of ``at_most`` bytes. Raises AlertFailed unless it was answered with 2xx."""
        return self._send("POST", target, payload, {"accept-encoding": "identity", **headers}, at_most)

    def _send(
        self, method: str, target: Target, payload: bytes, headers: Mapping[str, str], at_most: int | None = None
    ) -> bytes:
        where = guard.addresses(target, self.resolve)
        with holding(target.path):
            status, body = asyncio.run(self._request(method, target, where, payload, headers, at_most))
        if at_most is not None and len(body) > at_most:
            raise AlertFailed("alert.status", f"{target.authority} answered with more than {at_most:,} bytes")
        if 200 <= status < 300:
            return body
        moved = ": redirects are not followed" if 300 <= status < 400 else ""
        raise AlertFailed("alert.status", f"{target.authority} answered {status}{moved}", retry=True)

    async def _request(
        self,
        method: str,
        target: Target,
        where: tuple[str, ...],
        payload: bytes,
        headers: Mapping[str, str],
        at_most: int | None,
    ) -> tuple[int, bytes]:
        """The status of the answer, and its body as far as one byte more than ``at_most`` (None: it is not read).

        The next address is tried only where no connection was made to the one before.
        """
        import httpx  # late: it takes as long to load as the rest of the command line

        name = target.authority
        try:
            async with asyncio.timeout(self.attempt_s):
                trust = _trust(self.ca_file) if target.scheme == "https" else False
                async with httpx.AsyncClient(
                    verify=trust, timeout=self.step_s, follow_redirects=False, trust_env=False
                ) as client:
                    for address in where:
                        request = client.build_request(
                            method,
                            target.at(address),
                            content=payload,
                            headers={"host": name, "user-agent": _AGENT, "accept": "*/*", **headers},
                            extensions={"sni_hostname": target.host},
                        )
                        with contextlib.suppress(*((httpx.ConnectError,) if address != where[-1] else ())):
                            answer = await client.send(request, stream=True)
                            body = b"" if at_most is None else await _read(answer, at_most)
                            await answer.aclose()  # without at_most its body is not read
                            return answer.status_code, body
        except (httpx.TimeoutException, TimeoutError) as e:
            raise AlertFailed("alert.timeout", f"{name} did not answer in time", retry=True) from e
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as e:
            raise _translated(name, e) from e
        raise AlertFailed("alert.unreachable", f"{name} cannot be reached", retry=True)


async def _read(answer: httpx.Response, at_most: int) -> bytes:
    """So many bytes, and one more where there are more, as they came."""
    body = bytearray()
    async for block in answer.aiter_raw():
        body += block
        if len(body) > at_most:
            break
    return bytes(body[: at_most + 1])


def _trust(ca_file: str | None) -> ssl.SSLContext:
    import certifi

    return ssl.create_default_context(cafile=ca_file or os.environ.get("SSL_CERT_FILE") or certifi.where())


def _translated(name: str, error: Exception) -> OffsiteError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
            return AlertFailed("alert.tls", f"{name}: {reason}", retry=True)
        cause = cause.__cause__ or cause.__context__
    return AlertFailed("alert.unreachable", f"{name} cannot be reached: {type(error).__name__}", retry=True)


# Apprise

Severity = Literal["failure", "success", "info"]


def check_apprise(url: str) -> str:
    """What may be shown of an Apprise URL. Raises ConfigError ``config.apprise``, ``config.alert-url``."""
    apprise = _apprise()
    with holding(*_secrets_in(url)):
        if apprise.Apprise.instantiate(url, suppress_exceptions=True) is None:
            raise ConfigError(
                "config.alert-url",
                "Apprise does not know this URL",
                hint="Write it as the Apprise documentation shows it for the service, for example `ntfy://TOPIC`.",
            )
    return f"{url.partition('://')[0].lower()}://…"


def notify(url: str, title: str, text: str, severity: Severity) -> None:
    """Hand it to the service. What Apprise connects to is its own affair: our rules do not hold in there.

    Raises ConfigError ``config.apprise``, AlertFailed ``alert.failed``.
    """
    apprise = _apprise()
    with holding(*_secrets_in(url)):
        told = apprise.Apprise()
        with apprise.LogCapture(level=apprise.logging.WARNING) as log:
            went = told.add(url) and told.notify(title=title, body=text, notify_type=severity)
            said = " ".join(log.getvalue().split())[-300:]
        if not went:
            scheme = url.partition("://")[0].lower()
            raise AlertFailed("alert.failed", f"{scheme}: {said or 'the service did not take it'}", retry=True)


def _apprise() -> Any:  # the library has no types
    if find_spec("apprise") is None:
        raise ConfigError("config.apprise", "alerts through Apprise need its library, which is not installed")
    import apprise

    return apprise


def _secrets_in(url: str) -> tuple[str, ...]:
    """Every part of an Apprise URL may be a token."""
    return tuple(part for part in {url, *re.split(r"[/:@?&=]+", url.partition("://")[2])} if len(part) >= 8)
