"""Why something of an archive does not restore: texts of pg_restore and of the server that it restores into.

Most are true of the source: whoever restores in earnest meets the same error, so the sentence says what is wrong there
and the next step mends it there. What the host lacks is in ``rules_host``.
"""

from __future__ import annotations

from engine.postgres.archived import (
    blamed_function,
    check_expression,
    foreign_key,
    function_signature,
    indexed,
    missing_name,
    schemas_of,
)
from engine.postgres.replayplan import tokens
from engine.postgres.rule import Case, Place, Rule, identifier, plain, qualified, rule
from engine.postgres.rules_host import HOST_RULES
from engine.postgres.rules_source import find_bad_text
from engine.postgres.rules_target import TARGET_RULES

_HERE = (Place.RESTORE, Place.TARGET)
_MISSING = (
    r"(?:function|relation|type|operator|schema|table|view|sequence|text search \w+|collation) [^\n]* does not exist"
    r"|does not exist: "
)
_ROWS = ("TABLE DATA",)
UNKNOWN_CAUSE = "Restoring by hand will show the same error. Mend the object at the source, then take a new checkpoint."
AGAIN = "then take a new checkpoint"


# names without their schema (F32)


def _bare_name(case: Case) -> str:
    function = blamed_function(case.text, case.near.entries)
    named = missing_name(case.text)
    what = f" ({plain(named, 100)})" if named else ""
    return (
        f"the function {plain(function or '?', 200)} uses a name without its schema{what}, and a restore runs with an"
        " empty search_path"
    )


def _search_path(case: Case) -> str:
    function = function_signature(case.text, case.near.entries)
    schemas = schemas_of(missing_name(case.text), case.near.entries)
    path = ", ".join([*(identifier(s) for s in schemas or ("public",)), "pg_temp"])
    unsure = "" if schemas else " Name the schemas that it uses in place of public, if they are others."
    return (
        f"Run at the source: `ALTER FUNCTION {function} SET search_path = {path};`, {AGAIN}.{unsure} Or write the"
        " schema before each name inside the function."
    )


# constraints


def _check(case: Case) -> str:
    return (
        f"rows of {case.table_text} do not meet the CHECK {plain(case.name('constraint', '?'), 200)} when they are"
        " loaded: it gives another answer during a restore, or was broken before it was added"
    )


def _check_hint(case: Case) -> str:
    name = case.name("constraint", "CONSTRAINT")
    expression = check_expression(case.near, name)
    told = expression or "EXPRESSION"
    find = f"SELECT ctid, * FROM {case.table_sql} WHERE NOT ({told});"
    return (
        "A CHECK that reads another table, the time or a setting belongs into a foreign key or a trigger; pg_restore"
        f" loads rows before it could hold. See at the source which rows fail it now: `{find}` If none do, let a"
        " restore add it after the rows:\n"
        f"ALTER TABLE {case.table_sql} DROP CONSTRAINT {identifier(name)}, ADD CONSTRAINT {identifier(name)} CHECK"
        f" ({told}) NOT VALID;"
    )


def _domain_hint(case: Case) -> str:
    *schema, domain = tokens(case.name("domain")) or ("DOMAIN",)  # the server writes it as SQL
    name = case.name("constraint")
    where = schema or schemas_of(domain, case.near.entries, kinds=frozenset({"DOMAIN"}))
    told = qualified(where[0], domain) if len(where) == 1 else identifier(domain)
    return (
        f"Mend the rows at the source, or drop the constraint there: `ALTER DOMAIN {told} DROP CONSTRAINT"
        f" {identifier(name)};`, {AGAIN}. Where it calls a function that reads tables, a trigger does the same and"
        " restores."
    )


def _duplicates(case: Case) -> str:
    table, columns, index = indexed(case.near, case.name("index") or case.name("other"))
    find = (
        f"SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;\n"
        f"SELECT {columns}, count(*), array_agg(ctid) FROM {table} GROUP BY {columns} HAVING count(*) > 1;"
    )
    return (
        f"Find them at the source, past the index that hides them:\n{find}\n"
        f"Remove what is double, then:\nREINDEX INDEX {index};\n"
        "Typical after the C library's collations changed under the server (an upgrade of the operating system). See"
        " whether others are hit:\n"
        "SELECT collname, collversion, pg_collation_actual_version(oid) FROM pg_collation WHERE collversion <>"
        " pg_collation_actual_version(oid);\n"
        "CREATE EXTENSION IF NOT EXISTS amcheck; SELECT c.oid::regclass, bt_index_check(c.oid, true) FROM pg_class c"
        " JOIN pg_am a ON a.oid = c.relam WHERE c.relkind = 'i' AND a.amname = 'btree';"
    )


def _orphans(case: Case) -> str:
    key = foreign_key(case.near, case.name("constraint"))
    if key is None:
        return f"Find the rows without their parents at the source and mend them, {AGAIN}."
    child, parent, pairs = key
    there = " AND ".join(f"c.{mine} IS NOT NULL" for mine, _ in pairs)
    same = " AND ".join(f"p.{theirs} = c.{mine}" for mine, theirs in pairs)
    return (
        "Its triggers were disabled once, or the constraint was never validated. Find the rows at the source:\n"
        f"SELECT c.ctid, c.* FROM {child} c WHERE {there} AND NOT EXISTS (SELECT FROM {parent} p WHERE {same});\n"
        f"Mend them, then check:\nALTER TABLE {child} VALIDATE CONSTRAINT {identifier(case.name('constraint'))};"
    )


def _nulls(case: Case) -> str:
    column = identifier(case.name("column"))
    # IS NULL would be answered from the definition, which does not hold
    find = f"SELECT ctid, * FROM {case.table_sql} WHERE num_nulls({column}) > 0;"
    return f"Find them at the source: `{find}`; mend them, {AGAIN}."


_ARCHIVE: tuple[Rule, ...] = (
    rule(
        "cut-archive",
        _HERE,
        r"could not (?:read from input file|uncompress data)|input file (?:does not appear|appears to be|is too)"
        r"|unsupported version \(|unexpected end of file|found unexpected block ID",
        "drill.restore",
        "the archive is cut or damaged inside",
        "Take a new checkpoint now; this snapshot does not restore whole.",
    ),
    rule(
        "overrun",
        _HERE,
        r"canceling statement due to|terminating connection due to",
        "drill.restore",
        "a single statement ran longer than a drill lets it",
        "A single statement ran longer than its limit. Raise drill.statement_timeout_s in config.toml if it may.",
    ),
    rule(
        "recursion",
        _HERE,
        r"stack depth limit exceeded",
        "drill.restore",
        "code of the database calls itself until the server's stack is full",
        lambda case: (
            f"Look at {plain(blamed_function(case.text, case.near.entries) or 'the function', 200)} at the source:"
            " it has no end, or finds another function of its name under a restore's empty search_path. Mend it,"
            f" {AGAIN}."
        ),
    ),
    rule(
        "bare-name",
        _HERE,
        rf"(?:{_MISSING}).*(?:SQL function \"|PL/pgSQL function )",
        "drill.restore",
        _bare_name,
        _search_path,
    ),
    rule(
        "setting",
        _HERE,
        r"unrecognized configuration parameter \"(?P<name>[^\n\"]+)\"",
        "drill.restore",
        "code of the database reads the setting {name}, which a restore does not have",
        "Let it do without at the source: `current_setting('{name_text}', true)` gives NULL where there is none;"
        f" {AGAIN}.",
    ),
    rule(
        "generated",
        _HERE,
        r"generation expression is not immutable|functions in (?:index expression|index predicate) must be marked"
        r" IMMUTABLE",
        "drill.restore",
        "a generated column or an index uses a function that is not IMMUTABLE any more",
        f"Look at the definition at the source and mark the function, if it really is: `ALTER FUNCTION … IMMUTABLE;`;"
        f" {AGAIN}.",
    ),
    rule(
        "domain",
        _HERE,
        r"value for domain (?P<domain>[^\n]*) violates check constraint \"(?P<constraint>[^\n]*)\"",
        "drill.restore",
        "values do not meet the CHECK {constraint} of their domain {domain} any more",
        _domain_hint,
    ),
    rule(
        "check",
        _HERE,
        r"violates check constraint \"(?P<constraint>[^\n]*)\"",
        "drill.restore",
        _check,
        _check_hint,
    ),
    rule(
        "double",
        _HERE,
        r"could not create unique index \"(?P<index>[^\n]*)\"|duplicate key value violates unique constraint"
        r" \"(?P<other>[^\n]*)\"",
        "drill.restore",
        lambda case: (
            f"{case.table_text} holds values twice that its own unique index forbids: that index is damaged at the"
            " source"
        ),
        _duplicates,
    ),
    rule(
        "orphans",
        _HERE,
        r"violates foreign key constraint \"(?P<constraint>[^\n]*)\"",
        "drill.restore",
        "{table_name} holds rows without their parents, which its foreign key forbids",
        _orphans,
    ),
    rule(
        "nulls",
        _HERE,
        r"column \"(?P<column>[^\n]*?)\" of relation \"[^\n]*\" (?:contains null values|violates not-null)",
        "drill.restore",
        "{table_name} holds NULL where its definition forbids it",
        _nulls,
    ),
    rule(
        "partition",
        _HERE,
        r"no partition of relation|partition constraint of relation|violates partition constraint|updated partition"
        r" constraint",
        "drill.restore",
        "rows of {table_name} do not fall into the partition that they lie in: its key's order or hash has changed",
        f"Detach and attach the partition anew at the source, which checks it: `ALTER TABLE … DETACH PARTITION …;"
        f" ALTER TABLE … ATTACH PARTITION …;`, {AGAIN}.",
    ),
    rule(
        "exclusion",
        _HERE,
        r"violates exclusion constraint|could not create exclusion constraint",
        "drill.restore",
        "{table_name} holds rows that exclude each other: the index of that constraint is damaged at the source",
        f"Rebuild it there to see them: `REINDEX TABLE {{table_sql}};`; mend the rows, {AGAIN}.",
    ),
    rule(
        "encoding",
        _HERE,
        r"invalid byte sequence for encoding \"(?P<encoding>[^\"\n]+)\"|has no equivalent in encoding",
        "drill.restore",
        "{table_name} holds text that is not valid in the database's encoding; no server takes it back",
        lambda case: f"Find the rows at the source and mend them, {AGAIN}:\n{find_bad_text(case.table_sql)}",
    ),
    rule(
        "value",
        _HERE,
        r"invalid input (?:syntax|value) for (?:type|enum)|value too long for type|numeric field overflow"
        r"|(?:value|date|timestamp)[^\n]{0,60} out of range",
        "drill.restore",
        "{table_name} holds a value that its own type does not take: the type was changed after it was written",
        f"See it at the source in the column that the message names; mend the rows, {AGAIN}.",
        kinds=_ROWS,
    ),
    rule(
        "role",
        _HERE,
        r"role \"(?P<name>[^\n]*)\" does not exist",
        "drill.restore",
        "the role {name}, which owners, grants or policies name, does not exist where it was restored",
        "Make it before the restore: `CREATE ROLE {name} NOLOGIN;`.",
    ),
    rule(
        "schema-there",
        _HERE,
        r"schema \"(?P<name>[^\n]*)\" already exists",
        "drill.restore",
        "the schema {name} was there before the restore",
        "Restore into a database that is empty but for it: `CREATE DATABASE copy TEMPLATE template0;`; with public"
        " alone the message is harmless, `DROP SCHEMA public;` beforehand avoids it.",
    ),
    rule(
        "there",
        _HERE,
        r"already exists|multiple primary keys",
        "drill.restore",
        "something of that name was there before: the archive holds it twice, or the database was not empty",
        "Restore into a new database: `CREATE DATABASE copy TEMPLATE template0;`.",
    ),
    rule(
        "language",
        _HERE,
        r"language \"(?P<name>[^\n]*)\" does not exist",
        "drill.restore",
        "the language {name} is not there: neither the archive nor the server brings it",
        "Install it as an extension at the source, so that it is captured: `CREATE EXTENSION {name};`, then take a new"
        " checkpoint.",
    ),
    rule(
        "tablespace",
        _HERE,
        r"tablespace \"(?P<name>[^\n]*)\" does not exist",
        "drill.restore",
        "the tablespace {name} does not exist where it was restored",
        "Restore with `--no-tablespaces`, or make it first: `CREATE TABLESPACE {name} LOCATION '/path';`.",
    ),
    rule(
        "missing",
        _HERE,
        _MISSING,
        "drill.restore",
        "it needs something that the archive does not hold",
        "The archive does not hold it: the backup role may not see its schema, or it belongs to an extension that the"
        " server lacks. `offsitedb connection preflight NAME` names what is not captured, with the SQL.",
    ),
    rule(
        "rights",
        _HERE,
        r"must be superuser|only (?:superusers?|roles with)|permission denied|must be owner of|must have privileges"
        r"|must be (?:a )?member of|must be able to SET ROLE|non-superuser|must be a superuser"
        r"|cannot be executed from a function|access to library \"[^\n]*is not allowed",
        "drill.restore",
        "it wants rights that the restoring role does not have",
        "Code of this database wants superuser rights while it is restored, and a drill never gives them. Read the"
        " object's definition at the source before you restore it as superuser.",
    ),
    rule(
        "code-in-copy",
        _HERE,
        r"(?:SQL function \"|PL/pgSQL function ).*COPY|COPY.*(?:SQL function \"|PL/pgSQL function )",
        "drill.restore",
        "code of the database that runs for every row failed while {table_name} was loaded",
        lambda case: (
            "This CHECK or generated column gives another answer during a restore, most often because it reads another"
            f" table that is loaded later. Replace {plain(blamed_function(case.text, case.near.entries) or 'it', 200)}"
            f" by a foreign key or a trigger at the source, {AGAIN}."
        ),
        kinds=_ROWS,
    ),
    rule(
        "code",
        _HERE,
        r"SQL function \"|PL/pgSQL function ",
        "drill.restore",
        "code of the database failed while it was restored",
        lambda case: (
            f"Look at {plain(blamed_function(case.text, case.near.entries) or 'the function', 200)} at the source: it"
            f" must not depend on what a restore brings later. Mend it, {AGAIN}."
        ),
    ),
)

RESTORE_RULES = (*TARGET_RULES, *HOST_RULES, *_ARCHIVE)
