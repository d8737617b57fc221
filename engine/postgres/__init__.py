"""Everything that speaks to PostgreSQL: the source (conninfo, session, probe, inventory, dump) and the drill's side
(isolation, scratch cluster, table of contents, restore).

It refuses to keep a connection string longer than the call that needs it, to put a password on a command line, and to
run any statement of ours that is not read-only on a source.
"""
