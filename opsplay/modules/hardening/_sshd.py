"""sshd's configuration: settings as text, what the whole of it comes to for a connection, tried on a copy."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent.connection import Connection
from opsplay.agent.host import Host

MAIN = "/etc/ssh/sshd_config"
FOLDER = "/etc/ssh/sshd_config.d"
INCLUDE = "Include %s/*.conf" % FOLDER
SECONDS = 30
# sshd_config(5): these take one value a line, and may stand several times.
REPEATED = ("acceptenv", "hostcertificate", "hostkey", "listenaddress", "port", "setenv")
# sshd_config(5): these take a list with commas; the others a list with blanks.
WITH_COMMAS = ("casignaturealgorithms", "ciphers", "hostbasedacceptedalgorithms", "hostkeyalgorithms", "kexalgorithms",
               "macs", "pubkeyacceptedalgorithms", "pubkeyauthoptions")  # fmt: skip


def value_text(value: Any) -> str:
    """A single value as sshd_config(5) writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).strip()


def lines_of(settings: Dict[str, Any]) -> List[str]:
    """`Keyword value` for each setting, in their order."""
    found = []
    for key, value in settings.items():
        values = [value_text(item) for item in (value if isinstance(value, (list, tuple)) else [value])]
        if key.lower() in REPEATED:
            found += ["%s %s" % (key, item) for item in values]
        else:
            found.append("%s %s" % (key, ("," if key.lower() in WITH_COMMAS else " ").join(values)))
    return found


def text_of(settings: Dict[str, Any], match: List[Dict[str, Any]]) -> str:
    """A drop-in's content. Match blocks stand at its end: they reach to the end of the file."""
    text = ["# Managed by opsplay: changes made here are lost."] + lines_of(settings)
    for block in match:
        text += ["", "Match %s" % block["criteria"]] + ["    " + line for line in lines_of(block["settings"])]
    return "\n".join(text) + "\n"


class Trial:
    """A copy of sshd's configuration on which a change is tried."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.folder = host.temporary.folder("/run")
        os.mkdir(self.folder + "/sshd_config.d", 0o700)
        self.main = self.folder + "/sshd_config"

    def fill(self, changes: Dict[str, Optional[str]]) -> None:
        """Copy what is there, or would be in a preview, with some files' content changed; None for gone."""
        main = changes.get(MAIN) or self.host.read(MAIN).decode("utf-8", "replace")
        self._put(self.main, main.replace(FOLDER + "/", self.folder + "/sshd_config.d/"))
        names = self.host.names(FOLDER) if self.host.is_directory(FOLDER) else []
        for path in sorted({os.path.join(FOLDER, name) for name in names} | set(changes) - {MAIN}):
            text = changes[path] if path in changes else self.host.read(path).decode("utf-8", "replace")
            if text is not None:
                self._put("%s/sshd_config.d/%s" % (self.folder, os.path.basename(path)), text)

    @staticmethod
    def _put(path: str, text: str) -> None:
        with open(path, "w") as file:
            file.write(text)

    def error(self) -> str:
        """What sshd says against the configuration, with the real paths; empty when it is valid."""
        done = self.host.query([program(self.host), "-t", "-f", self.main], timeout=SECONDS)
        return self._plain(done.stderr.strip() or "exit code %d" % done.rc) if done.rc else ""

    def _plain(self, text: str) -> str:
        return text.replace(self.folder + "/sshd_config.d/", FOLDER + "/").replace(self.main, MAIN).replace("\r", "")

    def effective(self, connection: Optional[Connection], before: str = "") -> Dict[str, Tuple[str, ...]]:
        """Every keyword (in lower case) with the values that hold for a connection, `before` standing first."""
        path = self.main
        if before:
            path = self.folder + "/wanted"
            with open(self.main) as file:
                self._put(path, before + "\n" + file.read())
        done = self.host.query([program(self.host), "-T", "-f", path] + about(connection), timeout=SECONDS)
        if done.rc != 0:
            self.host.fail("sshd cannot say what its configuration comes to: %s" % self._plain(done.stderr.strip()))
        return parsed(done.stdout)

    def discard(self) -> None:
        self.host.temporary.discard(self.folder)


def program(host: Host) -> str:
    """sshd wants to be called by its full path."""
    found = host.which("sshd")
    if found is None:
        host.fail("there is no sshd on this host; install openssh-server first")
    return found


def about(connection: Optional[Connection]) -> List[str]:
    """The options that have sshd judge Match blocks for a connection."""
    if connection is None:
        return ["-C", "user=root,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"]
    user, client = connection.user or "root", connection.client
    values = (user, client, client, connection.server, connection.server_port)
    return ["-C", "user=%s,host=%s,addr=%s,laddr=%s,lport=%d" % values]


def parsed(text: str) -> Dict[str, Tuple[str, ...]]:
    """What `sshd -T` prints: a keyword and its value a line, some several times."""
    found: Dict[str, Tuple[str, ...]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found[key] = found.get(key, ()) + (value.strip(),)
    return found


def setters(host: Host, key: str) -> List[str]:
    """The places that set a keyword, as path:line."""
    paths = [os.path.join(FOLDER, name) for name in (host.names(FOLDER) if host.is_directory(FOLDER) else [])]
    found = []
    for path in paths + [MAIN]:
        for number, line in enumerate(host.read(path).decode("utf-8", "replace").splitlines(), 1):
            words = line.replace("=", " ").split()
            if words and words[0].lower() == key:
                found.append("%s:%d" % (path, number))
    return found
