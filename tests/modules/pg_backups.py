"""Backups for the tests of restores: real dumps by the server's own programs, with a manifest in their folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from opsplay.agent import backups
from opsplay.lab import LabHost

FOLDER = "/srv/backups"
COUNTS = """SELECT json_agg(json_build_object('schema', n.nspname, 'name', c.relname, 'bytes', pg_table_size(c.oid),
  'rows', (xpath('/row/c/text()', query_to_xml(format('select count(*) as c from only %I.%I', n.nspname, c.relname),
  false, true, '')))[1]::text::bigint)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"""
OPTIONS = {"custom": "-Fc", "directory": "-Fd", "plain": "-Fp", "plain.gz": "-Fp", "tar": "-Ft"}
ENDS = {"custom": "dump", "directory": "dir", "plain": "sql", "plain.gz": "sql.gz", "tar": "tar"}


def sql(host: LabHost, text: str, database: str = "postgres", port: int = 5432) -> str:
    argv = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-p", str(port), database]
    return host.run(argv, stdin=text, timeout=120).stdout.strip()


def make_backup(
    host: LabHost, db: str, stamp: str, format: str = "custom", encrypt: str = "", lie: int = 0, folder: str = FOLDER
) -> str:
    """Dump a database into FOLDER/DB/STAMP and describe it; `encrypt` is a shell filter and its method's ending.

    `lie` is added to the rows that the manifest says of each table.
    """
    target = f"{folder}/{db}/{stamp}"
    file = f"{db}.{ENDS[format]}"
    dump = f"setpriv --reuid postgres --regid postgres --init-groups pg_dump {OPTIONS[format]}"
    host.run(f"umask 077; rm -rf {target}; mkdir -p {target}")
    if format == "directory":
        host.run(
            f"cd /; rm -rf /tmp/{file}; {dump} -f /tmp/{file} {db}; chown -R 0:0 /tmp/{file}; mv /tmp/{file} {target}/"
        )
    else:
        packed = f"{dump} {db}" + (" | gzip" if format == "plain.gz" else "")
        if encrypt:
            filter_, method = encrypt.rsplit(">", 1)
            packed, file = f"{packed} | {filter_}", f"{file}.{method}"
        host.run(f"cd /; umask 077; ({packed}) > {target}/{file}", timeout=120)
    tables = json.loads(sql(host, COUNTS, db) or "[]")
    for table in tables:
        table["rows"] += lie
    about = json.loads(
        sql(host, f"SELECT json_build_object('owner', pg_get_userbyid(datdba), 'size', pg_database_size(oid),"
                  f" 'encoding', pg_encoding_to_char(encoding), 'collate', datcollate, 'ctype', datctype)"
                  f" FROM pg_database WHERE datname = '{db}'")
    )  # fmt: skip
    here = host.root / target.lstrip("/")
    data: dict[str, Any] = {
        "version": 1, "kind": "pg_backup", "name": db, "tag": "", "host": host.name, "started": iso(stamp),
        "finished": iso(stamp), "database": dict(about, name=db, tables=tables), "content": "all", "format": format,
        "files": [entry(path, here) for path in sorted(here.rglob("*")) if path.is_file()],
        "encryption": {"method": encrypt.rsplit(">", 1)[1], "recipients": []} if encrypt else None,
        "verified": {"level": "list", "at": iso(stamp), "seconds": 1},
    }  # fmt: skip
    (here / "manifest.json").write_bytes(backups.encoded(data))
    host.run(f"ln -sfn {stamp} {folder}/{db}/latest")
    return target


def describe(host: LabHost, target: str) -> None:
    """Write the files of a backup into its manifest as they are now."""
    here = host.root / target.lstrip("/")
    manifest = here / "manifest.json"
    data = json.loads(manifest.read_text())
    own = (backups.MANIFEST, backups.SIGNATURE, backups.PROOF)
    data["files"] = [entry(path, here) for path in sorted(here.rglob("*")) if path.is_file() and path.name not in own]
    manifest.write_bytes(backups.encoded(data))


def iso(stamp: str) -> str:
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:11]}:{stamp[11:13]}:{stamp[13:]}"


def entry(path: Path, top: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"name": str(path.relative_to(top)), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
