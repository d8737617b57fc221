"""The table of error codes: code -> (what it means, what to do next when the raiser knows nothing better).

Codes are stable: scripts match on them. Grouped by class; the class of a code is the class that raises it.
"""

from __future__ import annotations

_BUG = "Please report this with the output of `offsitedb doctor --json`."

CODES: dict[str, tuple[str, str]] = {
    # -- ConfigError (2)
    "config.invalid": (
        "a setting or argument has a value that cannot be used",
        "Correct the value and run the command again.",
    ),
    "config.unknown-key": ("config.toml has a key that does not exist", "Remove or correct the key in config.toml."),
    "config.conninfo": (
        "a connection string that cannot be used",
        "Paste the direct or session-pooler connection string of the database, for example `postgresql://reader:…@host:5432/dbname`.",
    ),
    "config.cron": (
        "a schedule that cannot be used",
        "Write `hourly`, `every 6 h`, `daily at 03:00`, `weekly on sunday at 03:00`, `monthly on 1 at 03:00`, or a cron with five fields such as `0 3 * * 1-5`.",
    ),
    "config.zone": (
        "a time zone that nobody knows",
        "Write a name of the tz database, such as `Europe/Berlin`, `America/New_York` or `UTC`.",
    ),
    "config.month": (
        "a month that no report can be made of",
        "Write it as year and month, such as `2026-11`; a report tells of a month that has begun.",
    ),
    "config.timestamp": (
        "there is no authority to ask for a time stamp, or it may not be asked",
        'Name one in config.toml: `timestamp_url = "https://…"` under `[report]`.',
    ),
    "config.timestamp-ca": (
        "the certificates of the time-stamping authority cannot be read",
        "Give a file with its CA certificates in PEM form: `--timestamp-ca FILE`, or `timestamp_ca` under `[report]` in config.toml.",
    ),
    "config.report-elsewhere": (
        "the report lies on another host, or its folder is gone",
        "Ask on the host that built it (`offsitedb report list`), or build it here: `offsitedb report build --month MONTH`.",
    ),
    "config.home": (
        "the installation's directories cannot be made or used",
        "Set OFFSITEDB_HOME (and OFFSITEDB_RUNTIME) to directories that this user may write to.",
    ),
    "config.password": (
        "this cannot be a password",
        "Take at least 15 characters that are not what everybody tries first: four or five words of your own do well.",
    ),
    "config.name-taken": ("the name is in use", "Choose another name, or remove the old one first."),
    "config.not-found": (
        "no such connection, destination, snapshot or job",
        "List what there is: `offsitedb connection list`, `offsitedb destination list`, `offsitedb ledger`, `offsitedb jobs`.",
    ),
    "config.ambiguous": ("a prefix that fits several ids", "Give more characters of the id."),
    "config.in-use": ("cannot be removed while something uses it", "Remove or change what uses it first."),
    "config.not-initialised": ("there is no catalog yet", "Run `offsitedb init` first."),
    "config.already-initialised": (
        "there is a catalog already",
        "Use it as it is; `offsitedb key status` shows where its key lives. To start anew choose another OFFSITEDB_HOME.",
    ),
    "config.consent": (
        "something was to be downloaded or changed and nobody agreed",
        "Run the command again with `--yes` if you agree.",
    ),
    "config.usage": (
        "the command line has an argument or option that is not understood",
        "Run the command with `--help`: it lists what there is.",
    ),
    "config.file": (
        "a file that was to be written cannot be",
        "Name another place, or make room and give this user the right to write there.",
    ),
    "config.file-exists": (
        "a file that was to be written is there already",
        "Name another file, or replace this one with `--force`.",
    ),
    "config.alert-url": (
        "a URL that alerts may not be sent to",
        "Give the https URL of a service on the internet; for one in your own network say `--allow-private`.",
    ),
    "config.apprise": (
        "the Apprise library is not installed",
        "Install the extra: `pip install 'offsitedb[apprise]'`, for the worker, too.",
    ),
    "api.request": (
        "a request to the checkpoint API that cannot be understood",
        "Compare it with `GET /openapi.json` of the server, or with docs/API.md.",
    ),
    "api.idempotency": (
        "an Idempotency-Key was given to another request before",
        "Send a new key with each new checkpoint that is wanted.",
    ),
    "api.listen": (
        "the checkpoint API cannot listen there",
        "Give another `--listen HOST:PORT` or `--unix PATH`; beyond this machine it needs `--cert FILE --key FILE`.",
    ),
    "api.address": (
        "the address of a remote server cannot be used",
        "Give the server's base URL, as in `--remote https://backups.example.org`; the key belongs in OFFSITEDB_API_KEY.",
    ),
    "api.no-key": (
        "there is no API key to present",
        "Set OFFSITEDB_API_KEY, or pipe the key in with `--key-stdin`; `offsitedb apikey create NAME` makes one on the server.",
    ),
    # -- PartialResult (3)
    "partial.some-failed": (
        "some of several things were done and some were not",
        "Read the list above; what failed can be run again.",
    ),
    "partial.no-timestamp": (
        "the report is there, a time stamp for it could not be had",
        "Nothing of the report is lost. Ask again later: `offsitedb report stamp MONTH`.",
    ),
    # -- KeyAccessError (12)
    "key.no-backend": (
        "no keyring on this machine may hold the master key",
        "Start a Secret Service (gnome-keyring, KWallet), allow the kernel keyring, or run `offsitedb key install-systemd`; `offsitedb doctor` shows what was tried.",
    ),
    "key.locked": (
        "the keyring is there but locked",
        "Unlock the keyring (log in to the desktop session or run `gnome-keyring-daemon --unlock`) and run the command again.",
    ),
    "key.timeout": (
        "the keyring did not answer in time",
        "Unlock the keyring or restart its service, then run the command again.",
    ),
    "key.missing": (
        "the keyring does not hold the master key of this catalog",
        "Run `offsitedb key restore` with the recovery code.",
    ),
    "key.wrong": (
        "the keyring holds another key than the one that sealed this catalog",
        "Put the right key back with `offsitedb key restore` and the recovery code.",
    ),
    "key.check-damaged": (
        "the key-check record of the catalog is damaged",
        "Restore the catalog from a copy; the key itself may well be right.",
    ),
    "key.weak-backend": (
        "the keyring backend is not one that we trust with a master key",
        "Use Secret Service, KWallet, macOS Keychain, Windows Credential Locker, the kernel keyring or systemd credentials.",
    ),
    "key.row-altered": (
        "a sealed value in the catalog was altered or moved",
        "Restore the catalog from a copy, or enter the value again with `offsitedb connection edit`.",
    ),
    "key.write-failed": (
        "the keyring did not keep what was written",
        "Use another keyring backend; `offsitedb doctor` shows which are usable.",
    ),
    "key.recovery-code": (
        "the recovery code is wrong",
        "Check the code for typing errors; it starts with `odbr1` and is grouped in fours.",
    ),
    # -- SourceError (20)
    "pg.unreachable": (
        "the database server cannot be reached",
        "Check host and port, and that this machine's address is allowed; `offsitedb connection test NAME` tries again.",
    ),
    "pg.unknown-host": ("the host name does not resolve", "Check the host name in the connection string."),
    "pg.auth": (
        "the server refused the user or the password",
        "Check user and password, then `offsitedb connection edit NAME`.",
    ),
    "pg.no-database": (
        "there is no such database on the server",
        "Check the database name at the end of the connection string.",
    ),
    "pg.tls": (
        "a TLS connection that meets the asked-for mode cannot be made",
        "Give the provider's CA with `sslrootcert=PATH`, or choose a weaker sslmode knowingly; it will be shown in every report.",
    ),
    "pg.pooler": (
        "the address is a transaction pooler, which cannot hold a snapshot",
        "Use the session pooler or the direct address of the same database.",
    ),
    "pg.version": (
        "the server is newer than every PostgreSQL client here",
        "Install the client of the server's major: `offsitedb postgres install MAJOR`.",
    ),
    "pg.tool-missing": (
        "the PostgreSQL programs of the server's major are not here",
        "Install them: `offsitedb postgres install MAJOR`, or your distribution's postgresql package of that major.",
    ),
    "pg.client-floor": (
        "the PostgreSQL client is older than the security floor, and strict mode refuses it",
        "Update the PostgreSQL packages of this host; `offsitedb doctor` shows the floor.",
    ),
    "pg.install": (
        "PostgreSQL binaries could not be installed",
        "Install your distribution's postgresql package of that major instead.",
    ),
    "pg.permission": (
        "the role may not read something that was to be captured",
        "Run `offsitedb connection preflight NAME` and apply the SQL that it prints.",
    ),
    "pg.lock-timeout": (
        "a table lock could not be had in time",
        "A migration or VACUUM FULL holds the table; run the checkpoint again when it is done.",
    ),
    "pg.dump-failed": (
        "pg_dump ended with an error",
        "Read pg_dump's message above; `offsitedb connection preflight NAME` looks for the causes that we know.",
    ),
    "pg.damaged": (
        "the source itself is damaged: something in it cannot be read",
        "Keep the older snapshots, check the disk of the database server, and look for the rows with the SQL of the message.",
    ),
    "pg.timeout": (
        "a timeout that the server sets for our role ended the backup",
        "Run as an administrator: `ALTER ROLE name SET statement_timeout = 0;`, and the same for the timeout that the message names.",
    ),
    "pg.resources": (
        "the database server ran out of disk, memory or locks",
        "Read the message: it names what ran out and the setting that raises it.",
    ),
    "pg.conflict": (
        "a standby cancelled the backup to go on replaying",
        "Set hot_standby_feedback = on at the standby, or back up the primary.",
    ),
    "pg.snapshot-lost": (
        "the session that held the snapshot was lost before the dump ended",
        "Run the checkpoint again; if it happens again look for a pooler or firewall that closes idle connections.",
    ),
    "pg.schema-changing": (
        "the schema kept changing while the snapshot was being prepared",
        "Run the checkpoint again when the migration is done.",
    ),
    "pg.query-failed": (
        "the server refused one of our queries",
        "Read the server's message; the role may lack a right on a system catalog.",
    ),
    # -- StoreError (30)
    "store.unreachable": (
        "the destination cannot be reached",
        "Check that the folder is mounted, or the endpoint and network; `offsitedb destination test NAME` tries again.",
    ),
    "store.denied": (
        "the destination refused the right to do this",
        "Check ownership and mode of the folder, or the policy of the key; `offsitedb destination test NAME` tries each right.",
    ),
    "store.missing": (
        "the object is not at the destination",
        "Somebody removed it; `offsitedb snapshot verify ID` shows what is left.",
    ),
    "store.removed": (
        "the snapshot's object is gone: removed by retention, or found missing",
        "Choose another snapshot: `offsitedb ledger` shows which are there.",
    ),
    "store.disagrees": (
        "what lies at the destination is not what the ledger says",
        "Read the list above, take a checkpoint of each connection it names, then find out who changed the destination.",
    ),
    "store.exists": ("an object with this key is there already", "Nothing was overwritten; run the checkpoint again."),
    "store.full": ("the destination has no room left", "Make room at the destination, then run the checkpoint again."),
    "store.part-limit": (
        "the upload has more parts than the destination allows",
        "Run the checkpoint again; the part size is chosen from the size that was seen now.",
    ),
    "store.size-mismatch": (
        "the object at the destination is not as long as what was written",
        "Run the checkpoint again; look at the destination for other writers.",
    ),
    "store.bad-key": (
        "an object key that would leave the destination's root",
        "Use a prefix without `..`, control characters and leading slashes.",
    ),
    "store.io": (
        "reading or writing the destination failed",
        "Read the system's message above and run `offsitedb destination test NAME`.",
    ),
    "store.credentials": (
        "the provider refuses the access key or its secret",
        "Look the key up at the provider, set OFFSITEDB_S3_ACCESS_KEY_ID and OFFSITEDB_S3_SECRET_ACCESS_KEY, and add the destination, or run `offsitedb destination edit NAME` if it was added before.",
    ),
    "store.clock": (
        "this machine's clock and the provider's are too far apart",
        "Set the clock: `timedatectl set-ntp true`, or whatever keeps time on this machine.",
    ),
    "store.no-bucket": (
        "there is no such bucket at the provider",
        "Check bucket, endpoint and region; buckets are made at the provider, not here.",
    ),
    "store.region": (
        "the bucket is in another region than the one that was said",
        "Look the region up at the provider and say it with `--region`.",
    ),
    "store.tls": (
        "an encrypted connection that can be trusted cannot be made",
        "For a private CA give its certificate: `offsitedb destination add NAME --bucket B --ca-file CA.pem …`.",
    ),
    "store.timeout": ("the destination did not answer in time", "Check the network, then run the command again."),
    # -- FormatError (40)
    "format.header": (
        "the artifact's header is damaged or not ours",
        "The object is not an artifact of this version; fetch it again or use another snapshot.",
    ),
    "format.too-large": (
        "the artifact would be larger than the format allows",
        "Split the database: one connection for each part of it.",
    ),
    "format.version": ("the artifact was written by a newer version", "Update OffsiteDB console."),
    "format.wrong-key": (
        "the artifact was sealed under another key",
        "Put the right key back with `offsitedb key restore` and the recovery code.",
    ),
    "format.corrupt-segment": (
        "a part of the artifact was altered",
        "The object at the destination was damaged after it was written; use another snapshot and look into the destination.",
    ),
    "format.truncated": (
        "the artifact ends too early",
        "The object at the destination was cut; use another snapshot and look into the destination.",
    ),
    "format.trailing": (
        "something follows the artifact's end",
        "The object at the destination was extended; use another snapshot and look into the destination.",
    ),
    "format.swapped": (
        "the object is an artifact, but not the one that the catalog names",
        "Objects at the destination were exchanged; use another snapshot and look into the destination.",
    ),
    "format.hash": (
        "the object's SHA-256 is not the recorded one",
        "The object at the destination was altered; use another snapshot and look into the destination.",
    ),
    "format.gzip": (
        "the compressed stream inside the artifact is damaged",
        "Use another snapshot and report this: the seal was intact.",
    ),
    "format.bundle": (
        "a report's bundle is not what was signed",
        "Do not rely on it. Fetch it again from where it was filed, or build the month anew: `offsitedb report build --month MONTH`.",
    ),
    "format.manifest": (
        "the manifest is damaged or its signature does not hold",
        "The manifest at the destination was altered; use another snapshot and look into the destination.",
    ),
    "format.receipt": (
        "the receipt is damaged or its signature does not hold",
        "The receipt was altered after it was written; use a copy of it, or drill the snapshot again.",
    ),
    "format.signature": (
        "a signing key or signature is not in its form",
        "Use the key that `offsitedb key status` shows.",
    ),
    # -- CatalogError (50)
    "catalog.busy": (
        "the catalog is locked by another process",
        "Run the command again; if it goes on, look for a stuck process with `offsitedb jobs`.",
    ),
    "catalog.newer-schema": (
        "the catalog was written by a newer version",
        "Update OffsiteDB console to the version that wrote the catalog.",
    ),
    "catalog.unreachable": (
        "the catalog cannot be opened",
        "Check OFFSITEDB_HOME and OFFSITEDB_DATABASE_URL, and that there is room on the disk.",
    ),
    "catalog.altered": (
        "the catalog, its history or its signed documents were changed behind the program's back",
        "Read what `offsitedb verify` found; the findings say what to look at. Find out who can write to the database.",
    ),
    "catalog.damaged": (
        "the catalog is damaged",
        "Restore the catalog from a copy; the artifacts and manifests at the destinations are not affected.",
    ),
    "catalog.moved": (
        "the catalog was moved to another database",
        "Set OFFSITEDB_DATABASE_URL to where it was moved, as `catalog migrate` said.",
    ),
    "catalog.fenced": ("another worker has taken this job over", "Nothing is lost: the other worker settles the job."),
    "api.unreachable": (
        "the remote server cannot be reached, or what answers there is not the checkpoint API",
        "Check the URL, the network and the server's certificate (`--ca-file`); on its machine `offsitedb serve` runs it.",
    ),
    # -- PreflightFailed (60)
    "preflight.failed": (
        "preflight found something that must be mended first",
        "Run `offsitedb connection preflight NAME` and apply the SQL that it prints.",
    ),
    "preflight.nothing-readable": (
        "the role can read no row of any table",
        "Run the SQL of `offsitedb connection preflight NAME` as the owner, or say `--accept-empty` if that is what you want.",
    ),
    # -- DrillFailed (70), CouldNotVerify (71)
    "drill.fetch": (
        "the artifact could not be read back from the destination",
        "Run `offsitedb destination test NAME`, then drill the snapshot again: `offsitedb drill ID --wait`.",
    ),
    "drill.artifact": ("the artifact does not open", "Take a new checkpoint now, then look into the destination."),
    "drill.restore": (
        "the archive does not restore cleanly",
        "Read the failures of the drill: `offsitedb snapshot show ID`.",
    ),
    "drill.mismatch": (
        "restored rows differ from captured rows",
        "Read the failures of the drill: `offsitedb snapshot show ID`.",
    ),
    "drill.structure": (
        "an object of the copy is missing or not as it was captured",
        "Take a new checkpoint, keep this artifact, and read the failures of the drill: `offsitedb snapshot show ID`.",
    ),
    "drill.content": (
        "a table's content in the copy is not what was captured",
        "Take a new checkpoint, keep this artifact, and read the failures of the drill: `offsitedb snapshot show ID`.",
    ),
    "drill.check": (
        "the copy does not answer an operator's check as expected",
        "Look at the check (`offsitedb check list CONNECTION`) and at the source: one of them is wrong, or this snapshot is.",
    ),
    "drill.extension-missing": (
        "an extension of the source is not installed on this host",
        "Install the extension's package for the source's PostgreSQL major on the drill host.",
    ),
    "drill.locale-missing": (
        "a locale or ICU collation of the source is not available on this host",
        "Generate the locale (`localedef -i LANGUAGE -f CODESET NAME`), or use PostgreSQL packages with ICU on the drill host.",
    ),
    "drill.tool-missing": (
        "the PostgreSQL server of the source's major is not on this host",
        "Install it: `offsitedb postgres install MAJOR`, or your distribution's postgresql package of that major.",
    ),
    "drill.scratch": (
        "the scratch cluster could not be started",
        "Read the server's message; check disk space and the rights of the scratch directory.",
    ),
    "drill.disk": (
        "there is not enough disk space for the drill",
        "Make room below the scratch directory or move it with OFFSITEDB_RUNTIME.",
    ),
    "drill.external": (
        "the scratch server that drills of this connection use cannot be used",
        "Look at it with `offsitedb scratch test NAME`, or let drills use a cluster of their own: `offsitedb connection edit NAME --scratch none`.",
    ),
    "drill.isolation": (
        "the isolation that the installation requires is not available",
        'Install bubblewrap, or set drill.isolation = "best-effort" in config.toml.',
    ),
    "drill.timeout": ("the drill took longer than its limit", "Raise drill.timeout_s in config.toml."),
    # -- restores into a server of the user's: PreflightFailed (60), DrillFailed (70)
    "restore.target-not-empty": (
        "what would be restored is at the target already",
        "Restore into a new, empty database, or say `--clean` to drop first what the snapshot holds.",
    ),
    "restore.target-is-source": (
        "the target is the database that the snapshot was taken of",
        "Restore into a new database beside it (`CREATE DATABASE name;`), look at it, then rename the two.",
    ),
    "restore.refused": (
        "the target cannot take this restore",
        "Read the plan: `offsitedb restore ID --to-url-stdin --dry-run` names what is missing, with the SQL.",
    ),
    "restore.interrupted": (
        "the worker stopped or died while it restored, or came to it too late; a restore is never repeated by itself",
        "Look at the target, then start the restore anew.",
    ),
    "restore.failed": (
        "the restore into the target ended with errors",
        "Read what failed: `offsitedb restores`; with one job nothing of it is left at the target.",
    ),
    "restore.mismatch": (
        "tables at the target do not hold the captured number of rows",
        "Read which: `offsitedb restores`; look for programs and triggers that write to the target.",
    ),
    # -- StillRunning (75)
    "job.still-running": ("waiting ended; the job goes on", "Follow it with `offsitedb jobs show ID`."),
    # -- AccessDenied (80)
    "access.login": ("user or password is wrong", "Try again, or ask an admin to reset the password."),
    "access.role": ("the operator's role does not allow this", "Ask an admin."),
    "access.key": (
        "the API key is missing, mistyped, expired or revoked",
        "Send `Authorization: Bearer odb_live_…`; on the server `offsitedb apikey list` says which keys are good.",
    ),
    "access.scope": (
        "the API key may not do this",
        "Make a key that may: `offsitedb apikey create NAME --scope …`.",
    ),
    "access.rate-limited": ("too many failures", "Wait, then try again."),
    # -- AlertFailed (90)
    "alert.refused": (
        "the URL of a channel leads to an address that alerts may not be sent to",
        "If the service is in your own network add the channel anew with `--allow-private`.",
    ),
    "alert.unreachable": (
        "the channel's server cannot be reached",
        "Check the URL and the network, then run `offsitedb alerts test NAME`.",
    ),
    "alert.tls": (
        "no encrypted connection that can be trusted can be made to the channel's server",
        "Look at the server's certificate; for a CA of your own set SSL_CERT_FILE for the worker.",
    ),
    "alert.timeout": (
        "the channel's server did not answer in time",
        "Look at the server, then run `offsitedb alerts test NAME`.",
    ),
    "alert.status": (
        "the channel's server did not accept what was sent",
        "Look at the URL and its token at the service, then add the channel anew: `offsitedb alerts add`.",
    ),
    "alert.failed": (
        "the service did not take the alert",
        "Check the URL as Apprise wants it, then run `offsitedb alerts test NAME`.",
    ),
    "access.login-required": ("nobody is logged in", "Log in: `offsitedb login`."),
    "access.session-ended": ("the session has ended", "Log in again: `offsitedb login`."),
    "access.confirm": (
        "this needs your password once more",
        "Log in again with `offsitedb login`, and repeat the command within five minutes.",
    ),
    "access.disabled": ("this operator is disabled", "Ask an admin: `offsitedb operator enable NAME`."),
    "access.last-admin": (
        "nobody else could look after the operators any more",
        "Make somebody else an admin first: `offsitedb operator role NAME admin`.",
    ),
    "access.not-here": (
        "this cannot be done through the service account",
        "Do it on the host itself, as the service account; docs/SERVICE-USER.md lists what works over SSH.",
    ),
    # -- Cancelled (130)
    "job.cancelled": ("the job was cancelled", "Nothing was kept; start it again when you want."),
    "job.worker-stopped": (
        "the worker stopped before the job ended",
        "The job is queued again and runs when a worker starts: `offsitedb worker`.",
    ),
    "job.worker-lost": (
        "the worker died while it ran the job",
        "The job is queued again and runs when a worker starts: `offsitedb worker`.",
    ),
    "job.stalled": (
        "no byte moved for too long",
        "Look at the database and the network, then run the checkpoint again.",
    ),
    # -- Internal (99)
    "internal.error": ("cannot happen", _BUG),
}
