"""Cut a host off from all but the control side, for as long as an incident takes, and undo it without a trace.

Everything is dropped, open sessions and traffic of containers included, over IPv4 and IPv6, in both directions, but for
the loopback, the connection that opsplay comes through, and what `allow_from` names. It is a table of nftables of its
own, in force after a restart too; other firewalls' rules stay as they are. The control side proves a new connection;
without one the host opens again by itself. What passes between containers on one bridge does not go through the host's
filter and is not cut.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent import connection as connections
from opsplay.agent.connection import Connection
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Params, Str
from opsplay.agent.spec import List as ListOf
from opsplay.agent.way_back import way_back
from opsplay.modules.firewall._nft import Table
from opsplay.modules.firewall._rules import network

PARAMS = {
    "state": Choice("isolated", "absent", default="isolated", help="Cut the host off, or undo that"),
    "allow_from": ListOf(
        of=Str(), default=[],
        help="Further addresses and networks that may reach the host by SSH, and be answered: other people's machines",
    ),
    "dhcp": Bool(default=True, help="Let the host renew its address, without which it would lose it"),
    "reason": Str(default="", help="Why, for those who find the host like this"),
    "confirm_within": Int(
        min=0, max=3600, default=60,
        help="Seconds in which a new connection has to prove that control is kept; 0 isolates without a way back",
    ),
}  # fmt: skip
CHECK = "exact"
ABOUT = "isolated from the network"
SSH = 22

BODY = """\
    chain input {{
        type filter hook input priority -300; policy drop;
        iifname "lo" accept
{incoming}    }}
    chain output {{
        type filter hook output priority -300; policy drop;
        oifname "lo" accept
{outgoing}    }}
    chain forward {{
        type filter hook forward priority -300; policy drop;
    }}
"""
# Without these an address of IPv6 cannot be reached on its own network.
NEIGHBOURS = "        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"


def run(host: Host, params: Params) -> Dict[str, Any]:
    table = Table(host, "isolate", ABOUT + (": " + params.reason if params.reason else ""))
    if params.state == "absent":
        table.remove()
        return host.outcome(isolated=False)
    found = connections.find()
    allowed = everybody(host, params, found)
    port = found.server_port if found is not None else SSH
    body = rules(allowed, port, params.dhcp)
    if table.is_loaded() and is_so(host, table, body):
        return host.outcome(isolated=True, allowed=allowed)
    back = ["nft", "--file", table.path] if host.exists(table.path) else ["nft", "delete", "table", "inet", table.name]
    with way_back(host, "isolate", params.confirm_within, table.paths, [back, ["systemctl", "daemon-reload"]]) as armed:
        table.put(body)
    pending = armed.told()
    return host.outcome(isolated=True, allowed=allowed, **({"way_back": pending} if pending else {}))


def is_so(host: Host, table: Table, body: str) -> bool:
    """Whether the table on disk is this one already."""
    text = host.read(table.path).decode("utf-8", "replace") if host.exists(table.path) else ""
    return body in text and host.exists(table.unit) and host.exists(table.wanted)


def everybody(host: Host, params: Params, found: Optional[Connection]) -> List[str]:
    """All who may still reach the host; the control side first. Fails where nobody could."""
    allowed = [found.client] if found is not None else []
    for name in params.allow_from:
        try:
            allowed.append(network(name))
        except ValueError:
            host.fail("allow_from: %r is neither an address nor a network" % name)
    if not allowed:
        host.fail("nobody could reach this host any more: it is not worked on over SSH, and allow_from names nobody")
    return list(dict.fromkeys(allowed))


def rules(allowed: List[str], port: int, dhcp: bool) -> str:
    """The table's body."""
    incoming, outgoing = "", ""
    for address in allowed:
        family = "ip6" if ":" in address else "ip"
        incoming += "        %s saddr %s tcp dport %d accept\n" % (family, address, port)
        outgoing += "        %s daddr %s tcp sport %d accept\n" % (family, address, port)
    if any(":" in address for address in allowed):
        incoming += NEIGHBOURS
        outgoing += NEIGHBOURS
    if dhcp:
        incoming += "        udp sport 67 udp dport 68 accept\n"
        outgoing += "        udp sport 68 udp dport 67 accept\n"
    return BODY.format(incoming=incoming, outgoing=outgoing)
