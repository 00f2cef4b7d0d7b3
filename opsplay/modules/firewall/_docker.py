"""Ports that Docker publishes: it sends them past ufw, which sees only what is for the host itself.

Closed, they obey ufw's rules for incoming connections. What says so is a table of nftables of its own, which looks at
every connection whose destination was changed on its way, by the port that was asked for. Docker's own chains stay as
they are: Docker writes them anew when it starts, and each version in its own way.
"""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.modules.firewall._nft import Table
from opsplay.modules.firewall._rules import Noted
from opsplay.modules.firewall._ufw import SECONDS, Files

ABOUT = "ports that Docker publishes obey ufw"
BODY = """\
    chain forward {{
        type filter hook forward priority -10; policy accept;
        ct state new ct status dnat jump published
    }}
    chain published {{
        iifname "docker0" accept
        iifname "br-*" accept
{rules}    }}
"""


def close(host: Host, files: Files) -> bool:
    """Have published ports obey these rules. Returns whether that changed anything."""
    return Table(host, "docker", ABOUT).put(BODY.format(rules="".join(8 * " " + rule + "\n" for rule in rules(files))))


def leave_open(host: Host) -> bool:
    """Leave published ports to Docker, as it has them. Returns whether that changed anything."""
    return host.which("nft") is not None and Table(host, "docker", ABOUT).remove()


def rules(files: Files) -> List[str]:
    """ufw's rules for incoming connections in their order, about what was published; then its default."""
    found = [one for v6 in (False, True) for rule in files.rules(v6) for one in of_rule(rule, v6)]
    return found + ([] if files.policy("incoming") == "allow" else ["drop"])


def of_rule(rule: Noted, v6: bool) -> List[str]:
    """A rule as a line of nftables; none where it is about something else."""
    if rule.routed or not rule.way.startswith("in") or rule.proto not in ("any", "tcp", "udp"):
        return []
    family = "ip6" if v6 else "ip"
    words = ["meta nfproto %s" % ("ipv6" if v6 else "ipv4")]
    interface = rule.way.partition("_")[2]
    words += ['iifname "%s"' % interface] if interface else []
    words += ["%s saddr %s" % (family, rule.source)] if rule.source not in ("0.0.0.0/0", "::/0") else []
    words += ["ct original %s daddr %s" % (family, rule.to)] if rule.to not in ("0.0.0.0/0", "::/0") else []
    words.append("meta l4proto %s" % ("{ tcp, udp }" if rule.proto == "any" else rule.proto))
    words += ["th sport { %s }" % ports(rule.from_ports)] if rule.from_ports != "any" else []
    words += ["ct original proto-dst { %s }" % ports(rule.ports)] if rule.ports != "any" else []
    return [" ".join(words + ["accept" if rule.action in ("allow", "limit") else "drop"])]


def ports(text: str) -> str:
    """`80,443,6000:6007` as nftables writes it."""
    return ", ".join(part.replace(":", "-") for part in text.split(","))


def published(host: Host) -> List[Dict[str, Any]]:
    """Ports that Docker publishes to everywhere."""
    done = host.query(["iptables-save", "-t", "nat"], timeout=SECONDS)
    found = []
    for line in done.stdout.splitlines():
        words = line.split()
        if words[:2] != ["-A", "DOCKER"] or "DNAT" not in words or "--dport" not in words:
            continue
        address = words[words.index("-d") + 1] if "-d" in words and "!" not in words[: words.index("-d")] else ""
        if not address.startswith("127."):
            found.append({
                "port": int(words[words.index("--dport") + 1]), "proto": words[words.index("-p") + 1],
                "address": address or "0.0.0.0", "to": words[words.index("--to-destination") + 1],
            })  # fmt: skip
    return found
