"""The SQL that inventories a source, as text. Catalog only, read-only, PostgreSQL 14 to 18, run as the backup role.

Every statement is written for ``search_path=''``: names of casts to ``regclass`` come back qualified. The numbers in
the headings (P1 … P5) are those of docs/ARCHITECTURE.md. No parameter is ever put into the text.
"""

from __future__ import annotations

_RELATIONS = """
WITH RECURSIVE rel AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relispartition, c.relrowsecurity,
         pg_get_userbyid(c.relowner) AS owner,
         has_schema_privilege(n.oid, 'USAGE') AS schema_ok,
         has_table_privilege(c.oid, 'SELECT') AS select_ok,
         EXISTS (SELECT 1 FROM pg_depend d
                 WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') AS member,
         x.oid IS NOT NULL AS config,
         nullif(x.extcondition[array_position(x.extconfig, c.oid)], '') AS condition,
         -- the sequence of an identity column goes with its table (a serial's own sequence does not)
         c.relkind = 'S' AND EXISTS (
           SELECT 1 FROM pg_depend d
           JOIN pg_class t ON t.oid = d.refobjid
           JOIN pg_namespace tn ON tn.oid = t.relnamespace
           WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
             AND d.deptype = 'i'
             AND NOT (has_schema_privilege(tn.oid, 'USAGE') AND has_table_privilege(t.oid, 'SELECT'))) AS goes
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_extension x ON c.oid = ANY (x.extconfig)
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'
    AND c.relkind IN ('r', 'p', 'S')
)"""
"""What pg_dump would consider: no system and no temporary relations.

``has_table_privilege`` is asked of sequences too: ``has_sequence_privilege`` fails on anything that is none, in
whatever order the planner evaluates the conditions.
"""


def _over_relations(rest: str) -> str:
    return _RELATIONS + rest


BLOCKERS = _over_relations("""
-- tables and partition roots: pg_dump locks them, which takes USAGE and table-level SELECT (column grants do not count)
SELECT 'table_unreadable' AS code, nspname::text, relname::text, relkind::text,
       CASE WHEN NOT schema_ok THEN 'no USAGE on schema'
            WHEN has_any_column_privilege(oid, 'SELECT') THEN 'only column-level SELECT'
            ELSE 'no SELECT on table' END AS why,
       '--exclude-table' AS flag, owner::text
FROM rel WHERE relkind IN ('r', 'p') AND NOT member AND NOT (schema_ok AND select_ok)
UNION ALL
-- sequences: only the value needs SELECT, the definition does not
SELECT 'sequence_value_unreadable', nspname::text, relname::text, 'S',
       CASE WHEN NOT schema_ok THEN 'no USAGE on schema' ELSE 'no SELECT on sequence' END,
       '--exclude-table-data', owner::text
FROM rel WHERE relkind = 'S' AND NOT goes AND (NOT member OR config) AND NOT (schema_ok AND select_ok)
UNION ALL
-- row level security in force for this role: pg_dump runs with row_security = off and fails. Leaves only: pg_dump
-- copies leaves, and a root's policies never apply there
SELECT 'rls_blocks_copy', nspname::text, relname::text, relkind::text,
       'row security is active for this role', '--exclude-table-data', owner::text
FROM rel WHERE relkind = 'r' AND (NOT member OR config) AND schema_ok AND select_ok AND row_security_active(oid)
UNION ALL
-- configuration tables of extensions: not locked, but copied
SELECT 'extconfig_unreadable', nspname::text, relname::text, relkind::text,
       'extension configuration table not readable', '--exclude-table-data', owner::text
FROM rel WHERE config AND relkind = 'r' AND NOT (schema_ok AND select_ok)
UNION ALL
SELECT 'unlogged_on_standby', nspname::text, relname::text, relkind::text,
       'the server is a standby, where unlogged tables are empty', '--no-unlogged-table-data', owner::text
FROM rel WHERE relpersistence = 'u' AND relkind IN ('r', 'S') AND (NOT member OR config) AND schema_ok AND select_ok
  AND pg_is_in_recovery()
UNION ALL
-- one line per owner, not per object: applications make and remove large objects all the time
SELECT DISTINCT 'large_object_unreadable', NULL, 'large objects of ' || pg_get_userbyid(m.lomowner), 'L',
       'no SELECT on large object', '--no-large-objects', pg_get_userbyid(m.lomowner)::text
FROM pg_largeobject_metadata m
WHERE current_setting('lo_compat_privileges') = 'off'
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND NOT pg_has_role(m.lomowner, 'USAGE')
  AND NOT EXISTS (SELECT 1 FROM aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) a
                  WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
ORDER BY 1, 2, 3
""")
"""P1: what pg_dump cannot read, and the flag that keeps it from failing there."""

TABLES = _over_relations(""",
-- hash partitions on an enum: the hash is that of the value's OID, which differs after a restore
unstable AS (
  SELECT p.partrelid FROM pg_partitioned_table p
  WHERE p.partstrat = 'h' AND EXISTS (
    SELECT 1 FROM unnest(p.partclass::oid[]) k JOIN pg_opclass o ON o.oid = k
    WHERE o.opcintype = 'pg_catalog.anyenum'::regtype)
),
under AS (
  SELECT h.inhrelid AS leaf, h.inhparent AS above, 1 AS depth
  FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
  WHERE c.relispartition AND EXISTS (SELECT 1 FROM unstable)
  UNION ALL
  SELECT u.leaf, h.inhparent, u.depth + 1 FROM under u JOIN pg_inherits h ON h.inhrelid = u.above
),
grouped AS (
  SELECT DISTINCT ON (u.leaf) u.leaf, n.nspname, c.relname
  FROM under u JOIN unstable t ON t.partrelid = u.above
  JOIN pg_class c ON c.oid = u.above JOIN pg_namespace n ON n.oid = c.relnamespace
  ORDER BY u.leaf, u.depth DESC
)
SELECT rel.nspname::text, rel.relname::text, rel.relkind::text, rel.relpersistence::text, rel.condition,
       g.nspname::text, g.relname::text,
       rel.relkind = 'r' AND rel.schema_ok AND rel.select_ok AND NOT row_security_active(rel.oid)
         AND NOT (rel.relpersistence = 'u' AND pg_is_in_recovery()) AS rows_captured,
       rel.schema_ok AND rel.select_ok AND NOT rel.goes
         AND NOT (rel.relkind = 'S' AND rel.relpersistence = 'u' AND pg_is_in_recovery()) AS readable
FROM rel LEFT JOIN grouped g ON g.leaf = rel.oid
WHERE NOT rel.member OR rel.config
ORDER BY 1, 2
""")
"""P5: every table, partition root and sequence, what of it is captured, and the group that its rows count into."""

DEPENDANTS = _over_relations(""",
excl AS (
  SELECT oid FROM rel WHERE relkind IN ('r', 'p') AND NOT member AND NOT (schema_ok AND select_ok)
),
dep (classid, objid) AS (  -- ends by itself: UNION follows no object twice
  SELECT 'pg_class'::regclass::oid, oid FROM excl
  UNION
  SELECT x.classid, x.objid FROM dep CROSS JOIN LATERAL (
    -- rule -> its view; column default -> its table; CHECK constraint -> its table; typed column -> its table
    SELECT CASE WHEN rw.oid IS NOT NULL OR ad.oid IS NOT NULL OR ck.oid IS NOT NULL
                THEN 'pg_class'::regclass::oid ELSE d.classid END AS classid,
           coalesce(rw.ev_class, ad.adrelid, ck.conrelid, d.objid) AS objid
    FROM pg_depend d
    LEFT JOIN pg_rewrite rw ON d.classid = 'pg_rewrite'::regclass AND rw.oid = d.objid
    LEFT JOIN pg_attrdef ad ON d.classid = 'pg_attrdef'::regclass AND ad.oid = d.objid
    LEFT JOIN pg_constraint ck ON d.classid = 'pg_constraint'::regclass AND ck.oid = d.objid
              AND ck.contype = 'c' AND ck.conrelid <> 0
    WHERE d.refclassid = dep.classid AND d.refobjid = dep.objid AND d.deptype IN ('n', 'a', 'i', 'P', 'S')
      -- owned sequences keep their own definition; indexes and toast tables go with their table; attached partitions
      -- restore as plain tables (listed apart)
      AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (
        SELECT 1 FROM pg_class s WHERE s.oid = d.objid AND (s.relkind IN ('S', 'i', 'I', 't') OR (s.relispartition
          AND EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhrelid = s.oid AND h.inhparent = dep.objid)))))
      -- rules on tables: listed apart
      AND NOT (rw.oid IS NOT NULL AND (SELECT relkind FROM pg_class WHERE oid = rw.ev_class) NOT IN ('v', 'm'))
  ) x
),
-- tables whose definition is captured and whose rows are not, and the roots above them
bare (oid) AS (
  SELECT oid FROM rel
  WHERE relkind = 'r' AND NOT member AND schema_ok AND select_ok
    AND (row_security_active(oid) OR (relpersistence = 'u' AND pg_is_in_recovery()))
  UNION
  SELECT h.inhparent FROM bare JOIN pg_inherits h ON h.inhrelid = bare.oid
    JOIN pg_class c ON c.oid = bare.oid AND c.relispartition
),
found AS (
  SELECT DISTINCT dep.classid, dep.objid FROM dep
  WHERE NOT (dep.classid = 'pg_class'::regclass AND dep.objid IN (SELECT oid FROM excl))
    -- what lives on an excluded table goes with it and is no error
    AND NOT (dep.classid = 'pg_constraint'::regclass AND EXISTS (
      SELECT 1 FROM pg_constraint k WHERE k.oid = dep.objid AND k.conrelid IN (SELECT oid FROM excl)))
    AND NOT (dep.classid = 'pg_policy'::regclass AND EXISTS (
      SELECT 1 FROM pg_policy k WHERE k.oid = dep.objid AND k.polrelid IN (SELECT oid FROM excl)))
    AND NOT (dep.classid = 'pg_trigger'::regclass AND EXISTS (
      SELECT 1 FROM pg_trigger k WHERE k.oid = dep.objid AND (k.tgisinternal OR k.tgrelid IN (SELECT oid FROM excl))))
  UNION
  -- foreign keys into tables whose rows are missing: the referencing rows come back, the constraint cannot
  SELECT 'pg_constraint'::regclass::oid, k.oid FROM pg_constraint k
  WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid IN (SELECT oid FROM bare)
    AND k.conrelid NOT IN (SELECT oid FROM excl) AND k.conrelid NOT IN (SELECT oid FROM bare)
)
SELECT i.type, coalesce(i.schema, home.nspname::text) AS schema,
       coalesce(i.name, k.conname, p.polname, t.tgname)::text AS name, i.identity, home.oid::regclass::text AS on_table
FROM found f
CROSS JOIN LATERAL pg_identify_object(f.classid, f.objid, 0) i
LEFT JOIN pg_constraint k ON f.classid = 'pg_constraint'::regclass AND k.oid = f.objid
LEFT JOIN pg_policy p ON f.classid = 'pg_policy'::regclass AND p.oid = f.objid
LEFT JOIN pg_trigger t ON f.classid = 'pg_trigger'::regclass AND t.oid = f.objid
LEFT JOIN (SELECT c.oid, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace) home
  ON home.oid = coalesce(nullif(k.conrelid, 0), p.polrelid, t.tgrelid)
WHERE i.type NOT IN ('type', 'composite type', 'toast table', 'index')
UNION
-- partitions whose parent is excluded: table and rows restore, only ATTACH PARTITION fails
SELECT 'partition attach', n.nspname::text, c.relname::text,
       h.inhrelid::regclass::text || ' -> ' || h.inhparent::regclass::text, h.inhrelid::regclass::text
FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f')
  AND h.inhparent IN (SELECT oid FROM excl) AND h.inhrelid NOT IN (SELECT oid FROM excl)
UNION
-- rules on restorable tables that touch something excluded
SELECT 'rule', n.nspname::text, r.rulename::text, r.rulename || ' on ' || c.oid::regclass::text, c.oid::regclass::text
FROM pg_depend d
JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
JOIN pg_class c ON c.oid = r.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN dep ON dep.classid = d.refclassid AND dep.objid = d.refobjid
WHERE c.relkind NOT IN ('v', 'm') AND d.deptype = 'n' AND c.oid NOT IN (SELECT oid FROM excl)
UNION
-- publications that list something that will not be there (the publication itself restores)
SELECT 'publication relation', n.nspname::text, c.relname::text, p.pubname || ' / ' || c.oid::regclass::text,
       c.oid::regclass::text
FROM pg_publication_rel pr
JOIN pg_publication p ON p.oid = pr.prpubid
JOIN pg_class c ON c.oid = pr.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE pr.prrelid IN (SELECT objid FROM dep WHERE classid = 'pg_class'::regclass)
  AND pr.prrelid NOT IN (SELECT oid FROM excl)
ORDER BY 1, 2, 3, 4
""")
"""P2: what is in the archive and cannot restore because of what is not."""

NEEDS = """
SELECT 'extension' AS code, extname::text, extversion, n.nspname::text
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname <> 'plpgsql'
UNION ALL
SELECT 'c_library', probin, NULL, NULL
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE l.lanname = 'c' AND p.oid >= 16384 AND NOT EXISTS (
  SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
GROUP BY 2
UNION ALL
SELECT 'event_trigger', evtname::text, NULL, NULL FROM pg_event_trigger t WHERE NOT EXISTS (
  SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT 'publication', pubname::text, NULL, NULL FROM pg_publication
UNION ALL
SELECT 'seclabel', provider, NULL, NULL FROM pg_seclabel GROUP BY 2
UNION ALL
SELECT 'tablespace', spcname::text, NULL, NULL
FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE spcname !~ '^pg_' GROUP BY 2
UNION ALL
SELECT 'foreign_server', srvname::text, NULL, NULL FROM pg_foreign_server
UNION ALL
-- collations of the users' own, and those that initdb took from the operating system and that something uses
SELECT 'collation', c.collname::text,
       CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END
         || ' ' || coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale',
                            to_jsonb(c) ->> 'collcollate', ''),
       n.nspname::text
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE c.collprovider <> 'd'
  AND NOT EXISTS (
    SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_collation'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  AND (c.oid >= 16384 OR EXISTS (
    SELECT 1 FROM pg_depend d WHERE d.refclassid = 'pg_collation'::regclass AND d.refobjid = c.oid))
UNION ALL
SELECT 'role', r.rolname::text, string_agg(DISTINCT why, ', ' ORDER BY why), NULL FROM (
  SELECT unnest(polroles) AS oid, 'policy' AS why FROM pg_policy
  UNION ALL SELECT umuser, 'user mapping' FROM pg_user_mappings
  UNION ALL SELECT refobjid, CASE deptype WHEN 'o' THEN 'owner' WHEN 'a' THEN 'grant' ELSE 'policy' END
    FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND deptype IN ('o', 'a', 'r')
      AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
) x JOIN pg_roles r ON r.oid = x.oid GROUP BY 2
ORDER BY 1, 2, 3, 4
"""
"""P3: what a scratch cluster needs before the archive can be replayed. Columns: code, name, detail, schema."""

NEVER_CAPTURED = """
SELECT 'extension_table_rows' AS code, c.oid::regclass::text AS name, e.extname::text AS detail
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND NOT EXISTS (
  SELECT 1 FROM pg_extension x WHERE c.oid = ANY (x.extconfig))
UNION ALL
SELECT 'extension_condition', c.oid::regclass::text, x.extcondition[array_position(x.extconfig, c.oid)]
FROM pg_extension x JOIN pg_class c ON c.oid = ANY (x.extconfig)
WHERE c.relkind IN ('r', 'p') AND x.extcondition[array_position(x.extconfig, c.oid)] <> ''
UNION ALL
SELECT 'foreign_table_rows', ftrelid::regclass::text, srvname::text
FROM pg_foreign_table t JOIN pg_foreign_server s ON s.oid = t.ftserver
UNION ALL
SELECT 'subscription', subname::text, NULL FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
UNION ALL
SELECT 'user_mapping_options', m.usename || ' on ' || m.srvname, NULL FROM pg_user_mappings m
WHERE m.umoptions IS NULL AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
UNION ALL
SELECT 'database_settings', coalesce((SELECT rolname::text FROM pg_roles WHERE oid = setrole), ''),
       array_to_string(setconfig, '; ')
FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1, 2, 3
"""
"""P4: what pg_dump leaves out without a word."""

OBJECTS = """
SELECT kind, count(*) FROM (
  SELECT CASE c.relkind WHEN 'r' THEN 'tables' WHEN 'p' THEN 'partitioned tables' WHEN 'v' THEN 'views'
              WHEN 'm' THEN 'materialized views' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'foreign tables'
              WHEN 'i' THEN 'indexes' WHEN 'I' THEN 'indexes' WHEN 'c' THEN 'types' END AS kind,
         'pg_class'::regclass AS classid, c.oid, c.relnamespace AS ns
  FROM pg_class c WHERE c.relpersistence <> 't' AND c.relkind <> 't'
  UNION ALL SELECT 'functions', 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
  UNION ALL SELECT 'types', 'pg_type'::regclass, oid, typnamespace FROM pg_type WHERE typtype IN ('e', 'd', 'r')
  UNION ALL SELECT 'constraints', 'pg_constraint'::regclass, oid, connamespace FROM pg_constraint WHERE contype <> 't'
  UNION ALL SELECT 'triggers', 'pg_trigger'::regclass, t.oid, c.relnamespace
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
  UNION ALL SELECT 'policies', 'pg_policy'::regclass, p.oid, c.relnamespace
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
  UNION ALL SELECT 'schemas', 'pg_namespace'::regclass, oid, oid FROM pg_namespace
) o JOIN pg_namespace n ON n.oid = o.ns
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
  SELECT 1 FROM pg_depend d WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype = 'e')
GROUP BY 1
UNION ALL
SELECT 'extensions', count(*) FROM pg_extension WHERE extname <> 'plpgsql' HAVING count(*) > 0
UNION ALL
SELECT 'large objects', count(*) FROM pg_largeobject_metadata HAVING count(*) > 0
ORDER BY 1
"""
"""How many of each kind there are, extension members left out."""
