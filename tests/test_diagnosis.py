"""Texts as PostgreSQL, libpq and poolers write them: each gets its sentence, its next step, and keeps its own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.error_codes import CODES
from engine.postgres.diagnosis import RULES, diagnose
from engine.postgres.mishaps import judge, read_mishaps
from engine.postgres.rule import LONGEST_WORDS, Place, Surroundings, identifier, literal, plain
from engine.postgres.toc import TocEntry
from engine.redact import holding

NEAR = Surroundings(
    host="db.abc.supabase.co", port=5432, dbname="shop", role="reader", sslmode="verify-full", timeout_s=15.0, major=17
)

CONNECT = [
    # F6 · poolers
    ("F6", "FATAL:  Tenant or user not found", "pg.auth", "pooler does not know", "<project-ref>"),
    ("F6", "FATAL:  unsupported startup parameter: options", "pg.pooler", "pooler answered", "session pooler"),
    ("F6", "received invalid response to GSSAPI negotiation: E", "pg.pooler", "pooler answered", "5432"),
    (
        "F6",
        "FATAL:  server login has been failing, cached error: connect failed (server_login_retry)",
        "pg.unreachable",
        "does not get through to the server behind it",
        "SHOW SERVERS;",
    ),
    # F7 · IPv6 only
    (
        "F7",
        'connection to server at "h" (2a05::1), port 5432 failed: Network is unreachable',
        "pg.unreachable",
        "no network route to db.abc.supabase.co",
        "session pooler",
    ),
    # who may come in
    (
        "auth",
        'FATAL:  no pg_hba.conf entry for host "203.0.113.7", user "reader", database "shop", SSL encryption',
        "pg.auth",
        "allows no login of reader to shop",
        "hostssl shop reader 203.0.113.7/32 scram-sha-256",
    ),
    (
        "tls",
        'FATAL:  no pg_hba.conf entry for host "203.0.113.7", user "reader", database "shop", no encryption',
        "pg.tls",
        "wants an encrypted connection",
        "sslmode=verify-full",
    ),
    ("auth", 'FATAL:  pg_hba.conf rejects connection for host "1.2.3.4"', "pg.auth", "refuses reader", "pg_hba_file"),
    (
        "auth",
        'FATAL:  password authentication failed for user "reader"',
        "pg.auth",
        "refused the user reader",
        "connection edit NAME --url",
    ),
    ("auth", "SCRAM authentication requires libpq version 10 or above", "pg.auth", "refused", "\\password reader"),
    ("auth", "fe_sendauth: no password supplied", "pg.auth", "wants a password", "connection edit NAME --url"),
    (
        "auth",
        'FATAL:  role "reader" is not permitted to log in',
        "pg.auth",
        "may not log in",
        "ROLE reader LOGIN;",
    ),
    ("auth", 'FATAL:  role "reader" does not exist', "pg.auth", "no role reader", "connection grants"),
    (
        "auth",
        'FATAL:  permission denied for database "shop"\nDETAIL:  User does not have CONNECT privilege.',
        "pg.permission",
        "may not connect to shop",
        "GRANT CONNECT ON DATABASE shop TO reader;",
    ),
    ("auth", 'FATAL:  database "shop" does not exist', "pg.no-database", "no database shop", "FROM pg_database"),
    (
        "tls",
        "SSL error: certificate verify failed",
        "pg.tls",
        "not signed by an authority",
        "Supabase: Project Settings",
    ),
    ("tls", 'root certificate file "/x" does not exist', "pg.tls", "CA file cannot be read", "sslrootcert"),
    ("tls", 'server certificate for "a" does not match host name "b"', "pg.tls", "another host name", "host name that"),
    ("tls", "FATAL:  connection requires a valid client certificate", "pg.tls", "client certificate", "scram-sha-256"),
    ("tls", "server does not support SSL, but SSL was required", "pg.tls", "offers no TLS", "sslmode=disable"),
    # how the server is
    (
        "dns",
        'could not translate host name "h" to address: Name or service not known',
        "pg.unknown-host",
        "does not resolve",
        "getent hosts",
    ),
    ("up", "FATAL:  the database system is starting up", "pg.unreachable", "does not accept connections", "Wait until"),
    (
        "up",
        "FATAL:  the database system is not accepting connections\nDETAIL:  Hot standby mode is disabled.",
        "pg.unreachable",
        "does not accept",
        "hot_standby",
    ),
    ("slots", "FATAL:  sorry, too many clients already", "pg.unreachable", "no free connection", "pg_stat_activity"),
    (
        "slots",
        "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "pg.unreachable",
        "no free connection",
        "max_connections",
    ),
    (
        "net",
        'connection to server at "h", port 5 failed: Connection refused',
        "pg.unreachable",
        "nothing listens",
        "SHOW",
    ),
    ("net", "timeout expired", "pg.unreachable", "did not answer within 15 s", "firewall"),
]


@pytest.mark.parametrize(("number", "text", "code", "says", "hint"), CONNECT)
def test_f6_f7_a_refused_connection(number: str, text: str, code: str, says: str, hint: str) -> None:
    found = diagnose(text, Place.CONNECT, NEAR)
    assert (found.code, says in found.sentence, hint in (found.hint or "")) == (code, True, True), found
    assert diagnose(f'pg_dump: error: connection to server at "h" (::1), port 5 failed: {text}', Place.DUMP, NEAR).code


SOURCE = [
    (
        "F1",
        "pg_dump: error: aborting because of server version mismatch\n"
        "pg_dump: detail: server version: 18.1; pg_dump version: 15.18 (Debian 15.18-0+deb12u1)",
        "pg.version",
        "pg_dump 15.18 is older than the server (18.1)",
        "offsitedb postgres install 18",
    ),
    (
        "F4",
        "pg_dump: error: query failed: ERROR:  permission denied for schema auth",
        "pg.permission",
        "schema auth belongs to the provider",
        "GRANT USAGE ON SCHEMA auth TO reader;",
    ),
    (
        "F8",
        "ERROR:  canceling statement due to statement timeout",
        "pg.timeout",
        "statement timeout for the role reader",
        "ALTER ROLE reader SET statement_timeout = 0;",
    ),
    (
        "F8",
        "FATAL:  terminating connection due to idle-in-transaction timeout",
        "pg.timeout",
        "idle-in-transaction timeout",
        "ALTER ROLE reader SET idle_in_transaction_session_timeout = 0;",
    ),
    (
        "F8",
        "FATAL:  terminating connection due to transaction timeout",
        "pg.timeout",
        "transaction timeout",
        "ALTER ROLE reader SET transaction_timeout = 0;",
    ),
    (
        "F8",
        "FATAL:  terminating connection due to idle-session timeout",
        "pg.timeout",
        "idle-session timeout",
        "ALTER ROLE reader SET idle_session_timeout = 0;",
    ),
    (
        "F9",
        'pg_dump: error: Dumping the contents of table "t" failed: PQgetCopyData() failed.\n'
        "pg_dump: detail: Error message from server: SSL connection has been closed unexpectedly\n"
        "pg_dump: detail: Command was: COPY public.t (id) TO stdout;",
        "pg.dump-failed",
        "cut before the dump was whole",
        "up to three times",
    ),
    (
        "F25",
        "pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout\n"
        "pg_dump: detail: Query was: LOCK TABLE public.orders IN ACCESS SHARE MODE",
        "pg.lock-timeout",
        "lock could not be had",
        "relation = 'public.orders'::regclass",
    ),
    (
        "53100",
        'ERROR:  could not write to file "base/pgsql_tmp/pgsql_tmp7.0": No space left on device',
        "pg.resources",
        "server's own disk is full",
        "pg_replication_slots",
    ),
    (
        "53200",
        "ERROR:  out of memory\nDETAIL:  Failed on request of size 1073741823 in memory context",
        "pg.resources",
        "memory ran out",
        "work_mem",
    ),
    (
        "locks",
        "ERROR:  out of shared memory\nHINT:  You might need to increase max_locks_per_transaction.",
        "pg.resources",
        "lock table",
        "ALTER SYSTEM SET max_locks_per_transaction = 1024;",
    ),
    ("53300", "FATAL:  sorry, too many clients already", "pg.unreachable", "no free connection", "max_connections"),
    (
        "conflict",
        "ERROR:  canceling statement due to conflict with recovery\nDETAIL:  User query might have needed to see row"
        " versions that must be removed.",
        "pg.conflict",
        "the standby cancelled",
        "hot_standby_feedback = on",
    ),
    (
        "migration",
        "pg_dump: error: query failed: ERROR:  cache lookup failed for function 16402",
        "pg.dump-failed",
        "dropped or altered",
        "Run the checkpoint again",
    ),
    (
        "read-only",
        "ERROR:  cannot execute INSERT in a read-only transaction",
        "pg.query-failed",
        "wants to write",
        "a function that writes",
    ),
    (
        "superuser",
        "ERROR:  must be owner of table secret",
        "pg.permission",
        "more rights",
        "connection preflight NAME",
    ),
    (
        "fdw",
        "ERROR:  permission denied for foreign-data wrapper postgres_fdw",
        "pg.permission",
        "may not read foreign-data wrapper postgres_fdw",
        "GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO reader;",
    ),
    (
        "F3",
        'pg_dump: error: failed to get data for sequence "numbers"; user may lack SELECT privilege on the sequence or'
        " the object may have been concurrently dropped",
        "pg.permission",
        "may not read sequence numbers",
        "WHERE relname = 'numbers';",
    ),
    (
        "1 GB",
        "ERROR:  out of memory\nDETAIL:  Cannot enlarge string buffer containing 600000001 bytes by 600000000 more"
        " bytes.\npg_dump: detail: Command was: COPY public.t (a, b) TO stdout;",
        "pg.dump-failed",
        "a row of table public.t is larger than 1 GB",
        "FROM ONLY public.t r",
    ),
    ("F6", 'ERROR:  prepared statement "s1" already exists', "pg.pooler", "a pooler stands between", "5432"),
    ("snapshot", 'ERROR:  invalid snapshot identifier: "00-1"', "pg.snapshot-lost", "is gone", "direct address"),
]


@pytest.mark.parametrize(("number", "text", "code", "says", "hint"), SOURCE)
def test_f1_f4_f8_f9_f25_a_source_that_does_not_let_itself_be_read(
    number: str, text: str, code: str, says: str, hint: str
) -> None:
    for place in (Place.DUMP, Place.SESSION) if number not in ("F1", "F9") else (Place.DUMP,):
        found = diagnose(text, place, NEAR)
        if (number, place) == ("53300", Place.DUMP):
            continue
        assert (found.code, says in found.sentence, hint in (found.hint or "")) == (code, True, True), found


@pytest.mark.parametrize(
    "said",
    [
        "invalid page in block 0 of relation base/16384/16385",
        'could not read block 3 in file "base/16384/16385": read only 0 of 8192 bytes',
        "missing chunk number 0 for toast value 16390 in pg_toast_16385",
        "unexpected chunk number 3 (expected 0) for toast value 16390 in pg_toast_16385",
        "invalid memory alloc request size 18446744073709551613",
        "compressed pglz data is corrupt",
        "could not access status of transaction 3221225472",
    ],
)
def test_damage_at_the_source_names_the_table_and_the_sql_that_finds_it(said: str) -> None:
    text = (
        f'pg_dump: error: Dumping the contents of table "or ders" failed: PQgetResult() failed.\n'
        f"pg_dump: detail: Error message from server: ERROR:  {said}\n"
        'pg_dump: detail: Command was: COPY public."or ders" (id, note) TO stdout;'
    )
    found = diagnose(text, Place.DUMP, NEAR, point=said)
    assert found.code == "pg.damaged"
    assert "table public.or ders cannot be read whole" in found.sentence
    assert 'FROM ONLY public."or ders" r' in (found.hint or "")
    assert said in found.message


def test_f32_the_schema_comes_from_the_archive_and_the_sql_names_it() -> None:
    entries = (
        TocEntry(1, "FUNCTION", "app", "Total Of(integer)", "o", 'CREATE FUNCTION app."Total Of"(integer) RETURNS'),
        TocEntry(2, "TABLE", "ware house", "stock", "o", ""),
        TocEntry(3, "MATERIALIZED VIEW DATA", "app", "totals", "o", ""),
    )
    lines = [
        "pg_restore: from TOC entry 3; 0 1 MATERIALIZED VIEW DATA totals",
        'pg_restore: error: could not execute query: ERROR:  relation "stock" does not exist',
        "LINE 1: select sum(n) from stock",
        "QUERY:  select sum(n) from stock",
        'CONTEXT:  PL/pgSQL function app."Total Of"(integer) line 1 at RETURN',
    ]
    (failure,) = judge(read_mishaps(lines, entries), entries, 1).failures
    assert "a name without its schema (stock)" in failure.message
    assert 'ALTER FUNCTION app."Total Of"(integer) SET search_path = "ware house", pg_temp;' in failure.hint
    assert failure.message.endswith('(relation "stock" does not exist)')


def test_a_stranger_s_name_stays_a_name_in_sql() -> None:
    name = 'x"; DROP TABLE y; --\u202e'
    found = diagnose(f'role "{name}" does not exist', Place.RESTORE)
    assert 'CREATE ROLE U&"x""; DROP TABLE y; --\\+00202E" NOLOGIN;' in (found.hint or "")
    assert "\u202e" not in found.message + (found.hint or "")
    assert identifier("user") == '"user"'
    assert identifier("a\nb") == 'U&"a\\+00000Ab"'
    assert literal("it's") == "'it''s'"


@given(st.text(max_size=5_000), st.sampled_from(Place))
def test_f31_any_text_keeps_its_own_words(text: str, place: Place) -> None:
    found = diagnose(text, place, NEAR)
    assert found.words in found.message
    assert len(found.words) <= LONGEST_WORDS
    assert len(found.message) <= 2_000
    assert found.message.isprintable()
    assert found.words.rstrip("…") in plain(text, 100_000)


@given(st.text(max_size=200))
def test_f36_no_secret_in_any_diagnosis(before: str) -> None:
    with holding("Passw0rdPassw0rd"):
        for place in Place:
            text = f"{before} permission denied for table Passw0rdPassw0rd postgresql://u:hunter22@h/d"
            found = diagnose(text, place, NEAR)
            assert "Passw0rd" not in found.message
            assert "hunter22" not in found.message


def test_every_rule_has_a_code_and_says_what_comes_next() -> None:
    for rule in RULES:
        assert rule.code in CODES
        assert rule.hint is not None or len(CODES[rule.code][1]) > 20
    names = [(rule.name, place) for rule in RULES for place in rule.places]
    assert len(names) == len(set(names))
