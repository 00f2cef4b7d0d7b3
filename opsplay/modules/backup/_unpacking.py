"""The archives of a set on their way back: compared first, unpacked beside, swapped in by renames."""

from __future__ import annotations

import os
import stat
import time
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent import backups, exchange, files, pipeline
from opsplay.agent.cipher import SUFFIXES, Decipher, private_folder
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, Tap
from opsplay.modules.backup import _trees
from opsplay.modules.backup._trees import Member, tree

# Differences that are told by name.
TOLD_MOST = 50
# Bytes that a list of files may have at most.
LIST_MOST = 1 << 30


class Unpacking:
    """One archive of a set. `root` is where its paths begin: / but for a look at them."""

    def __init__(self, host: Host, backup: backups.Backup, part: Dict[str, Any], key: Optional[Decipher]) -> None:
        self.name = str(part["name"])
        self.paths = [str(path) for path in part["paths"]]
        self._host = host
        self._key = key
        self._path = found_in(backup, self.name + ".tar")
        self.swapped: List[Tuple[str, str]] = []

    def differences(self) -> List[str]:
        """What is not as the archive has it: tar's own comparison, and what is there besides. Raises Failed."""
        said = self.tar(["--compare", "--directory=/"], fails=False)
        found = [line.rstrip("\n") for line in said if line.strip()]
        listed = self.tar(["--list", "--quoting-style=escape"], most=LIST_MOST)
        known = {_trees.absolute(_trees.unescaped(line)) for line in listed}
        for path in self.paths:
            if self._host.stat(path) is not None:
                found += ["%s: not in the archive" % name for name, _ in tree(path) if name not in known]
        return found

    def sweep(self) -> None:
        """Remove hidden folders that nobody works in any more."""
        for path in self.paths:
            self._host.temporary.sweep(os.path.dirname(path))

    def swap(self, stamp: str) -> None:
        """Unpack each path beside itself, then give it its name; the old one keeps a dated name. Raises Failed,
        OSError."""
        ready = []
        for path in self.paths:
            self._host.directory(os.path.dirname(path), mode=0o755)
            hidden = self._host.temporary.folder(os.path.dirname(path))
            self._host.progress("unpacking %s" % path)
            self.unpack(path, hidden)
            new = os.path.join(hidden, path.lstrip("/"))
            brought_to_disk(new)
            ready.append((path, new))
        with self._host.critical(backups.PUBLISHING):
            for path, new in ready:
                old = kept_name(path, stamp) if os.path.lexists(path) else ""
                give_name(new, path, old)
                self.swapped.append((path, old))

    def unpack(self, path: str, hidden: str) -> None:
        """Unpack one path below a hidden folder. Raises Failed, OSError."""
        try:
            self._extract([path], hidden)
        except Failed as problem:
            if "Cannot hard link" not in str(problem) or len(self.paths) < 2:
                raise
            # Its content lies in the archive where it came first: below another path.
            self._host.warn("%s: hard links from %s to other paths become files of their own" % (self.name, path))
            self._extract(self.paths, hidden)

    def _extract(self, paths: List[str], hidden: str) -> None:
        words = ["--extract", "--acls", "--xattrs", "--same-owner", "--preserve-permissions", "--directory=%s" % hidden]
        self.tar(words + ["--"] + [path.lstrip("/") for path in paths], env={"LC_ALL": "C"})

    def back(self) -> None:
        """Put the old ones back into their places, and remove the new ones. Raises OSError."""
        with self._host.critical(backups.PUBLISHING):
            for path, old in reversed(self.swapped):
                if old:
                    exchange.exchange(old, path)
                files.remove_tree(old or path)
                files.sync_directory(os.path.dirname(path))
        self.swapped = []

    def tar(
        self, words: List[str], fails: bool = True, most: int = 1 << 20, env: Optional[Dict[str, str]] = None
    ) -> List[str]:
        """Run tar on the decrypted archive; the lines that it printed, of many the last ones. Raises Failed."""
        argv = ["tar", "--file=-"] + words
        # A difference is an answer, not a failure.
        argv = argv if fails else ["/bin/sh", "-c", 'tar "$@" 2>&1; [ $? -le 2 ]', "tar"] + argv[1:]
        said = self.decrypted(self._path, [Program(argv, env)], most)
        return said.decode("utf-8", "surrogateescape").split("\n")

    def members(self) -> Dict[str, Member]:
        """What the archive holds, by name. Raises Failed."""
        folder = private_folder(self._host)
        try:
            self.decrypted(self._path, [_trees.reader(os.path.join(folder, "members"))])
            return _trees.members(os.path.join(folder, "members"))
        except (OSError, ValueError) as problem:
            raise Failed("what %s holds cannot be read: %s" % (self._path, problem)) from None
        finally:
            self._host.temporary.discard(folder)

    def decrypted(self, path: str, programs: List[Program], most: int = 1 << 20) -> bytes:
        """What programs make of a decrypted file; of much, the last bytes. Raises Failed."""
        said = Tap(keep=most, hashed=False)
        source = pipeline.opened(path, follow=False)
        try:
            steps: List[Any] = [self._key.program()] if self._key else []
            pipeline.flow(self._host, steps + programs + [said], source=source)
        finally:
            os.close(source)
        return said.kept


def kept_name(path: str, stamp: str) -> str:
    """The name that what is there is kept under: one that nothing bears."""
    name, number = "%s.old-%s" % (path, stamp), 1
    while os.path.lexists(name):
        number += 1
        name = "%s.old-%s-%d" % (path, stamp, number)
    return name


def give_name(new: str, path: str, old: str) -> None:
    """Let what is unpacked have its name, and what bears it now the name `old` (empty: there is none). Raises OSError.

    The new one bears the name `old` first; then one step puts both where they belong, so that a power cut never leaves
    the path without anything.
    """
    if not old:
        os.rename(new, path)
        files.sync_directory(os.path.dirname(path))
        return
    os.rename(new, old)
    try:
        exchange.exchange(old, path)
    except OSError:
        os.rename(old, new)
        raise


def brought_to_disk(path: str) -> None:
    """Fsync a file, or a folder with all that it holds. Raises OSError."""
    kind = os.lstat(path).st_mode
    if stat.S_ISDIR(kind):
        files.sync_tree(path)
    elif stat.S_ISREG(kind):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def stamp_now() -> str:
    return time.strftime(backups.STAMP, time.gmtime())


def found_in(backup: backups.Backup, name: str) -> str:
    """The path of a file of a set, encrypted or not. Raises Unreadable."""
    names = [name] + [name + suffix for suffix in SUFFIXES.values()]
    for entry in backup.files:
        if entry["name"] in names:
            return backup.path(entry["name"])
    raise backups.Unreadable("%s: its manifest has no file %s" % (backup.folder, name))


def archives_of(backup: backups.Backup) -> Dict[str, Any]:
    return {part["name"]: part for part in backup.data.get("parts", []) if part["kind"] == "archive"}


def validated(host: Host, commands: List[List[str]]) -> str:
    """What the first command that fails says; empty when all are content."""
    for argv in commands:
        done = host.query([str(word) for word in argv], timeout=60)
        if done.rc != 0:
            return "%s: %s" % (argv[0], done.stderr.strip() or done.stdout.strip() or done.error or done.rc)
    return ""


def told(lines: List[str]) -> str:
    """Differences as a text, by names alone: contents may be secret."""
    shown = lines[:TOLD_MOST]
    more = len(lines) - len(shown)
    return "".join(line + "\n" for line in shown) + ("and %d more\n" % more if more else "")
