"""What keeps a firewall's change from cutting the connection that it comes through."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from opsplay.agent import connection
from opsplay.agent.connection import Connection
from opsplay.agent.host import Host
from opsplay.agent.spec import Params
from opsplay.modules.firewall._rules import decides, interface_of


def verdict(host: Host, files: Any, found: Connection) -> Tuple[str, str]:
    """What these rules make of a new connection like the one found: allow, limit, deny or reject; and why."""
    if found.is_v6 and not files.ipv6:
        return "deny", "IPv6 is off"
    interface = interface_of(host.query(["ip", "-o", "address", "show"]).stdout, found.server)
    rules = files.rules(found.is_v6)
    return decides(rules, files.policy("incoming"), found.client, found.server, found.server_port, interface)


def keep_connection(host: Host, params: Params, after: Any) -> None:
    """Refuse rules that would cut the connection that opsplay came through."""
    found = connection.find()
    if params.ssh_guard == "off" or not after.enabled or found is None:
        return
    decision, why = verdict(host, after, found)
    if decision not in ("allow", "limit"):
        host.fail(
            "these rules would cut the connection that opsplay came through, from %s to port %d: %s decides; put the "
            "rule {from: %s, port: %d, proto: tcp} before it, or set ssh_guard: allow"
            % (found.client, found.server_port, why, found.client, found.server_port),
            connection=told(found),
        )


def told(found: Connection) -> Dict[str, Any]:
    return {"client": found.client, "server": found.server, "port": found.server_port}
