"""A backup from its beginning to its place: locked, measured, dumped, proven, published; then older ones go."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional

from opsplay.agent import backups, cipher, metrics, retention, signatures, sizes
from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.pipeline import Failed
from opsplay.agent.sizes import told_size
from opsplay.modules.postgres import _dumping, _restored, _snapshot
from opsplay.modules.postgres._locks import lock_name
from opsplay.modules.postgres._psql import Psql, SqlError
from opsplay.modules.postgres._server import Server

PREFIX = "opsplay_backup"
# Without an earlier backup: what a dump takes of its tables' bytes. With one: how much it may have grown.
SHARE = {"plain": 1.0, "custom": 0.4, "directory": 0.4, "plain.gz": 0.3, "plain.zst": 0.3}
GROWTH = 1.2
DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"


def refuse(host: Host, params: Any) -> None:
    """What is wrong whatever the server is. Fails."""
    if params.content == "globals":
        if params.db or params.each:
            host.fail("content globals is of the whole server; give neither db nor each")
    elif bool(params.db) == params.each:
        host.fail("which database? Give db, or each: true for all of them")
    if params.each and params.name:
        host.fail("name cannot be given with each: every database has its own")
    if params.tag and backups.folder_name(params.tag.strip("-_.")) != params.tag:
        host.fail("tag %r: a word of letters, digits, - _ and . is allowed" % params.tag)
    cipher.wanted(host, params.encrypt)
    signatures.refuse_unable(host, params.sign)
    sizes.read_limits(host, params)


def jobs(host: Host, server: Server, params: Any) -> List["Job"]:
    """One for each database. Fails where the server does not answer or cannot do what is asked."""
    try:
        with Psql(server, params.db or "postgres") as psql:
            major = int(psql.value("SELECT current_setting('server_version_num')::int / 10000 AS major"))
            wanted = [row["datname"] for row in psql.rows(DATABASES)] if params.each else [params.db]
    except SqlError as problem:
        host.fail("PostgreSQL %s: %s; nothing was dumped" % (server.describe(), problem))
    found = [] if params.content == "globals" else [Job(host, server, params, name, params.content) for name in wanted]
    if params.content == "globals" or params.each:
        found.append(Job(host, server, params, "postgres", "globals"))
    for job in found:
        reason = _dumping.refused(job.wish, major) or _dumping.missing(host, job.wish)
        if reason:
            host.fail(reason)
    return found


class Job:
    """One backup that is to be made."""

    def __init__(self, host: Host, server: Server, params: Any, database: str, content: str) -> None:
        self._host = host
        self._server = server
        self._params = params
        base = "globals" if content == "globals" else backups.folder_name(database)
        self.name = params.name or (base + "-schema" if content == "schema" else base)
        self.directory = os.path.join(host.expand(params.dir), self.name)
        self.wish = _dumping.Wish(database, content, base, params)
        if content == "globals" and params.each:
            # What the databases are asked for need not fit SQL.
            self.wish.compress, self.wish.jobs = "", 1

    @property
    def _is_globals(self) -> bool:
        return self.wish.content == "globals"

    def preview(self) -> Dict[str, Any]:
        """What would be dumped, how large it is, and what would go. Touches nothing."""
        host = self._host
        last = self._last()
        backups.make_folder(host, self.directory)
        try:
            with _snapshot.Snapshot(self._server, self.wish.database) as held:
                database, tables = held.database(), held.tables()
        except SqlError as problem:
            host.fail("%s: %s" % (self.wish.database, problem))
        self._check_space(tables, last)
        crypt = cipher.wanted(host, self._params.encrypt)
        if crypt is not None:
            with crypt:
                pass
        host.note("", "backup of %s (%s, %s)\n" % (self.name, self.wish.content, self.wish.kind), self.directory)
        coming = backups.coming(self.directory, self._params.tag or "", self.wish.level)
        removed = [] if coming.tag == backups.EMERGENCY else self._prune(coming)
        told = {} if self._is_globals else {"database_size": database["size"], "tables": len(tables)}
        return dict(told, name=self.name, last_size=last.size if last else None, removed=removed)

    def run(self) -> Dict[str, Any]:
        """Make it. Fails with what failed; the metrics tell both ends."""
        host, began = self._host, time.time()
        try:
            with host.lock(lock_name(self._server, self.wish.database), self._params.wait):
                backups.make_folder(host, self.directory)
                began = time.time()
                backup = self._make(began)
                removed = self._settle(backup)
        except BaseException as problem:
            self._tell({"success": (0, "Whether the last run made a backup")})
            if isinstance(problem, (Failed, SqlError, OSError, backups.Unreadable)):
                self._fail(problem)
            raise
        seconds = time.time() - began
        self._tell({
            "success": (1, "Whether the last run made a backup"),
            "last_success_timestamp_seconds": (backup.finished, "When the last backup was whole"),
            "size_bytes": (backup.size, "The size of the last backup on disk"),
            "duration_seconds": (seconds, "How long the last backup took"),
        })  # fmt: skip
        host.note("", "backup of %s (%s, %s)\n" % (self.name, self.wish.content, self.wish.kind), self.directory)
        first = backup.files[0]["sha256"] if len(backup.files) == 1 else ""
        told = {"removed": removed, "sha256": first, "seconds": round(seconds, 2), "manifest": backup.data}
        return dict(backup.describe(), **told)

    def _fail(self, problem: Any) -> None:
        kept = "no new backup was published; latest and the older ones are as they were"
        if isinstance(problem, OSError):
            problem = "%s: %s" % (problem.strerror, problem.filename) if problem.filename else problem
        what = "roles and tablespaces" if self._is_globals else "the database %s" % self.wish.database
        self._host.fail("backup of %s failed: %s; %s" % (what, problem, kept))

    def _tell(self, values: Dict[str, Any]) -> None:
        metrics.report(self._host, self._params, PREFIX, {"name": self.name}, values)

    # --- the steps ---

    def _make(self, began: float) -> backups.Backup:
        """Everything up to publication. Raises Failed, SqlError, OSError, ModuleFailed, and nothing is left then."""
        hidden = self._host.temporary.folder(self.directory)
        try:
            return self._fill(hidden, began)
        except BaseException:
            self._host.temporary.discard(hidden)
            raise

    def _fill(self, hidden: str, began: float) -> backups.Backup:
        """Dump and prove in the hidden folder, describe it there, publish it."""
        host, wish = self._host, self.wish
        last = self._last()
        manifest = self._manifest(began)
        crypt = cipher.wanted(host, self._params.encrypt)
        if crypt is not None:
            crypt.__enter__()
        elif self._is_globals:
            host.warn("the verifiers of the roles' passwords are in the clear in %s; give encrypt" % self.directory)
        try:
            dumping = _dumping.Dumping(host, self._server, wish, hidden, crypt)
            if wish.level == "restore" and not self._is_globals:
                self._with_drill(dumping, manifest, last)
            else:
                self._dumped(dumping, manifest, last, None)
        finally:
            if crypt is not None:
                manifest["encryption"] = crypt.describe()
                crypt.__exit__()
        self._check_size(manifest, last)
        manifest["finished"] = backups.moment()
        host.progress("bringing %s to the disk" % self.name)
        try:
            return backups.publish(host, hidden, manifest, began, sign=self._params.sign)
        except OSError as problem:
            raise Failed("cannot write %s: %s" % (hidden, problem.strerror)) from None

    def _with_drill(self, dumping: _dumping.Dumping, manifest: Dict[str, Any], last: Any) -> None:
        """With a scratch cluster at hand: what is restored there must be what the snapshot held."""
        with _snapshot.Snapshot(self._server, self.wish.database) as held:
            database = held.database()
        with _restored.Restored(self._host, self._server, database, self._params.scratch_dir or "") as drill:
            self._dumped(dumping, manifest, last, drill)
            found = drill.differences(manifest["database"]["tables"])
        if found:
            raise Failed("the restored copy differs: %s" % _restored.in_words(found), "pg_restore")

    def _dumped(self, dumping: _dumping.Dumping, manifest: Dict[str, Any], last: Any, drill: Any) -> None:
        wish, host = self.wish, self._host
        target = drill.target if drill is not None else None
        with _snapshot.Snapshot(self._server, wish.database, wish.lock_timeout) as held:
            tables = held.tables()
            self._check_space(tables, last)
            manifest["server"].update(held.server())
            database = held.database()
            manifest["server"].update({key: database.pop(key) for key in ("encoding", "collate", "ctype")})
            if not self._is_globals:
                database.update({key: manifest["server"][key] for key in ("encoding", "collate", "ctype")})
                if wish.content == "all":
                    held.count(tables, lambda done: host.progress("counting rows", done, len(tables)))
                for table in tables:
                    table.pop("counted", None)
                manifest["database"] = dict(database, tables=tables)
            total = last.size if last else 0
            manifest["files"] = dumping.make(held.identifier, total, target)
        dumping.read(manifest["files"], target)
        level = "read" if self._is_globals else wish.level
        seconds = time.time() - backups.seconds_of(manifest["started"])
        manifest["verified"] = {"level": level, "at": backups.moment(), "seconds": round(seconds, 1)}

    def _manifest(self, began: float) -> Dict[str, Any]:
        wish = self.wish
        cluster = self._server.cluster
        return {
            "version": backups.VERSION, "kind": "pg_backup", "name": self.name, "tag": self._params.tag or "",
            "host": os.uname().nodename, "opsplay": backups.OPSPLAY, "started": backups.moment(began),
            "server": {"cluster": cluster.name if cluster is not None else self._server.describe()},
            "database": None, "content": wish.content, "format": wish.kind, "jobs": wish.jobs,
            "compression": wish.compress or None, "encryption": None,
        }  # fmt: skip

    def _settle(self, backup: backups.Backup) -> List[str]:
        """`latest` moves, then what is old goes."""
        if backup.tag == backups.EMERGENCY:
            return []
        try:
            backups.point_latest(self._host, backup)
        except OSError as problem:
            text = "the backup %s is whole, but latest could not be moved to it: %s"
            self._host.fail(text % (backup.folder, problem.strerror))
        return self._prune(None)

    def _prune(self, coming: Optional[backups.Backup]) -> List[str]:
        try:
            return retention.prune(self._host, self.directory, self._params, coming)
        except (OSError, backups.Unreadable, ModuleFailed) as problem:
            self._host.warn("old backups of %s were not removed: %s" % (self.name, problem))
            return []

    def _last(self) -> Optional[backups.Backup]:
        """The latest one of the same make, to compare sizes with."""
        known = [b for b in backups.backups_below(self.directory) if b.data.get("format") == self.wish.kind]
        return known[-1] if known else None

    def _check_space(self, tables: List[Dict[str, Any]], last: Optional[backups.Backup]) -> None:
        """Fails when the disk would fill up: better now than at the end of the night."""
        if self.wish.content != "all":
            return
        bytes_ = sum(int(table["bytes"]) for table in tables)
        need = int(last.size * GROWTH) if last else int(bytes_ * SHARE[self.wish.kind])
        if self._params.encrypt and self.wish.kind == "directory":
            need *= 2
        free = sizes.free_bytes(self.directory)
        if free < need:
            text = "the disk of %s has %s free, and a backup of %s takes about %s; nothing was dumped"
            self._host.fail(text % (self.directory, told_size(free), self.wish.database, told_size(need)))

    def _check_size(self, manifest: Dict[str, Any], last: Optional[backups.Backup]) -> None:
        """Raises Failed for a backup that is too small, too large, or too different from the last."""
        size = sum(int(entry["size"]) for entry in manifest["files"])
        least, most, change = self._params.size_min, self._params.size_max, self._params.size_change
        if least and size < least:
            raise Failed("it has %s, less than size_min %s" % (told_size(size), told_size(least)))
        if most and size > most:
            raise Failed("it has %s, more than size_max %s" % (told_size(size), told_size(most)))
        if change and last is not None and last.size and abs(size - last.size) * 100 > change * last.size:
            text = "it has %s, the last one %s: more than size_change %d %% between them"
            raise Failed(text % (told_size(size), told_size(last.size), change))
