"""The database that is measured: rows as an application has them, keys, indexes and foreign keys, about a gigabyte."""

from __future__ import annotations

import psycopg

TABLES = """
CREATE TABLE account (
    id bigint PRIMARY KEY, email text NOT NULL, name text NOT NULL, settings jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE event (
    id bigint NOT NULL, account bigint NOT NULL, kind text NOT NULL, body text NOT NULL, amount numeric(12, 2),
    at timestamptz NOT NULL
);
CREATE TABLE document (
    id uuid NOT NULL, account bigint NOT NULL, title text NOT NULL, content text NOT NULL
);
"""
KEYS = """
ALTER TABLE event ADD PRIMARY KEY (id);
CREATE INDEX event_account_at ON event (account, at);
CREATE INDEX event_kind ON event (kind);
ALTER TABLE event ADD FOREIGN KEY (account) REFERENCES account;
ALTER TABLE document ADD PRIMARY KEY (id);
CREATE INDEX document_account ON document (account);
ALTER TABLE document ADD FOREIGN KEY (account) REFERENCES account;
CREATE UNIQUE INDEX account_email ON account (email);
VACUUM ANALYZE;
"""
ACCOUNTS_PER_GB = 200_000
EVENTS_PER_GB = 4_400_000
DOCUMENTS_PER_GB = 300_000


def fill(url: str, gigabytes: float) -> int:
    """Make the tables with about ``gigabytes`` of heap; the size of the database on disk in bytes."""
    accounts = int(ACCOUNTS_PER_GB * gigabytes)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(TABLES)
        conn.execute("SELECT setseed(0.5)")
        conn.execute(
            "INSERT INTO account SELECT g, 'user' || g || '@example.org', md5(g::text),"
            " jsonb_build_object('plan', g %% 5, 'tags', md5((g * 7)::text)),"
            " timestamptz '2024-01-01' + g * interval '3 min'"
            " FROM generate_series(1, %s::bigint) g",
            [accounts],
        )
        conn.execute(
            "INSERT INTO event SELECT g, 1 + (g * 7919) %% %s, (ARRAY['view','click','buy','share'])[1 + g %% 4],"
            " md5(g::text) || ' ' || md5((g * 31)::text) || ' seen from ' || (g %% 251) || '.' || (g %% 241),"
            " (g %% 100000) / 100.0, timestamptz '2024-01-01' + g * interval '11 s'"
            " FROM generate_series(1, %s::bigint) g",
            [accounts, int(EVENTS_PER_GB * gigabytes)],
        )
        conn.execute(
            "INSERT INTO document SELECT gen_random_uuid(), 1 + (g * 104729) %% %s, 'Title ' || g,"
            " repeat(md5(g::text) || ' lorem ipsum dolor sit amet, consectetur ', 8)"
            " FROM generate_series(1, %s::bigint) g",
            [accounts, int(DOCUMENTS_PER_GB * gigabytes)],
        )
        for statement in KEYS.strip().splitlines():
            conn.execute(statement.encode())
        row = conn.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        return int(row[0])
