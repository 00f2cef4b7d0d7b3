"""ufw's files: what they say, what ufw itself would make of them, and how they come into force.

Rules are tried on a copy of the files, by ufw's own program in a network namespace of its own: it judges and writes
what it will later read, and cannot reach the real firewall.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence

from opsplay.agent.host import Host
from opsplay.modules.firewall._rules import noted

DEFAULTS = "/etc/default/ufw"
CONF = "/etc/ufw/ufw.conf"
RULES, RULES6 = "/etc/ufw/user.rules", "/etc/ufw/user6.rules"
FRESH = "/usr/share/ufw/iptables"
# What a default, the log level or a rule may change.
FILES = (DEFAULTS, CONF, RULES, RULES6, "/etc/ufw/before.rules", "/etc/ufw/before6.rules", "/etc/ufw/after.rules",
         "/etc/ufw/after6.rules")  # fmt: skip
PROFILES = "/etc/ufw/applications.d"
POLICIES = {"ACCEPT": "allow", "DROP": "deny", "REJECT": "reject"}
CHAINS = {"incoming": "INPUT", "outgoing": "OUTPUT", "routed": "FORWARD"}
SECONDS = 60


class Files:
    """The content of ufw's files by path: those in force, or a candidate's."""

    def __init__(self, content: Dict[str, str]) -> None:
        self.content = content

    def setting(self, path: str, name: str, default: str) -> str:
        """A shell variable's value in a settings file."""
        for line in self.content.get(path, "").splitlines():
            key, equals, value = line.partition("=")
            if equals and key.strip() == name:
                return value.strip().strip("\"'")
        return default

    @property
    def enabled(self) -> bool:
        return self.setting(CONF, "ENABLED", "no").lower() == "yes"

    @property
    def ipv6(self) -> bool:
        return self.setting(DEFAULTS, "IPV6", "no").lower() == "yes"

    @property
    def logging(self) -> str:
        return self.setting(CONF, "LOGLEVEL", "low").lower()

    def policy(self, direction: str) -> str:
        """allow, deny or reject for incoming, outgoing or routed connections."""
        found = self.setting(DEFAULTS, "DEFAULT_%s_POLICY" % CHAINS[direction], "DROP")
        return POLICIES.get(found.upper(), found)

    def rules(self, v6: bool) -> List[Any]:
        return noted(self.content.get(RULES6 if v6 else RULES, ""))


def current(host: Host) -> Files:
    """What is in force, or what earlier tasks of a preview would have left."""
    return Files({path: host.read(path).decode("utf-8", "replace") for path in FILES if host.exists(path)})


def set_value(text: str, name: str, value: str) -> str:
    """A settings file with a variable set, where it stands or at the end."""
    lines, found = text.splitlines(), False
    for number, line in enumerate(lines):
        if line.partition("=")[0].strip() == name and "=" in line:
            lines[number], found = "%s=%s" % (name, value), True
    return "\n".join(lines + ([] if found else ["%s=%s" % (name, value)])) + "\n"


class Candidate:
    """A copy of ufw's files on which its program can be tried."""

    def __init__(self, host: Host, files: Files, fresh: bool) -> None:
        self.host = host
        self.folder = host.temporary.folder("/run")
        for path in ("/lib/ufw", "/usr/lib/ufw", PROFILES):
            os.makedirs(self.folder + path, 0o755, exist_ok=True)
            # ufw before 0.36.1 wants its own program to lie there; what is not in force runs none.
            if os.path.exists(path + "/ufw-init"):
                os.symlink(path + "/ufw-init", self.folder + path + "/ufw-init")
        for path, text in files.content.items():
            self.put(path, text)
        if fresh:
            for path in (RULES, RULES6):
                self.put(path, host.read(os.path.join(FRESH, os.path.basename(path))).decode())
        # On files that are not in force, ufw only writes.
        self.put(CONF, set_value(files.content.get(CONF, ""), "ENABLED", "no"))
        if host.is_directory(PROFILES):
            for path in [os.path.join(PROFILES, name) for name in host.names(PROFILES)]:
                self.put(path, host.read(path).decode("utf-8", "replace"))

    def put(self, path: str, text: str) -> None:
        copy = self.folder + path
        os.makedirs(os.path.dirname(copy), 0o755, exist_ok=True)
        with open(copy, "w") as file:
            file.write(text)
        os.chmod(copy, 0o640)

    def change(self, name: str, value: str, path: str) -> None:
        """Set a variable of a settings file."""
        with open(self.folder + path) as file:
            text = file.read()
        self.put(path, set_value(text, name, value))

    def tell(self, arguments: Sequence[str], what: str) -> None:
        """Run ufw on the copy; what it refuses fails the task in its own words."""
        argv = ["unshare", "--net", "ufw", "--datadir=" + self.folder] + list(arguments)
        done = self.host.query(argv, timeout=SECONDS, env={"LC_ALL": "C"})
        if done.rc != 0 or done.stderr.startswith("ERROR"):
            said = (done.stderr.strip() or done.stdout.strip() or done.error).replace("ERROR: ", "")
            self.host.fail("ufw refuses %s: %s" % (what, said))

    def files(self, enabled: bool) -> Files:
        """What ufw has written, with the firewall on or off."""
        found = {}
        for path in FILES:
            if os.path.exists(self.folder + path):
                with open(self.folder + path) as file:
                    found[path] = file.read()
        found[CONF] = set_value(found.get(CONF, ""), "ENABLED", "yes" if enabled else "no")
        return Files(found)

    def discard(self) -> None:
        self.host.temporary.discard(self.folder)


def is_loaded(host: Host, files: Files) -> bool:
    """Whether the kernel has just as many rules in ufw's own chains as its files: someone may have flushed them."""
    for path, program in ((RULES, "iptables-save"), (RULES6, "ip6tables-save")):
        if path == RULES6 and not files.ipv6:
            continue
        prefix = "-A ufw6-user" if path == RULES6 else "-A ufw-user"
        wanted = sum(line.startswith(prefix) for line in files.content.get(path, "").splitlines())
        done = host.query([program, "-t", "filter"], timeout=SECONDS)
        if sum(line.startswith(prefix) for line in done.stdout.splitlines()) != wanted:
            return False
    return True
