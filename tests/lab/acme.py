"""A certificate authority for tests that speaks ACME: Pebble, on a lab host, with a name server that obeys.

authority = Acme.start(host, {"a.example": "10.0.0.1"})
authority.url, authority.ca_file     # for an ACME client
authority.root()                     # what it issues leads to this
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from opsplay.lab import LabHost
from tests.lab.certificates import make

FOLDER = "/srv/acme"
PORT, MANAGEMENT, NAMES, NAMES_MANAGEMENT = 14000, 15000, 8053, 8055
UNITS = "acme acme-names"


@dataclass(frozen=True)
class Acme:
    """Pebble on a host. It asks for HTTP-01 on port 80, and for all names at its own name server."""

    host: LabHost

    @classmethod
    def start(cls, host: LabHost, names: Mapping[str, str], *, days: int = 90) -> Acme:
        """Install Pebble (Debian 12 has it), and start it. `names` are domains with their addresses."""
        if host.run("test -e /usr/bin/pebble", check=False).returncode:
            host.run("apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y pebble", timeout=180)
        authority = cls(host)
        root = make("Lab ACME server CA", ca=True)
        server = make("acme", ["acme", host.name, host.address, "127.0.0.1"], root)
        folder = host.root / FOLDER.lstrip("/")
        folder.mkdir(exist_ok=True)
        config = {
            "listenAddress": f"0.0.0.0:{PORT}", "managementListenAddress": f"0.0.0.0:{MANAGEMENT}",
            "certificate": f"{FOLDER}/server.pem", "privateKey": f"{FOLDER}/server.key", "httpPort": 80, "tlsPort": 443,
            "ocspResponderURL": "", "externalAccountBindingRequired": False,
            "certificateValidityPeriod": days * 86400, "domainBlocklist": ["refused.example"],
        }  # fmt: skip
        files = {"ca.pem": root.pem, "server.pem": server.pem, "server.key": server.key_pem}
        for name, text in {**files, "config.json": json.dumps({"pebble": config})}.items():
            (folder / name).write_text(text)
        authority._run()
        for name, address in names.items():
            authority.resolve(name, address)
        return authority

    def _run(self) -> None:
        unit = ["systemd-run", "--quiet", "--collect"]
        off = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "", "-defaultIPv4", ""]
        names = ["pebble-challtestsrv", "-dns01", f"127.0.0.1:{NAMES}", "-management", f":{NAMES_MANAGEMENT}", *off]
        self.host.run([*unit, "--unit=acme-names", *names])
        # No pauses, no refusals at random, no proof that still counts from the last time.
        quiet = ["-E", "PEBBLE_VA_NOSLEEP=1", "-E", "PEBBLE_WFE_NONCEREJECT=0", "-E", "PEBBLE_AUTHZREUSE=0"]
        pebble = ["pebble", "-config", f"{FOLDER}/config.json", "-dnsserver", f"127.0.0.1:{NAMES}", "-strict"]
        self.host.run([*unit, *quiet, "--unit=acme", *pebble])
        ask = f"curl -s -o /dev/null --cacert {FOLDER}/ca.pem"
        both = f"{ask} https://127.0.0.1:{PORT}/dir && {ask} http://127.0.0.1:{NAMES_MANAGEMENT}/"
        self.host.run(f"for i in $(seq 100); do {both} && exit; sleep 0.1; done; exit 1", timeout=30)

    def stop(self) -> None:
        """The end of it, with all accounts."""
        self.host.run(f"systemctl stop {UNITS}", check=False)

    @property
    def url(self) -> str:
        return f"https://{self.host.address}:{PORT}/dir"

    @property
    def ca_file(self) -> str:
        """The text of the file that an ACME client trusts the server by."""
        return (self.host.root / FOLDER.lstrip("/") / "ca.pem").read_text()

    def root(self) -> str:
        """The root of what it issues; a new one at each start."""
        ask = f"curl -s --cacert {FOLDER}/ca.pem https://127.0.0.1:{MANAGEMENT}/roots/0"
        return self.host.run(ask).stdout

    def resolve(self, name: str, address: str) -> None:
        """Let a name lead to an address."""
        self._tell("clear-a", {"host": name})
        self._tell("add-a", {"host": name, "addresses": [address]})

    def hooks(self) -> dict[str, str]:
        """Commands for a client that make and remove the DNS record of a challenge."""
        at = f"http://{self.host.address}:{NAMES_MANAGEMENT}"
        name = "_acme-challenge.$CERTBOT_DOMAIN."
        add = f'curl -sf -d "{{\\"host\\":\\"{name}\\",\\"value\\":\\"$CERTBOT_VALIDATION\\"}}" {at}/set-txt'
        clear = f'curl -sf -d "{{\\"host\\":\\"{name}\\"}}" {at}/clear-txt'
        return {"auth_hook": add, "cleanup_hook": clear}

    def requests(self) -> int:
        """How many requests it has had from clients."""
        journal = self.host.run("journalctl -u acme -o cat --no-pager").stdout
        return sum(line.endswith(" -> calling handler()") for line in journal.splitlines())

    def _tell(self, what: str, data: Mapping[str, object]) -> None:
        address = f"http://127.0.0.1:{NAMES_MANAGEMENT}/{what}"
        self.host.run(["curl", "-sf", "-d", json.dumps(data), address])
