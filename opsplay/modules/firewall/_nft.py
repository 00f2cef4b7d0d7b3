"""Tables of nftables that are opsplay's own: written to a file, checked, loaded at once, and loaded again at each boot.

Nothing of another firewall is touched, so that removing the table leaves all others as they were, byte for byte. What a
chain of such a table drops is dropped, whatever others accept.
"""

from __future__ import annotations

import os
from typing import List

from opsplay.agent.host import Host

FOLDER = "/etc/opsplay"
UNITS = "/etc/systemd/system"
SECONDS = 30

UNIT = """\
# Made by opsplay.
[Unit]
Description=opsplay: {about}
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
ConditionPathExists={path}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command}

[Install]
WantedBy=sysinit.target
"""


class Table:
    """One table of the family inet, and what keeps it over a restart of the host."""

    def __init__(self, host: Host, name: str, about: str) -> None:
        self.host = host
        self.name = "opsplay_" + name
        self.about = about
        self.path = "%s/%s.nft" % (FOLDER, name)
        self.unit = "%s/opsplay-%s.service" % (UNITS, name)
        self.wanted = "%s/sysinit.target.wants/opsplay-%s.service" % (UNITS, name)
        if host.which("nft") is None and not (host.check and host.shadow.brings_unknown_files):
            host.fail("nft is not installed on this host; install the package nftables first")

    @property
    def paths(self) -> List[str]:
        """Every file that belongs to it."""
        return [self.path, self.unit, self.wanted]

    def is_loaded(self) -> bool:
        return self.host.query(["nft", "list", "table", "inet", self.name], timeout=SECONDS).rc == 0

    def put(self, body: str) -> bool:
        """Have a table of this body, now and at every boot. Returns whether anything changed."""
        host = self.host
        text = "# Made by opsplay: %s.\ntable inet %s\ndelete table inet %s\ntable inet %s {\n%s}\n" % (
            self.about, self.name, self.name, self.name, body,
        )  # fmt: skip
        loaded = self.is_loaded()
        host.directory(FOLDER, mode=0o755)
        changed = host.write(self.path, text, mode=0o600, validate="nft --check --file %s")
        if changed or not loaded:
            host.must_run(["nft", "--file", self.path], foreseen=True, timeout=SECONDS)
        return self.keep("%s --file %s" % (host.which("nft") or "/usr/sbin/nft", self.path)) or changed or not loaded

    def keep(self, command: str) -> bool:
        """Have systemd run a command at every boot before there is a network."""
        host = self.host
        text = UNIT.format(about=self.about, path=self.path, command=command)
        changed = host.write(self.unit, text, mode=0o644)
        host.directory(os.path.dirname(self.wanted), mode=0o755)
        changed = host.link(self.wanted, self.unit) or changed
        if changed:
            host.must_run(["systemctl", "daemon-reload"], foreseen=True, timeout=SECONDS)
        return changed

    def remove(self) -> bool:
        """Have no such table, and nothing that would bring it back. Returns whether there was any."""
        host = self.host
        gone = [host.remove(path) for path in (self.wanted, self.unit, self.path)]
        if any(gone):
            host.must_run(["systemctl", "daemon-reload"], foreseen=True, timeout=SECONDS)
        if self.is_loaded():
            host.note("table inet %s\n" % self.name, "", "nftables")
            host.must_run(["nft", "delete", "table", "inet", self.name], foreseen=True, timeout=SECONDS)
            return True
        return any(gone)
