"""pgBackRest: which stanza serves a cluster, its program's calls, what `info` says, and its archive.

The program runs as the account that owns the cluster. Its options and the JSON of `info` are those of its command
reference; an archive's files are named SEGMENT-SHA1[.gz|.lz4|.zst|.bz2], below ARCHIVE-ID/TIMELINE-AND-LOG/.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence, Tuple

from opsplay.agent import backups
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, flow
from opsplay.agent.spec import Choice, Name
from opsplay.modules.postgres import _bases, _clusters, _wal
from opsplay.modules.postgres._server import as_account

PARAMS = {
    "tool": Choice("auto", "server", "pgbackrest", default="auto", help="auto: pgBackRest where a stanza is given, or"
                   " where one is configured for the cluster and the log is not archived by something else; the"
                   " server's own tools otherwise. `tool` of the result tells which"),
    "stanza": Name(help="pgBackRest's stanza; without it the one that is configured for the cluster"),
}  # fmt: skip
# The second is the old place, which Debian's package uses; the program reads it where the first is not there.
MAIN = ("/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf")
FOLDER = "/etc/pgbackrest/conf.d"
# Codes of `info` for a repository: whole, missing, without a backup yet.
OK, MISSING, EMPTY = 0, 1, 2
# Nothing but errors and warnings, whatever its configuration says; on standard error.
QUIET = ("--log-level-console=off", "--log-level-stderr=warn", "--no-log-timestamp")


def chosen(host: Host, params: Any, cluster: Any, repo: str = "") -> Optional["Stanza"]:
    """The stanza that is to serve a cluster; None where the server's own tools are. `repo` allows a new one.

    Fails where pgBackRest is asked for and cannot serve.
    """
    asked = params.tool == "pgbackrest" or bool(params.stanza or repo)
    if params.tool == "server":
        if asked:
            host.fail("tool: server knows no stanza and no repo; leave them out, or tool")
        return None
    program = host.which("pgbackrest") or ""
    if not program and not (asked and host.check and host.shadow.brings_unknown_files):
        if asked:
            host.fail("pgBackRest is not installed on this host; install the package pgbackrest, or give tool: server")
        return None
    usual = params.stanza or cluster.name.strip("/").replace("/", "-")
    if not usual.replace("-", "").replace("_", "").replace(".", "").isalnum():
        host.fail("stanza: %r cannot be one: letters, digits, - _ and . are allowed" % usual)
    known = configured(host, usual)
    data = os.path.realpath(cluster.data)
    own = sorted(name for name, found in known.items() if os.path.realpath(found[0]) == data)
    if not asked and (not own or _archived_otherwise(host, cluster)):
        return None
    if len(own) > 1 and not params.stanza:
        host.fail("several stanzas are configured for %s: %s; name one with stanza" % (cluster.name, ", ".join(own)))
    name = params.stanza or (own[0] if own else usual)
    if name in known and name not in own:
        text = "the stanza %s is of %s (%s), %s lies in %s; name another"
        host.fail(text % (name, known[name][0], known[name][1], cluster.name, cluster.data))
    if name not in known and not repo:
        text = "no stanza %sis configured for %s (pg1-path=%s); write one into %s, or give repo to pg_archive"
        host.fail(text % (params.stanza + " " if params.stanza else "", cluster.name, cluster.data, FOLDER))
    return Stanza(host, cluster, name, program, known[name][1] if name in known else "")


def configured(host: Host, usual: str) -> Dict[str, Any]:
    """The stanzas of pgBackRest's files: name, then its data directory and the file that names it."""
    found: Dict[str, Any] = {}
    names = [path for path in MAIN if host.stat(path) is not None][:1]
    # Also what an earlier task of a preview would have written.
    drop_ins = {name for name in _clusters.listing(FOLDER) if name.endswith(".conf")} | {usual + ".conf"}
    names += [os.path.join(FOLDER, name) for name in sorted(drop_ins)]
    for path in names:
        section = ""
        for line in host.read(path).decode("utf-8", "replace").split("\n") if host.stat(path) is not None else []:
            line = line.strip()
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1]
            name, _, value = line.partition("=")
            if name.strip() == "pg1-path" and section.partition(":")[0] != "global":
                found[section] = (value.strip(), path)
    return found


def _archived_otherwise(host: Host, cluster: Any) -> bool:
    """Whether a cluster, running or not, has an archive_command that is not pgBackRest's."""
    program = os.path.join(_clusters.bin_folder(host, cluster.version), "postgres")
    words = [program, "-D", cluster.config if cluster.debian else cluster.data, "-C", "archive_command"]
    said = host.query(as_account(cluster.owner if os.geteuid() == 0 else "", words), cwd="/").stdout.strip()
    return bool(said) and "pgbackrest" not in said


class Stanza:
    """pgBackRest for one cluster: its backups, and its archive as `_wal.Folder` is one."""

    def __init__(self, host: Host, cluster: Any, name: str, program: str, file: str) -> None:
        self.host = host
        self.cluster = cluster
        self.name = name
        self.program = program
        # Where it is configured; empty for one that is not yet.
        self.file = file
        # A preview of what is not installed or declared yet has nobody to ask.
        self.there = bool(program) and not (host.check and (not file or not os.path.exists(file)))
        self.place = "the repository of the stanza %s" % name
        # The folders of the cluster's archive, each as (number of its repository, path in it).
        self._archives: List[Any] = []

    # --- the program ---

    def ask(self, command: str, *rest: str) -> str:
        """What a command answers. Raises Failed with the program's own words."""
        done = self.host.query(self._words(command, rest), cwd="/", env={"HOME": "/"})
        if done.rc != 0:
            raise Failed("pgbackrest %s: %s" % (command, told(done.stderr or done.stdout or done.error)))
        return str(done.stdout)

    def act(self, command: str, text: str, *rest: str) -> None:
        """Let a command that takes long do its work; its warnings are told. Raises Failed with its own words."""
        program = Program(self._words(command, rest), {"HOME": "/"})
        try:
            flow(self.host, [program], text=text)
        except Failed as problem:
            raise Failed("pgbackrest %s: %s" % (command, told(str(problem).partition("failed: ")[2]))) from None
        warned = told(program.said.decode("utf-8", "replace"))
        if warned:
            self.host.warn("pgbackrest %s: %s" % (command, warned))

    def _words(self, command: str, rest: Sequence[str]) -> List[str]:
        words = [self.program, "--stanza=%s" % self.name] + list(QUIET) + [command] + list(rest)
        return as_account(self.cluster.owner if os.geteuid() == 0 else "", words)

    # --- what there is ---

    def info(self) -> Dict[str, Any]:
        """All that `info` says of the stanza. Raises Failed."""
        import json

        try:
            return dict(json.loads(self.ask("info", "--output=json"))[0])
        except (ValueError, IndexError):
            raise Failed("pgbackrest info says nothing of the stanza %s" % self.name) from None

    def trouble(self) -> Dict[int, str]:
        """What is wrong with the repositories: the code, and the words for it. Raises Failed."""
        found = {}
        for repo in self.info()["repo"]:
            if repo["status"]["code"] not in (OK, EMPTY):
                found[int(repo["status"]["code"])] = "repo%s: %s" % (repo["key"], repo["status"]["message"])
        return found

    def bases(self, system: str = "", segment_size: int = 16 << 20) -> List[backups.Backup]:
        """Its backups as bases of a recovery, oldest first; `folder` of one is its label. Raises Failed."""
        info = self.info()
        servers = {(db["repo-key"], db["id"]): db for db in info["db"] if system in ("", str(db["system-id"]))}
        self._archives = [(entry["database"]["repo-key"], "archive/%s/%s" % (self.name, entry["id"]))
                          for entry in info["archive"] if _server_of(entry) in servers]  # fmt: skip
        if not info["backup"]:
            wrong = "; ".join(self.trouble().values())
            if wrong:
                raise Failed("%s cannot be used: %s" % (self.place, wrong))
        found = [self._base(entry, servers[_server_of(entry)], segment_size) for entry in info["backup"]
                 if _server_of(entry) in servers and entry["archive"]["start"]]  # fmt: skip
        return sorted(found, key=lambda base: base.finished)

    def _base(self, entry: Dict[str, Any], server: Dict[str, Any], segment_size: int) -> backups.Backup:
        sizes, times = entry["info"], entry["timestamp"]
        first, last = entry["archive"]["start"], entry["archive"]["stop"]
        # Versions before 2.41 tell no LSN: where the segment begins, then.
        lsn = entry.get("lsn") or {"start": _wal.begins(first, segment_size), "stop": _wal.begins(last, segment_size)}
        base = {
            "timeline": int(first[:8], 16), "start_lsn": lsn["start"], "end_lsn": lsn["stop"],
            "size": sizes["size"], "segment_size": segment_size,
            "repo": entry["database"]["repo-key"], "type": entry["type"], "prior": entry["prior"] or "",
            "wal": [first, last], "error": bool(entry.get("error")),
            "stored": sizes["repository"].get("delta") or 0,
        }  # fmt: skip
        # Whole seconds, cut off: it is only for moments after its end, which is never told too early.
        data = {"name": self.name, "kind": _bases.KIND, "files": [], "started": backups.moment(times["start"]),
                "finished": backups.moment(times["stop"] + 1), "base": base,
                "server": {"major": server["version"], "system_identifier": server["system-id"]}}  # fmt: skip
        return backups.Backup(str(entry["label"]), data, None)

    def spaces(self, base: backups.Backup) -> Dict[str, str]:
        """The tablespaces of a backup: where each one lay. Raises Failed."""
        import json

        # `info` tells of them from 2.39 on only. The manifest's targets stand near its beginning.
        path = "backup/%s/%s/backup.manifest" % (self.name, base.folder)
        lines = self.ask("repo-get", path, "--repo=%d" % base.data["base"]["repo"]).split("\n")
        if "[backup:target]" not in lines:
            raise Failed("%s holds no manifest of %s" % (self.place, base.folder))
        found = {}
        for line in lines[lines.index("[backup:target]") + 1 :]:
            name, _, value = line.partition("=")
            if not value:
                break
            if name.startswith("pg_tblspc/"):
                found[name[len("pg_tblspc/") :]] = str(json.loads(value)["path"])
        return found

    def restore(self, base: backups.Backup, folder: str, spaces: Dict[str, str]) -> None:
        """A backup's files into an empty folder, each with its checksum, and nothing of a recovery. Raises Failed."""
        maps = ["--tablespace-map=%s=%s" % (oid, place) for oid, place in sorted(spaces.items())]
        options = ["--set=%s" % base.folder, "--repo=%d" % base.data["base"]["repo"], "--pg1-path=%s" % folder]
        self.act("restore", "restoring %s" % base.folder, "--type=none", *(options + maps))

    # --- its archive, as _wal.Folder ---

    def segments(self, log: int = 0) -> Dict[str, float]:
        import json

        found: Dict[str, float] = {}
        for repo, place in self._archives:
            # One folder at a time, and none before the first needed: an archive may hold hundreds of thousands.
            folders = self.ask("repo-ls", place, "--repo=%d" % repo, "--filter=^[0-9A-F]{16}$").split()
            for folder in folders:
                if int(folder[8:], 16) < log:
                    continue
                listed = json.loads(self.ask("repo-ls", "%s/%s" % (place, folder), "--repo=%d" % repo, "--output=json"))
                for name, entry in listed.items():
                    if _wal.is_segment(name[:24]) and name[24:25] == "-":
                        found[name[:24]] = float(entry["time"])
        return found

    def histories(self) -> List[int]:
        names = self._names("", "[.]history$")
        return sorted({int(name[:8], 16) for name in names if len(name) == 16})

    def history(self, timeline: int) -> List[str]:
        name = "%08X.history" % timeline
        for repo, place in self._archives:
            if name in self._names("", name):
                return self.ask("repo-get", "%s/%s" % (place, name), "--repo=%d" % repo).split("\n")
        return []

    def holds(self, name: str) -> bool:
        return bool(self._names("/" + name[:16] if _wal.is_segment(name) else "", "^%s(-|$)" % name))

    def restore_command(self, folder: str) -> str:
        # The server in use may hold the lock of the asynchronous archiver.
        words = 'pgbackrest --stanza=%s --pg1-path="%s" --no-archive-async archive-get %%f "%%p"'
        return words % (self.name, folder.replace("%", "%%"))

    def _names(self, below: str, pattern: str) -> List[str]:
        found: List[str] = []
        for repo, place in self._archives:
            found += self.ask("repo-ls", place + below, "--repo=%d" % repo, "--filter=%s" % pattern).split()
        return found


def _server_of(entry: Dict[str, Any]) -> Tuple[int, int]:
    """Which of the stanza's servers an archive or a backup is of: the repository's number, and the server's in it."""
    return entry["database"]["repo-key"], entry["database"]["id"]


def archive_command(name: str) -> str:
    return "pgbackrest --stanza=%s archive-push %%p" % name


def told(text: str) -> str:
    """What the program has said, in one line."""
    return " ".join(line.strip() for line in text.split("\n") if line.strip())
