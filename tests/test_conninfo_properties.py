"""Connection strings against libpq's own reading of them, and there and back again."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

import psycopg
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from engine.errors import ConfigError
from engine.postgres.address import SSLMODES, Conninfo
from engine.postgres.conninfo import parse

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
names = words.filter(lambda s: s[0] not in "[<{$")
hosts = st.sampled_from(["h.example", "db_1.internal", "127.0.0.1", "2001:db8::1", "/run/my pg", "::1"])
conninfos = st.builds(
    Conninfo,
    host=hosts,
    dbname=names,
    user=names,
    password=st.none() | words.filter(lambda s: not _placeholder(s)),
    port=st.integers(1, 65535),
    sslmode=st.sampled_from(SSLMODES),
    sslrootcert=st.none() | st.just("/etc/ca certs/ca.crt"),
    options=st.none() | st.just("endpoint=ep-x-1"),
    connect_timeout_s=st.integers(2, 600),
    channel_binding=st.none() | st.just("require"),
    target_session_attrs=st.none() | st.just("read-write"),
    hostaddr=st.none() | st.just("192.0.2.1"),
)


def _placeholder(text: str) -> bool:
    try:
        parse(f"postgresql://u:{quote(text, safe='')}@h/d")
    except ConfigError as e:
        return "placeholder" in e.message
    return False


@given(conninfos)
def test_to_url_is_read_back_equal(conninfo: Conninfo) -> None:
    assert parse(conninfo.to_url()) == conninfo


@given(conninfos)
def test_libpq_reads_our_url_as_we_do(conninfo: Conninfo) -> None:
    theirs = conninfo_to_dict(conninfo.to_url())
    assert theirs["host"] == conninfo.host
    assert (theirs["user"], theirs["dbname"], theirs.get("password")) == (
        conninfo.user,
        conninfo.dbname,
        conninfo.password,
    )
    assert int(str(theirs["port"])) == conninfo.port


@given(user=names, password=words, dbname=names)
@example(user="u", password="a'b\\c d", dbname="x")
def test_key_value_as_libpq_writes_it(user: str, password: str, dbname: str) -> None:
    if _placeholder(password):
        return
    c = parse(make_conninfo("", host="h.example", user=user, password=password, dbname=dbname))
    assert (c.user, c.password, c.dbname) == (user, password, dbname)


@given(st.text(st.sampled_from(list("ab =\\'\t@/")), max_size=40))
def test_key_value_is_never_read_otherwise_than_by_libpq(tail: str) -> None:
    """Whatever we accept, libpq reads the same way."""
    text = f"host=h.example user=u dbname=d password={tail}"
    try:
        ours = parse(text)
    except ConfigError:
        return
    try:
        theirs = conninfo_to_dict(text.strip())
    except psycopg.ProgrammingError:
        raise AssertionError(f"accepted what libpq refuses: {text!r}") from None
    assert ours.password == (theirs.get("password") or None)


@given(st.text(max_size=120))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse(text).host


@given(st.text(st.sampled_from(list("ab:@/?#%=&[],4")), max_size=30))
def test_any_url_is_understood_or_refused(rest: str) -> None:
    try:
        c = parse(f"postgresql://{rest}")
    except ConfigError:
        return
    assert parse(c.to_url()) == c
