"""Requests that are wrong, each in its own way, and the status that each is refused with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bad:
    """``raw``: bytes for the wire as they are (KEY stands for a good key); any refusal will do for those."""

    name: str
    status: int = 400
    method: str = "POST"
    path: str = "/api/checkpoint"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


def _body(name: str, body: bytes | object, status: int = 400) -> Bad:
    return Bad(f"body: {name}", status, body=body if isinstance(body, bytes) else json.dumps(body).encode())


_BODIES = [
    _body("nothing", b""),
    _body("blanks", b"   "),
    _body("no JSON", b"database=prod"),
    _body("cut off", b'{"database": "prod"'),
    _body("two documents", b'{"database": "prod"}{"database": "prod"}'),
    _body("trailing comma", b'{"database": "prod",}'),
    _body("single quotes", b"{'database': 'prod'}"),
    _body("comment", b'{"database": "prod"} // x'),
    _body("not UTF-8", b'{"database": "\xff\xfe"}'),
    _body("UTF-16", '{"database": "prod"}'.encode("utf-16")),
    _body("latin-1", '{"database": "prod\xe9"}'.encode("latin-1")),
    _body("byte order mark", b'\xef\xbb\xbf{"database": "prod"}'),
    _body("a list", ["prod"]),
    _body("a list of objects", [{"database": "prod"}]),
    _body("a text", "prod"),
    _body("a number", 7),
    _body("null", None),
    _body("true", True),
    _body("NaN", b'{"database": NaN}'),
    _body("Infinity", b'{"database": "prod", "tag": Infinity}'),
    _body("doubled name", b'{"database": "prod", "database": "other"}'),
    _body("doubled tag", b'{"database": "prod", "tag": "a", "tag": "b"}'),
    _body("deep list", b"[" * 8000),
    _body("deep and closed", b"[" * 8000 + b"]" * 8000),
    _body("deep in a field", b'{"database": ' + b"[" * 7000 + b"]" * 7000 + b"}"),
    _body("huge number", b'{"database": ' + b"9" * 10_000 + b"}"),
    _body("huge exponent", b'{"database": 1e999999}'),
    _body("raw newline in a text", b'{"database": "pr\nod"}'),
    _body("raw NUL", b'{"database": "pr\x00od"}'),
    _body("empty object", {}),
    _body("only a tag", {"tag": "x"}),
    _body("database null", {"database": None}),
    _body("database empty", {"database": ""}),
    _body("database a number", {"database": 1}),
    _body("database a list", {"database": ["prod"]}),
    _body("database an object", {"database": {"name": "prod"}}),
    _body("database true", {"database": True}),
    _body("tag a number", {"database": "prod", "tag": 1}),
    _body("tag a list", {"database": "prod", "tag": ["x"]}),
    _body("tag an object", {"database": "prod", "tag": {}}),
    _body("tag false", {"database": "prod", "tag": False}),
    _body("tag too long", {"database": "prod", "tag": "x" * 101}),
    _body("tag with newline", {"database": "prod", "tag": "a\nb"}),
    _body("tag with NUL", {"database": "prod", "tag": "a\0b"}),
    _body("tag with escape", {"database": "prod", "tag": "\x1b[2J"}),
    _body("tag with bidi", {"database": "prod", "tag": "a\u202eb"}),
    _body("tag with zero width", {"database": "prod", "tag": "a\u200bb"}),
    _body("tag a lone surrogate", b'{"database": "prod", "tag": "\\ud800"}'),
    _body("unknown field", {"database": "prod", "tags": "x"}),
    _body("prototype", {"database": "prod", "__proto__": {}}),
    _body("a scope", {"database": "prod", "scope": "admin"}),
    _body("too large", {"database": "x" * 20_000}, 413),
    _body("far too large", b"x" * 300_000, 413),
    _body("blanks without end", b" " * 17_000, 413),
    _body("unknown database", {"database": "nosuch"}, 404),
    _body("other case", {"database": "PROD"}, 404),
    _body("blank after the name", {"database": "prod "}, 404),
    _body("path", {"database": "../prod"}, 404),
    _body("wildcard", {"database": "%"}, 404),
    _body("underscore", {"database": "pro_"}, 404),
    _body("SQL", {"database": "'; DROP TABLE jobs; --"}, 404),
    _body("NUL in the name", {"database": "prod\0"}, 404),
    _body("surrogate in the name", b'{"database": "\\udfff"}', 404),
    _body("emoji", {"database": "🐘"}, 404),
    _body("long name", {"database": "p" * 5000}, 404),
    _body("an id that is none", {"database": "0" * 32}, 404),
    _body("template", {"database": "{{7*7}}"}, 404),
    _body("markup", {"database": "<script>alert(1)</script>"}, 404),
    _body("terminal", {"database": "\x1b[31m"}, 404),
]
_GOOD = json.dumps({"database": "prod"}).encode()


def _typed(name: str, value: str, status: int = 415) -> Bad:
    return Bad(f"type: {name}", status, body=_GOOD, headers={"content-type": value})


def _keyed(name: str, value: str) -> Bad:
    return Bad(f"idempotency key: {name}", body=_GOOD, headers={"idempotency-key": value})


def _as(name: str, value: str) -> Bad:
    return Bad(f"authorization: {name}", 401, body=_GOOD, headers={"authorization": value})


_HEADERS = [
    _typed("form", "application/x-www-form-urlencoded"),
    _typed("multipart", "multipart/form-data; boundary=x"),
    _typed("text", "text/plain"),
    _typed("nothing", ""),
    _typed("rubbish", "%%%"),
    _typed("json-like", "application/json-patch"),
    _typed("prefix", "application/jsonx"),
    _typed("other charset", "application/json; charset=utf-16"),
    _typed("xml", "application/xml"),
    _typed("html", "text/html"),
    _keyed("empty", ""),
    _keyed("too long", "x" * 256),
    _keyed("far too long", "x" * 5000),
    _keyed("tab", "a\tb"),
    _as("nothing", ""),
    _as("only the scheme", "Bearer"),
    _as("other scheme", "Basic cHJvZDpwcm9k"),
    _as("token scheme", "Token odb_live_x"),
    _as("no scheme", "odb_live_000000000000_0000000000000000000000000000000000000000000000000"),
    _as("wrong checksum", "Bearer odb_live_000000000000_0000000000000000000000000000000000000000000000000"),
    _as("SQL", "Bearer ' OR 1=1 --"),
    _as("long", "Bearer " + "x" * 9000),
    _as("two keys", "Bearer a Bearer b"),
]


def _to(name: str, method: str, path: str, status: int) -> Bad:
    return Bad(f"{method} {name}", status, method, path)


_PATHS = [
    _to("the blocking form", "GET", "/api/checkpoint", 405),
    _to("the blocking form", "PUT", "/api/checkpoint", 405),
    _to("the blocking form", "DELETE", "/api/checkpoint", 405),
    _to("the blocking form", "PATCH", "/api/checkpoint", 405),
    _to("the blocking form", "OPTIONS", "/api/checkpoint", 405),
    _to("the blocking form", "HEAD", "/api/checkpoint", 405),
    _to("the blocking form", "TRACE", "/api/checkpoint", 405),
    _to("the blocking form", "BREW", "/api/checkpoint", 405),
    _to("one", "POST", "/api/checkpoints/" + "0" * 32, 405),
    _to("one", "DELETE", "/api/checkpoints/" + "0" * 32, 405),
    _to("one that is not there", "GET", "/api/checkpoints/" + "0" * 32, 404),
    _to("one with a short id", "GET", "/api/checkpoints/abc", 404),
    _to("one with a wild id", "GET", "/api/checkpoints/%25", 404),
    _to("one with SQL", "GET", "/api/checkpoints/'%20OR%201=1", 404),
    _to("one with NUL", "GET", "/api/checkpoints/%00", 404),
    _to("one with bytes", "GET", "/api/checkpoints/%ff%fe", 404),
    _to("one above", "GET", "/api/checkpoints/..%2f..%2fetc", 404),
    _to("one with a long id", "GET", "/api/checkpoints/" + "a" * 6000, 404),
    _to("one, wait no number", "GET", "/api/checkpoints/" + "0" * 32 + "?wait=soon", 400),
    _to("one, wait negative", "GET", "/api/checkpoints/" + "0" * 32 + "?wait=-1", 400),
    _to("one, wait broken", "GET", "/api/checkpoints/" + "0" * 32 + "?wait=1.5", 400),
    _to("one, wait huge", "GET", "/api/checkpoints/" + "0" * 32 + "?wait=" + "9" * 30, 400),
    _to("one, wait foreign digits", "GET", "/api/checkpoints/" + "0" * 32 + "?wait=%D9%A3", 400),
    _to("all, limit no number", "GET", "/api/checkpoints?limit=all", 400),
    _to("all, limit empty", "GET", "/api/checkpoints?limit=", 400),
    _to("all, tag hostile", "GET", "/api/checkpoints?tag=%1b[2J", 400),
    _to("all, unknown database", "GET", "/api/checkpoints?database=nosuch", 404),
    _to("all, empty database", "GET", "/api/checkpoints?database=", 404),
    _to("a slash more", "POST", "/api/checkpoint/", 404),
    _to("two slashes", "POST", "//api//checkpoint", 404),
    _to("nothing", "GET", "/api", 404),
    _to("another version", "GET", "/api/v2/checkpoint", 404),
    _to("a file", "GET", "/etc/passwd", 404),
    _to("above", "GET", "/..%2f..%2fetc%2fpasswd", 404),
    _to("dot env", "GET", "/.env", 404),
    _to("git", "GET", "/.git/config", 404),
    _to("health", "POST", "/healthz", 405),
    _to("metrics", "POST", "/metrics", 405),
    _to("the log-out", "GET", "/logout", 405),
]


def _raw(name: str, raw: bytes) -> Bad:
    return Bad(f"raw: {name}", raw=raw)


_START = b"POST /api/checkpoint HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n"
_RAW = [
    _raw("rubbish", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    _raw("one line", b"hello\r\n\r\n"),
    _raw("HTTP 0.9", b"GET /\r\n\r\n"),
    _raw("HTTP 3.0", b"GET / HTTP/3.0\r\n\r\n"),
    _raw("no host", b"GET /api/checkpoints HTTP/1.1\r\n\r\n"),
    _raw("head too large", b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n"),
    _raw("path too long", b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    _raw("many headers", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 5000 + b"\r\n"),
    _raw("header without a colon", b"GET / HTTP/1.1\r\nHost: x\r\nabc\r\n\r\n"),
    _raw("header with a NUL", b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n"),
    _raw("folded header", b"GET /x HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"),
    _raw("path with bytes", b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n"),
    _raw("length is no number", _START + b"Content-Length: ten\r\n\r\n{}"),
    _raw("length negative", _START + b"Content-Length: -5\r\n\r\n{}"),
    _raw("length twice", _START + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"),
    _raw("length huge", _START + b"Content-Length: 99999999999999999999\r\n\r\n{}"),
    _raw("length a lie", _START + b'Content-Length: 500\r\n\r\n{"database": "prod"}'),
    _raw("length and chunks", _START + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    _raw("chunks broken", _START + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    _raw("chunks too large", _START + b"Transfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
    _raw("chunk size a lie", _START + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n{}"),
    _raw("another encoding", _START + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    _raw("upgrade", b"GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    _raw("HTTP 2 in clear", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    _raw("proxy request", b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
    _raw("star", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"),
    _raw("absolute URL", b"GET http://example.org/x HTTP/1.1\r\nHost: example.org\r\n\r\n"),
]

BAD: tuple[Bad, ...] = (*_BODIES, *_HEADERS, *_PATHS, *_RAW)
