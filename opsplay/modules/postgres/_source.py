"""What is restored: a backup's folder, the link to the latest one, or a bare dump, in any format and encryption."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent import backups, signatures
from opsplay.agent.cipher import SUFFIXES, Decipher
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, Tap, flow, from_file, head_of
from opsplay.agent.sizes import tree_size
from opsplay.modules.postgres._server import Server

# The first bytes of a file, and what it is by them.
MAGIC = (
    (b"PGDMP", "custom"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"age-encryption.org/", "age"),
    (b"-----BEGIN AGE ENCRYPTED FILE", "age"),
    (b"-----BEGIN PGP MESSAGE", "gpg"),
)
HEAD = 512
# Bytes of old format OpenPGP packets that begin an encrypted message.
GPG_TAGS = (0x84, 0x85, 0x86, 0x8C, 0x8D, 0xC1, 0xD2)
# The last line of a whole plain dump.
PLAIN_END = b"PostgreSQL database dump complete"
# Zero bytes at the end of every tar archive.
TAR_END = 1024


class Key:
    """The private key of an encrypted dump, and the parameter that it is given as."""

    __slots__ = ("text", "passphrase", "parameter")

    def __init__(self, params: Any, parameter: str) -> None:
        self.text = str(params[parameter] or "")
        self.passphrase = str(params.key_passphrase or "")
        self.parameter = parameter


class Source:
    """A dump. `format` is custom, directory, tar or plain; `layers` are what the file at `path` is wrapped in."""

    def __init__(self, host: Host, path: str, backup: Optional[backups.Backup], key: Key) -> None:
        self.host = host
        self.path = path
        self.backup = backup
        self.format = ""
        self.layers: List[str] = []
        self._key = key
        self._deciphers: Dict[str, Decipher] = {}
        self._plain = ""

    def close(self) -> None:
        """Forget the key, and what was decrypted."""
        for decipher in self._deciphers.values():
            decipher.__exit__()
        self._deciphers = {}
        if self._plain:
            self.host.temporary.discard(self._plain)
            self._plain = ""

    @property
    def place(self) -> str:
        """Where pg_restore finds it: the dump itself, or the folder that it was decrypted to."""
        return self._plain or self.path

    @property
    def database(self) -> Dict[str, Any]:
        """What the manifest says of the database; empty for a bare dump."""
        return dict(self.backup.data.get("database") or {}) if self.backup else {}

    @property
    def taken(self) -> str:
        """When it was taken; of a bare dump, when its file was last written."""
        if self.backup:
            return str(self.database.get("snapshot_time") or self.backup.data["started"])
        return backups.moment(os.stat(self.path).st_mtime)

    @property
    def tables(self) -> List[Dict[str, Any]]:
        """Each table's schema, name and rows, by the manifest."""
        if self.backup and self.backup.data.get("content", "all") != "all":
            return []
        return list(self.database.get("tables") or [])

    @property
    def size(self) -> int:
        """Bytes that the database had, or a guess from the dump's size."""
        return int(self.database.get("size") or 0) or 5 * tree_size(self.path)

    @property
    def in_file(self) -> bool:
        """Whether pg_restore can read it where it lies, and so with several jobs."""
        return self.format == "directory" or (not self.layers and self.format in ("custom", "tar"))

    def describe(self) -> str:
        rows = sum(int(table["rows"]) for table in self.tables)
        held = ", %d tables with %d rows" % (len(self.tables), rows) if self.backup else ""
        return "%s of %s (%s%s)" % (self.path, self.taken, " in ".join([self.format] + self.layers), held)

    def feed(self, steps: List[Any], text: str = "", tick: Any = None) -> None:
        """Hand the dump, decrypted and decompressed, to a chain; `tick` is called now and then. Raises Failed."""
        from_file(self.host, self.path, self._unwrapping() + steps, text, tick)

    def _unwrapping(self) -> List[Program]:
        return [self._program(kind) for kind in self.layers]

    def unwrap(self) -> None:
        """Find out what the file is, layer by layer. Fails when it cannot be read."""
        if os.path.isdir(self.path):
            sealed = [kind for kind in ("age", "gpg") if os.path.isfile(os.path.join(self.path, "toc.dat." + kind))]
            if sealed:
                self._unseal(sealed[0])
            elif not os.path.isfile(os.path.join(self.path, "toc.dat")):
                self.host.fail("%s is no dump: it holds neither a manifest nor toc.dat" % self.path)
            self.format = "directory"
            return
        while not self.format:
            kind = kind_of_head(self._head())
            if kind in ("gzip", "zstd", "age", "gpg"):
                if len(self.layers) > 3:
                    self.host.fail("%s is wrapped more than three times" % self.path)
                self.layers.append(kind)
            else:
                self.format = kind

    def _head(self) -> bytes:
        try:
            return head_of(self.host, self.path, self._unwrapping(), HEAD)
        except Failed as problem:
            self.host.fail("%s cannot be read: %s" % (self.path, problem))

    def _unseal(self, kind: str) -> None:
        """Decrypt the files of a folder to another one that only this account may enter; a preview tries one."""
        self._plain = "" if self.host.check else self.host.temporary.folder("/var/tmp")
        names = [name for name in sorted(os.listdir(self.path)) if name.endswith("." + kind)]
        try:
            for name in ["toc.dat." + kind] if self.host.check else names:
                path = os.path.join(self.path, name)
                decipher, text = self._decipher(kind, path), "decrypting %s" % path
                if self.host.check:
                    from_file(self.host, path, [decipher.program()], text)
                else:
                    decipher.decrypt(path, os.path.join(self._plain, name[: -len(kind) - 1]), text)
        except Failed as problem:
            self.host.fail("%s cannot be read: %s" % (path, problem))
        self.layers.append(kind)

    def _program(self, kind: str) -> Program:
        if kind in SUFFIXES:
            return self._decipher(kind, self.path).program()
        if self.host.which(kind) is None:
            self.host.fail("%s needs %s, which is not installed" % (self.path, kind))
        return Program([kind, "-dcq"])

    def _decipher(self, kind: str, path: str) -> Decipher:
        if not self._key.text:
            self.host.fail("%s is encrypted with %s; give the private key as `%s`" % (path, kind, self._key.parameter))
        if kind not in self._deciphers:
            decipher = Decipher(self.host, kind, self._key.text, self._key.passphrase)
            self._deciphers[kind] = decipher.__enter__()
        return self._deciphers[kind]


def find(host: Host, params: Any, parameter: str = "key") -> Source:
    """The dump that `src` means; `db` chooses one of several in a backup. Fails when there is none.

    `parameter` is the one that the private key is given as.
    """
    path, db = os.path.realpath(host.expand(params.src)), params.db
    if not os.path.exists(path):
        host.fail("%s does not exist: there is nothing to restore" % path)
    backup = None
    if os.path.isdir(path) and os.path.isfile(os.path.join(path, backups.MANIFEST)):
        try:
            backup = backups.load(path)
        except backups.Unreadable as problem:
            host.fail(str(problem))
        signatures.require(host, backup, params.signed_by)
        path = os.path.join(path, main_file(host, backup, db))
    elif os.path.isdir(path) and os.path.lexists(os.path.join(path, backups.LATEST)):
        host.fail("%s holds several backups; name one, e.g. %s/latest" % (path, path))
    if backup is None:
        signatures.refuse_lone(host, path, params.signed_by)
    source = Source(host, path, backup, Key(params, parameter))
    if os.path.exists(path):
        try:
            source.unwrap()
        except BaseException:
            source.close()
            raise
    return source


def main_file(host: Host, backup: backups.Backup, db: str) -> str:
    """The dump's file in a backup. Fails when there is no or more than one that could be meant."""
    stem = (backup.data.get("database") or {}).get("name") or db
    names = sorted({entry["name"].partition("/")[0] for entry in backup.files} - {"globals.sql"})
    named = [name for name in names if name.startswith(stem + ".")] or names
    named = [name for name in named if not name.startswith("globals.")]
    if len(named) != 1:
        host.fail("%s holds no dump of %s: its files are %s" % (backup.folder, stem, ", ".join(names) or "none"))
    return str(named[0])


def kind_of_head(head: bytes) -> str:
    """What a stream is by its first bytes."""
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return "tar"
    return "gpg" if head[:1] and head[0] in GPG_TAGS else "plain"


def refuse_damage(source: Source, server: Server) -> None:
    """Fail when the dump is not whole: by its manifest's hashes, or else by reading all of it."""
    host = source.host
    if source.backup:
        host.progress("checking the hashes of %s" % source.backup.folder)
        damaged = backups.damage(host, source.backup)
        if damaged:
            host.fail("the backup is damaged: %s; nothing was touched" % "; ".join(damaged))
        return
    problem = trouble(source, server)
    if problem:
        host.fail("%s is no whole dump: %s; nothing was touched" % (source.path, problem))


def trouble(source: Source, server: Server) -> str:
    """What is wrong with a dump that has no manifest; empty when it can be read to its end."""
    reader = server.program("pg_restore")
    text = "reading %s to its end" % source.path
    try:
        if source.format == "directory":
            flow(source.host, [Program([reader, "-f", os.devnull, source.path])], text=text)
        elif source.format == "plain":
            end = Tap(keep=400, hashed=False)
            source.feed([end], text)
            if PLAIN_END not in end.kept:
                return "its last line is not that of pg_dump"
        else:
            # pg_restore takes a tar archive that was cut for a whole one; only its end shows it.
            end = Tap(keep=TAR_END, hashed=False)
            if source.format == "tar":
                source.feed([end])
                if end.kept != bytes(TAR_END):
                    return "the end of the tar archive is missing"
            source.feed([Program([reader, "-f", os.devnull])], text)
    except Failed as problem:
        return str(problem)
    return ""
