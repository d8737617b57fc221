"""The SQL that lists what a database consists of, as text. Catalog only, read-only, PostgreSQL 14 to 18.

Every query gives (kind, name, part, facts, captured): ``part`` is a column's name where the object is one, and
``captured`` whether a dump by the current role holds the object. Written for ``search_path=''``, in which every name in
``facts`` comes back qualified. Nothing here depends on owners, OIDs, the order of columns, tablespaces or table access
methods, because a restored copy has its own; members of extensions and what stands on them are left out.
"""

from __future__ import annotations

_HERE = """
WITH ns AS MATERIALIZED (
  SELECT oid, quote_ident(nspname) AS q FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
),
member AS MATERIALIZED (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
rel AS MATERIALIZED (
  SELECT c.oid, c.relkind, c.relname, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.relispopulated,
         c.relispartition, c.relpartbound, c.reloptions, ns.q || '.' || quote_ident(c.relname) AS name,
         c.relkind NOT IN ('r', 'p') OR (has_schema_privilege(ns.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
           AS captured
  FROM pg_class c JOIN ns ON ns.oid = c.relnamespace
  WHERE c.relpersistence <> 't' AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
    AND NOT EXISTS (SELECT FROM member WHERE classid = 'pg_class'::regclass AND objid = c.oid)
)"""


def _of(rest: str) -> str:
    return _HERE + rest


_RELATIONS = _of("""
SELECT CASE relkind WHEN 'f' THEN 'foreign table' ELSE 'table' END, name, '',
       concat_ws(', ', CASE relpersistence WHEN 'u' THEN 'unlogged' END,
                 'partitioned by ' || CASE relkind WHEN 'p' THEN pg_get_partkeydef(oid) END,
                 'server ' || (SELECT quote_ident(s.srvname) FROM pg_foreign_table ft
                               JOIN pg_foreign_server s ON s.oid = ft.ftserver WHERE ft.ftrelid = rel.oid),
                 CASE WHEN relrowsecurity THEN 'row security' END, CASE WHEN relforcerowsecurity THEN 'forced' END),
       captured
FROM rel WHERE relkind IN ('r', 'p', 'f')
UNION ALL
SELECT CASE relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, name, '',
       concat_ws(' ', CASE WHEN relkind = 'm' AND NOT relispopulated THEN 'not populated' END,
                 (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(reloptions) o WHERE relkind = 'v'),
                 pg_get_viewdef(oid)), true
FROM rel WHERE relkind IN ('v', 'm')
""")

_PARENTS = _of("""
SELECT CASE WHEN c.relispartition THEN 'partition' ELSE 'inheritance' END, c.name, '',
       string_agg('of ' || p.name || coalesce(' ' || pg_get_expr(c.relpartbound, c.oid), ''), ', ' ORDER BY h.inhseqno),
       bool_and(c.captured AND p.captured)
FROM pg_inherits h JOIN rel c ON c.oid = h.inhrelid JOIN rel p ON p.oid = h.inhparent
WHERE c.relkind IN ('r', 'p', 'f') GROUP BY 1, 2
""")

_COLUMNS = _of("""
SELECT 'column', rel.name, quote_ident(a.attname),
       concat_ws(' ', format_type(a.atttypid, a.atttypmod),
         CASE WHEN a.attcollation <> t.typcollation THEN 'COLLATE ' || (
           SELECT quote_ident(n.nspname) || '.' || quote_ident(k.collname) FROM pg_collation k
           JOIN pg_namespace n ON n.oid = k.collnamespace WHERE k.oid = a.attcollation) END,
         CASE WHEN a.attnotnull THEN 'NOT NULL' END,
         CASE a.attidentity WHEN 'a' THEN 'IDENTITY ALWAYS' WHEN 'd' THEN 'IDENTITY' END,
         CASE a.attgenerated WHEN 's' THEN 'GENERATED' WHEN '' THEN CASE WHEN d.oid IS NOT NULL THEN 'DEFAULT' END
              ELSE 'VIRTUAL' END,
         pg_get_expr(d.adbin, d.adrelid)),
       rel.captured
FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE rel.relkind <> 'S' ORDER BY rel.name, a.attname
""")

_ON_TABLES = _of("""
SELECT 'index', quote_ident(c.relname) || ' ON ' || rel.name, '',
       -- an index over partitions becomes valid by chance when several sessions restore; what it is made of is fixed
       concat_ws(' ', pg_get_indexdef(c.oid), CASE WHEN NOT i.indisvalid AND rel.relkind <> 'p' THEN 'INVALID' END, (
         SELECT 'PARTITION OF ' || quote_ident(w.relname) || ' ON ' || whole.name
         FROM pg_inherits h JOIN pg_index wi ON wi.indexrelid = h.inhparent JOIN pg_class w ON w.oid = h.inhparent
         JOIN rel whole ON whole.oid = wi.indrelid WHERE h.inhrelid = c.oid AND whole.captured)),
       rel.captured AND (i.indisvalid OR rel.relkind = 'p') AND i.indisready
FROM pg_index i JOIN rel ON rel.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
UNION ALL
-- the copy of a foreign key on a partition gets a name of its own whenever a partition is attached
SELECT 'constraint', quote_ident(k.conname) || ' ON ' || rel.name, '', pg_get_constraintdef(k.oid), rel.captured
FROM pg_constraint k JOIN rel ON rel.oid = k.conrelid
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND NOT (k.contype = 'f' AND k.conparentid <> 0)
UNION ALL
-- from 18 on; their names may be made anew
SELECT 'not null', quote_ident(a.attname) || ' ON ' || rel.name, '',
       CASE WHEN k.convalidated THEN '' ELSE 'NOT VALID' END, rel.captured
FROM pg_constraint k JOIN rel ON rel.oid = k.conrelid
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] WHERE k.contype = 'n'
UNION ALL
SELECT 'trigger', quote_ident(t.tgname) || ' ON ' || rel.name, '',
       pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'O' THEN '' ELSE ' enabled: ' || t.tgenabled::text END,
       rel.captured
FROM pg_trigger t JOIN rel ON rel.oid = t.tgrelid WHERE NOT t.tgisinternal AND t.tgparentid = 0
UNION ALL
SELECT 'policy', quote_ident(p.polname) || ' ON ' || rel.name, '',
       concat_ws(' ', CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END, 'for ' || p.polcmd::text,
         'to ' || (SELECT string_agg(x, ', ' ORDER BY x COLLATE "C") FROM (
           SELECT CASE r WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(r)) END AS x
           FROM unnest(p.polroles) r) roles),
         'using ' || pg_get_expr(p.polqual, p.polrelid), 'check ' || pg_get_expr(p.polwithcheck, p.polrelid)),
       rel.captured
FROM pg_policy p JOIN rel ON rel.oid = p.polrelid
UNION ALL
SELECT 'rule', quote_ident(r.rulename) || ' ON ' || rel.name, '',
       pg_get_ruledef(r.oid) || CASE r.ev_enabled WHEN 'O' THEN '' ELSE ' enabled: ' || r.ev_enabled::text END,
       rel.captured
FROM pg_rewrite r JOIN rel ON rel.oid = r.ev_class WHERE r.rulename <> '_RETURN'
""")

_ROUTINES = _of("""
SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
       ns.q || '.' || quote_ident(p.proname) || '(' || coalesce(
         (SELECT string_agg(format_type(x.t, NULL), ', ' ORDER BY x.n)
          FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY x (t, n)),
         CASE p.prokind WHEN 'a' THEN '*' ELSE '' END) || ')',
       '',
       concat_ws(' ', '(' || pg_get_function_arguments(p.oid) || ')', 'RETURNS ' || pg_get_function_result(p.oid),
         'LANGUAGE ' || quote_ident(l.lanname), CASE p.prokind WHEN 'w' THEN 'WINDOW' END,
         CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
         CASE WHEN p.proisstrict THEN 'STRICT' END, CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END,
         CASE WHEN p.proleakproof THEN 'LEAKPROOF' END, 'PARALLEL ' || p.proparallel::text,
         'COST ' || p.procost, 'ROWS ' || p.prorows,
         (SELECT 'SET ' || string_agg(s, ', ' ORDER BY s COLLATE "C") FROM unnest(p.proconfig) s),
         'SFUNC ' || g.aggtransfn::regprocedure::text || ' STYPE ' || format_type(g.aggtranstype, NULL)
           || ' FINALFUNC ' || g.aggfinalfn::regproc::text || ' INITCOND ' || coalesce(g.agginitval, ''),
         'body ' || hashtextextended(coalesce(p.probin, '') || p.prosrc, 0), pg_get_function_sqlbody(p.oid)),
       true
FROM pg_proc p JOIN ns ON ns.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_aggregate g ON g.aggfnoid = p.oid
WHERE NOT EXISTS (SELECT FROM member WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
  -- the constructors of a range type go with it
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
""")

_TYPES = _of("""
SELECT 'type', ns.q || '.' || quote_ident(t.typname), '',
       CASE t.typtype
         WHEN 'e' THEN 'enum ' || coalesce((SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                                            FROM pg_enum e WHERE e.enumtypid = t.oid), '')
         WHEN 'd' THEN concat_ws(' ', 'domain', format_type(t.typbasetype, t.typtypmod),
           CASE WHEN t.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || t.typdefault,
           (SELECT string_agg(quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname)
            FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'))
         WHEN 'c' THEN 'composite ' || coalesce((
           SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', '
                             ORDER BY a.attnum)
           FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), '')
         WHEN 'r' THEN 'range of ' || (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid)
         ELSE 'base' END, true
FROM pg_type t JOIN ns ON ns.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typisdefined AND t.typtype IN ('e', 'd', 'c', 'r', 'b') AND (t.typtype <> 'c' OR c.relkind = 'c')
  AND NOT EXISTS (SELECT FROM pg_type el WHERE el.typarray = t.oid)
  AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
UNION ALL
SELECT 'sequence', rel.name, '',
       concat_ws(' ', format_type(s.seqtypid, NULL), 'start', s.seqstart, 'increment', s.seqincrement, 'min', s.seqmin,
                 'max', s.seqmax, 'cache', s.seqcache, CASE WHEN s.seqcycle THEN 'cycle' END),
       -- that of an identity column goes with its table
       NOT EXISTS (SELECT FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid
         WHERE d.classid = 'pg_class'::regclass AND d.objid = rel.oid AND d.refclassid = 'pg_class'::regclass
           AND d.deptype = 'i' AND NOT (has_schema_privilege(t.relnamespace, 'USAGE')
                                        AND has_table_privilege(t.oid, 'SELECT')))
FROM rel JOIN pg_sequence s ON s.seqrelid = rel.oid
""")

_OTHERS = _of("""
SELECT kind, name, '', facts, true FROM (
  SELECT 'schema' AS kind, q AS name, '' AS facts, 'pg_namespace'::regclass::oid AS classid, oid FROM ns
  UNION ALL
  SELECT 'extension', quote_ident(extname), extversion, 0, oid FROM pg_extension WHERE extname <> 'plpgsql'
  UNION ALL
  SELECT 'event trigger', quote_ident(evtname), '', 'pg_event_trigger'::regclass, oid FROM pg_event_trigger
  UNION ALL
  SELECT 'publication', quote_ident(pubname), '', 'pg_publication'::regclass, oid FROM pg_publication
  UNION ALL
  SELECT 'foreign server', quote_ident(srvname), '', 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
  UNION ALL
  SELECT 'collation', q || '.' || quote_ident(collname), 'provider ' || collprovider::text
         || CASE WHEN collisdeterministic THEN '' ELSE ' nondeterministic' END, 'pg_collation'::regclass, k.oid
  FROM pg_collation k JOIN ns ON ns.oid = k.collnamespace
  UNION ALL
  SELECT 'operator',
         q || '.' || oprname || ' (' || CASE oprleft WHEN 0 THEN '' ELSE format_type(oprleft, NULL) || ', ' END
         || format_type(oprright, NULL) || ')',
         '', 'pg_operator'::regclass, o.oid
  FROM pg_operator o JOIN ns ON ns.oid = o.oprnamespace WHERE o.oprcode <> 0
  UNION ALL
  SELECT 'cast', 'CAST (' || format_type(castsource, NULL) || ' AS ' || format_type(casttarget, NULL) || ')', '',
         'pg_cast'::regclass, oid
  FROM pg_cast WHERE oid >= 16384
  UNION ALL
  SELECT 'text search configuration', q || '.' || quote_ident(cfgname), '', 'pg_ts_config'::regclass, c.oid
  FROM pg_ts_config c JOIN ns ON ns.oid = c.cfgnamespace
  UNION ALL
  SELECT 'text search dictionary', q || '.' || quote_ident(dictname), '', 'pg_ts_dict'::regclass, d.oid
  FROM pg_ts_dict d JOIN ns ON ns.oid = d.dictnamespace
  UNION ALL
  SELECT 'text search parser', q || '.' || quote_ident(prsname), '', 'pg_ts_parser'::regclass, p.oid
  FROM pg_ts_parser p JOIN ns ON ns.oid = p.prsnamespace
  UNION ALL
  SELECT 'text search template', q || '.' || quote_ident(tmplname), '', 'pg_ts_template'::regclass, t.oid
  FROM pg_ts_template t JOIN ns ON ns.oid = t.tmplnamespace
  UNION ALL
  SELECT 'statistics', ns.q || '.' || quote_ident(s.stxname), pg_get_statisticsobjdef(s.oid),
         'pg_statistic_ext'::regclass, s.oid
  FROM pg_statistic_ext s JOIN ns ON ns.oid = s.stxnamespace JOIN rel ON rel.oid = s.stxrelid WHERE rel.captured
) o
WHERE NOT EXISTS (SELECT FROM member WHERE member.classid = o.classid AND member.objid = o.oid)
""")

OBJECTS = (_OTHERS, _TYPES, _ROUTINES, _RELATIONS, _PARENTS, _COLUMNS, _ON_TABLES)
"""One answer each; together everything that is compared, but for where the sequences stand."""

SEQUENCES = _of("""
SELECT n.nspname::text, rel.relname::text, rel.name, o.nspname::text, o.relname::text, o.attname::text, o.cheap
FROM rel JOIN pg_sequence s ON s.seqrelid = rel.oid AND NOT s.seqcycle
JOIN pg_class c ON c.oid = rel.oid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
  SELECT tn.nspname, t.relname, a.attname,
         -- an index gives the maximum at once; planning inlines the functions of indexes, so those with any are let be
         s.seqincrement > 0 AND t.relkind = 'r' AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
         AND EXISTS (SELECT FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am am ON am.oid = ic.relam
                     WHERE i.indrelid = t.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND am.amname = 'btree')
         AND NOT EXISTS (SELECT FROM pg_index i
                         WHERE i.indrelid = t.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) AS cheap
  FROM pg_depend d
  JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
  WHERE d.classid = 'pg_class'::regclass AND d.objid = rel.oid AND d.refclassid = 'pg_class'::regclass
    AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  LIMIT 1
) o ON true
ORDER BY rel.name
""")
"""Sequences that do not cycle, with the column that owns each and whether its maximum is to be had for nothing."""
