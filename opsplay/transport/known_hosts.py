"""The host keys that the user has accepted: known_hosts files, read once, looked up by name."""

from __future__ import annotations

import base64
import binascii
import fcntl
import functools
import hashlib
import hmac
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path

from opsplay.errors import HostKeyError


@dataclass
class KnownHosts:
    """One file: entries by plain name, and the hashed and wildcard ones that must be tried one by one."""

    path: Path
    _plain: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    _hashed: list[tuple[bytes, bytes, str, bytes]] = field(default_factory=list)
    _patterns: list[tuple[list[str], str, bytes]] = field(default_factory=list)
    revoked: set[bytes] = field(default_factory=set)
    _authorities: list[list[str]] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> KnownHosts:
        """Read a file; one that does not exist is empty. Lines that are no entries are passed over, as ssh does."""
        known = cls(path)
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            return known
        for line in lines:
            known._add_line(line.split())
        return known

    def _add_line(self, words: list[str]) -> None:
        marker = ""
        if words and words[0].startswith("@"):
            marker = words.pop(0)
        if len(words) < 3 or words[0].startswith("#"):
            return
        names, kind = words[0], words[1]
        try:
            key = base64.b64decode(words[2])
        except (ValueError, binascii.Error):
            return
        if marker == "@revoked":
            self.revoked.add(key)
        elif marker == "@cert-authority":
            self._authorities.append(names.split(","))
        elif names.startswith("|1|"):
            self._add_hashed(names, kind, key)
        elif any(char in names for char in "*?!"):
            self._patterns.append((names.split(","), kind, key))
        else:
            for name in names.split(","):
                self._plain.setdefault(name.lower(), []).append((kind, key))

    def _add_hashed(self, names: str, kind: str, key: bytes) -> None:
        try:
            salt, digest = (base64.b64decode(part) for part in names.split("|")[2:4])
        except (ValueError, binascii.Error):
            return
        self._hashed.append((salt, digest, kind, key))

    def lookup(self, name: str) -> list[tuple[str, bytes]]:
        """(key type, key) of every entry for a host; `name` is as in the file: `host` or `[host]:port`."""
        name = name.lower()
        found = list(self._plain.get(name, ()))
        for salt, digest, kind, key in self._hashed:
            if hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest):
                found.append((kind, key))
        for patterns, kind, key in self._patterns:
            if matches(name, patterns):
                found.append((kind, key))
        return found

    def has_authority(self, name: str) -> bool:
        """Whether certificates may speak for a host; `name` is as in the file."""
        return any(matches(name.lower(), patterns) for patterns in self._authorities)

    def add(self, name: str, kind: str, key: bytes) -> None:
        """Accept a key for a host, in the file and here."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = f"{name} {kind} {base64.b64encode(key).decode()}\n"
        with open(os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            whole = file.read(1) in (b"", b"\n")
            file.write(b"" if whole else b"\n")
            file.write(line.encode())
        self._plain.setdefault(name.lower(), []).append((kind, key))


def matches(name: str, patterns: list[str]) -> bool:
    """Whether a host's name matches a comma list of patterns, of which those with `!` exclude."""
    wanted = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if _regex(pattern.removeprefix("!").lower()).fullmatch(name):
            if negated:
                return False
            wanted = True
    return wanted


@functools.cache
def _regex(pattern: str) -> re.Pattern[str]:
    """A pattern of ssh: * and ? are its only signs, brackets stand for themselves."""
    return re.compile("".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern), re.DOTALL)


_loaded: dict[Path, KnownHosts] = {}
_lock = threading.Lock()


def load(path: str) -> KnownHosts:
    """A file's entries, read once a process."""
    key = Path(path).expanduser()
    with _lock:
        if key not in _loaded:
            _loaded[key] = KnownHosts.load(key)
        return _loaded[key]


def fingerprint(key: bytes) -> str:
    """A key's fingerprint as ssh shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def entry_name(host: str, port: int) -> str:
    """How known_hosts names a host on a port."""
    return host if port == 22 else f"[{host}]:{port}"


def unknown_key(name: str, kind: str, key: bytes, path: Path) -> HostKeyError:
    """The refusal of a host that is not on record."""
    return HostKeyError(
        f"the host key of {name} is not known: {kind} {fingerprint(key)}",
        hint=f"compare it with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub there), then add it with "
        f"`ssh-keyscan` to {path}, or accept new keys with --accept-new-host-keys",
    )


def changed_key(name: str, kind: str, key: bytes, path: Path) -> HostKeyError:
    """The refusal of a host whose key is not the one on record."""
    return HostKeyError(
        f"the host key of {name} has CHANGED: it shows {kind} {fingerprint(key)}, another is on record in {path}",
        hint=f"if the host was rebuilt, forget the old key with `ssh-keygen -f {path} -R '{name}'`; "
        "if it was not, somebody may be listening",
    )
