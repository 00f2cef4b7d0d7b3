"""A dump into a database, and whether all of it has arrived."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, flow
from opsplay.agent.sizes import existing, free_bytes
from opsplay.modules.postgres._psql import Psql, SqlError
from opsplay.modules.postgres._server import Server, as_account
from opsplay.modules.postgres._snapshot import count_rows
from opsplay.modules.postgres._source import Source
from opsplay.modules.postgres._sql import literal

# Bytes that stay free beside what a restore needs.
SPARE = 16 << 20


def fill(source: Source, server: Server, name: str, options: List[str], jobs: int) -> None:
    """Restore a dump into a database. Raises Failed with the words of the program that failed."""
    progress = "restoring %s into %s" % (source.path, name)
    env = server.environment(name)
    if source.format == "plain":
        options = ["--single-transaction", "-o", os.devnull]
        argv = server.command("psql", "-X", "-w", "-q", "-v", "ON_ERROR_STOP=1", *options)
        source.feed([Program(argv, env)], progress)
        return
    words = ["--exit-on-error", "--no-password", "--dbname=%s" % name] + options
    parallel = jobs > 1 and source.format in ("custom", "directory")
    if jobs > 1 and not (parallel and source.in_file):
        text = "%s is restored by one job: several need a custom or directory dump in the clear"
        source.host.warn(text % source.path)
        parallel = False
    words.append("--jobs=%d" % jobs if parallel else "--single-transaction")
    if parallel or source.format == "directory":
        argv = reader(server, source.place, ["pg_restore"] + words + [source.place])
        flow(source.host, [Program(argv, env)], text=progress)
    else:
        source.feed([Program(server.command("pg_restore", *words), env)], progress)


def reader(server: Server, path: str, words: List[str]) -> List[str]:
    """The command line of a program that opens a dump itself, though only root may read it."""
    argv = server.command(words[0], *words[1:])
    if not server.account or may_read(server, path):
        return argv
    # It stays the account that the server's socket knows, and may read everything; access(2), by which pg_restore looks
    # for files, asks for what the real account may, unless the last one is set.
    may = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--securebits=+no_setuid_fixup"]
    return argv[:1] + may + argv[1:]


def may_read(server: Server, path: str) -> bool:
    inside = os.path.join(path, "toc.dat") if os.path.isdir(path) else path
    return bool(server.host.query(as_account(server.account, ["test", "-r", inside])).rc == 0)


def differences(db: Psql, tables: List[Dict[str, Any]]) -> Tuple[List[str], int]:
    """What differs from the manifest's row counts, and the rows counted in all."""
    found, total = [], 0
    there = {(row["s"], row["n"]) for row in db.rows(
        "SELECT n.nspname AS s, c.relname AS n FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v')")}  # fmt: skip
    missing = [table for table in tables if (table["schema"], table["name"]) not in there]
    found += ["%s.%s is missing" % (table["schema"], table["name"]) for table in missing]
    present = [table for table in tables if table not in missing]
    counted = [dict(table) for table in present]
    count_rows(db, counted, lambda done: None)
    for place, table in enumerate(present):
        rows = int(counted[place]["rows"])
        total += rows
        if rows != table["rows"]:
            words = (table["schema"], table["name"], rows, table["rows"])
            found.append("%s.%s has %d rows, the manifest says %d" % words)
    return found, total


def verify_queries(server: Server, name: str, queries: List[Any]) -> List[str]:
    """What the admin's own queries do not find as wanted. They run read-only, as they are written."""
    found = []
    env = dict(server.environment(name), PGOPTIONS="-c default_transaction_read_only=on -c statement_timeout=600s")
    for item in queries:
        text, wanted = (item["query"], item.get("equals", "t")) if isinstance(item, dict) else (item, "t")
        wanted = {True: "t", False: "f"}[wanted] if isinstance(wanted, bool) else str(wanted)
        argv = ("psql", "-X", "-w", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", text)
        done = server.query(*argv, database=name, env=env, timeout=660)
        said = done.stdout.strip()
        if done.rc != 0:
            found.append("%s: %s" % (text, done.stderr.strip() or done.error))
        elif said != wanted:
            found.append("%s gives %r, not %r" % (text, said[:200], wanted))
    return found


def refuse_queries(host: Host, queries: List[Any]) -> None:
    """Fail when a query of the admin's cannot be one."""
    for item in queries:
        text = item.get("query") if isinstance(item, dict) else item
        if not isinstance(text, str) or not text.strip() or text.lstrip().startswith("\\"):
            host.fail("verify_queries: %r is no query; give SQL, or a dictionary of query and equals" % (item,))


def refuse_full(host: Host, server: Server, place: str, needed: int, what: str) -> None:
    """Fail when a restore would fill the file system of the server's data."""
    folder = place or (server.cluster.data if server.cluster is not None else "")
    if not folder or not os.path.isdir(folder):
        return
    free = free_bytes(folder)
    if free < needed + SPARE:
        text = "%s needs %d MB in %s, and %d MB are free there; make room, nothing was touched"
        host.fail(text % (what, (needed + SPARE) >> 20, folder, free >> 20))


def refuse_full_disks(host: Host, server: Server, source: Source, old: Any, safety_dir: str) -> None:
    """Fail when the new database, or the dump of the old one, would fill its file system; empty: no dump is made."""
    what = "the restore of %s" % source.path
    place = (old["place"] if old else "") or (server.cluster.data if server.cluster is not None else "")
    if not safety_dir or not old:
        return refuse_full(host, server, place, source.size, what)
    safety_dir = existing(safety_dir)
    shared = os.path.isdir(place) and os.stat(place).st_dev == os.stat(safety_dir).st_dev
    refuse_full(host, server, place, source.size + (int(old["size"]) if shared else 0), what)
    return refuse_full(host, server, safety_dir, int(old["size"]), "the dump of %s as it is" % old["name"])


def analyze(server: Server, name: str, jobs: int) -> None:
    """Let the planner know the new tables. Without it the first hours are slow."""
    server.host.progress("gathering statistics of %s" % name)
    server.run("vacuumdb", "--analyze-only", "--quiet", "--jobs=%d" % jobs, name, database=name)


def exists(db: Psql, name: str) -> bool:
    return bool(db.value("SELECT count(*) FROM pg_database WHERE datname = %s" % literal(name)))


__all__ = [
    "Failed", "SqlError", "analyze", "differences", "exists", "fill", "reader", "refuse_full", "refuse_queries",
    "verify_queries",
]  # fmt: skip
