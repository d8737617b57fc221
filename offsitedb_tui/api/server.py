"""The server process: uvicorn with our limits, and an end that leaves nobody without an answer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

import uvicorn

from engine.service import Engine
from offsitedb_tui.api.app import Api, make_api
from offsitedb_tui.api.listening import Listening
from offsitedb_tui.api.protocol import LARGEST_HEAD, BoundedProtocol, Loop

STOPS_WITHIN_S = 10


class Server(uvicorn.Server):
    """On SIGTERM or SIGINT those who wait are told that their checkpoint goes on; then it ends with status 0."""

    def __init__(self, config: uvicorn.Config, api: Api, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._api = api
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        self._ready()
        yield

    def _stop(self) -> None:
        self.should_exit = True
        self._api.waiting.stop()


def serve(engine: Engine, listening: Listening, ready: Callable[[], None]) -> None:
    """Serve until a signal says to stop. ``ready`` is called when a signal would be heard and sockets listen."""
    api = make_api(engine, engine.operators, secure=listening.tls is not None)
    tls = listening.tls
    protocol = type("Protocol", (BoundedProtocol,), {"most": engine.settings.api.connections})
    config = uvicorn.Config(
        api.app,
        http=protocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_graceful_shutdown=STOPS_WITHIN_S,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    server = Server(config, api, ready)
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(server.serve(sockets=list(listening.sockets)))
