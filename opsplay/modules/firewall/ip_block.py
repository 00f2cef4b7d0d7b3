"""Block addresses, for a time or for good, without ever blocking the control side or the host itself.

The addresses lie in sets of a table of nftables of its own, which holds for the host and for what it forwards, such as
containers. Each block ends by itself when its time is over, also where the host was started anew meanwhile.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Tuple

from opsplay.agent import connection as connections
from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Params, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.firewall._nft import FOLDER, SECONDS, Table
from opsplay.modules.firewall._rules import network, within

PARAMS = {
    "ip": ListOf(of=Str(), required=True, aliases=("address",), help="The addresses or networks"),
    "state": Choice("present", "absent", default="present", help="Block them, or no longer"),
    "expires": Str(help="How long: seconds, or 30m, 12h, 7d; without it for good"),
    "reason": Str(default="", help="Why, for those who come upon it"),
    "never": ListOf(of=Str(), default=[], help="Networks that are never blocked: one's own, monitoring, partners"),
}
CHECK = "exact"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LIST = FOLDER + "/blocked"
LOADER = FOLDER + "/blocked.sh"

BODY = """\
    set v4 {
        type ipv4_addr
        flags interval, timeout
    }
    set v6 {
        type ipv6_addr
        flags interval, timeout
    }
    chain input {
        type filter hook input priority -250; policy accept;
        ip saddr @v4 drop
        ip6 saddr @v6 drop
    }
    chain forward {
        type filter hook forward priority -250; policy accept;
        ip saddr @v4 drop
        ip6 saddr @v6 drop
    }
"""

# Run at boot: what is over is left out, what has an end keeps it.
SCRIPT = """\
#!/bin/sh
# Made by opsplay: block what {list} names, each until its time.
nft --file {table} || exit 1
now=$(date +%s)
while read -r network until reason; do
    case $network in '' | '#'*) continue ;; *:*) set=v6 ;; *) set=v4 ;; esac
    if [ "$until" = 0 ]; then
        nft add element inet opsplay_block $set "{{ $network }}"
    elif [ "$until" -gt "$now" ]; then
        nft add element inet opsplay_block $set "{{ $network timeout $((until - now))s }}"
    fi
done < {list}
"""


def run(host: Host, params: Params) -> Dict[str, Any]:
    wanted = [checked(host, params, name) for name in params.ip]
    seconds = duration(host, params.expires)
    now = int(time.time())
    table = Table(host, "block", "addresses that are blocked")
    known = {name: entry for name, entry in listed(host).items() if not 0 < entry[0] <= now}
    blocked = dict(known)
    for name in wanted:
        if params.state == "absent":
            blocked.pop(name, None)
        elif name not in known or (known[name][0] == 0) != (seconds == 0):
            blocked[name] = (now + seconds if seconds else 0, params.reason)
    if not blocked:
        end(host, table)
        return host.outcome(blocked=[])
    begin(host, table)
    update(host, table, known, blocked, now)
    return host.outcome(blocked=[shown(name, entry) for name, entry in sorted(blocked.items())])


def checked(host: Host, params: Params, name: str) -> str:
    """A network as it is written down. Fails for what must never be blocked."""
    try:
        found = network(name)
    except ValueError:
        host.fail("ip: %r is neither an address nor a network" % name)
    if params.state == "absent":
        return found
    own = host.query(["ip", "-o", "address", "show"], timeout=SECONDS).stdout.splitlines()
    protected = [("this host itself", line.split()[3].partition("/")[0]) for line in own if len(line.split()) > 3]
    connection = connections.find()
    if connection is not None:
        protected.append(("where opsplay comes from", connection.client))
    protected += [("named by `never`", other.partition("/")[0]) for other in params.never if overlap(found, other)]
    for what, address in protected:
        if (":" in address) == (":" in found) and within(address, found) or what.startswith("named"):
            host.fail("%s is not blocked: it holds %s, %s" % (name, address, what))
    return found


def overlap(one: str, other: str) -> bool:
    import ipaddress

    left, right = ipaddress.ip_network(one, strict=False), ipaddress.ip_network(other, strict=False)
    return left.version == right.version and left.overlaps(right)


def duration(host: Host, text: Any) -> int:
    """Seconds of `90`, `30m`, `12h`, `7d`; 0 for none."""
    if text is None:
        return 0
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    if not number.isdigit() or int(number) == 0:
        host.fail("expires: %r is no duration; write seconds, or 30m, 12h, 7d" % text)
    return int(number) * UNITS[unit]


def listed(host: Host) -> Dict[str, Tuple[int, str]]:
    """What is blocked by the list on disk: the moment of its end (0 for none), and the reason."""
    found = {}
    text = host.read(LIST).decode("utf-8", "replace") if host.exists(LIST) else ""
    for line in text.splitlines():
        words = line.split(None, 2)
        if len(words) > 1 and not line.startswith("#"):
            found[words[0]] = (int(words[1]), words[2] if len(words) > 2 else "")
    return found


def begin(host: Host, table: Table) -> None:
    """Have the table and what fills it at boot."""
    text = "table inet %s {\n%s}\n" % (table.name, BODY)
    host.directory(FOLDER, mode=0o755)
    host.write(table.path, text, mode=0o600, validate="nft --check --file %s", shown=("", ""))
    host.write(LOADER, SCRIPT.format(list=LIST, table=table.path), mode=0o700, shown=("", ""))
    table.keep("/bin/sh " + LOADER)


def update(
    host: Host, table: Table, known: Dict[str, Tuple[int, str]], blocked: Dict[str, Tuple[int, str]], now: int
) -> None:
    """Bring the list and the sets to what is to be blocked."""
    lines = ["%s %d %s" % (name, entry[0], entry[1]) for name, entry in sorted(blocked.items())]
    text = "# network, end (seconds since 1970, 0 for none), reason\n" + "".join(line.rstrip() + "\n" for line in lines)
    changed = [name for name in sorted(set(known) | set(blocked)) if known.get(name) != blocked.get(name)]
    if changed:
        host.note(picture(known), picture(blocked), "blocked addresses")
    host.write(LIST, text, mode=0o600, shown=("", ""))
    if not table.is_loaded():
        host.must_run(["/bin/sh", LOADER], foreseen=True, timeout=SECONDS)
        return
    for name in changed:
        element(host, table, name, known, blocked, now)


def element(
    host: Host,
    table: Table,
    name: str,
    known: Dict[str, Tuple[int, str]],
    blocked: Dict[str, Tuple[int, str]],
    now: int,
) -> None:
    """Bring one element of the sets to what is to be blocked."""
    place = ["element", "inet", table.name, "v6" if ":" in name else "v4"]
    if name in known:
        host.run(["nft", "delete"] + place + ["{ %s }" % name], foreseen=True, timeout=SECONDS)
    if name in blocked:
        until = blocked[name][0]
        timeout = " timeout %ds" % (until - now) if until else ""
        host.must_run(["nft", "add"] + place + ["{ %s%s }" % (name, timeout)], foreseen=True, timeout=SECONDS)


def end(host: Host, table: Table) -> None:
    for path in (LIST, LOADER):
        host.remove(path)
    table.remove()


def picture(blocked: Dict[str, Tuple[int, str]]) -> str:
    """For people: without the moment, which a preview cannot know to the second."""
    lines = ["%s%s%s" % (name, "" if entry[0] else " for good", ": " + entry[1] if entry[1] else "")
             for name, entry in sorted(blocked.items())]  # fmt: skip
    return "".join(line + "\n" for line in lines)


def shown(name: str, entry: Tuple[int, str]) -> Dict[str, Any]:
    until: List[Any] = [None]
    if entry[0]:
        until = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry[0]))]
    return {"network": name, "until": until[0], "reason": entry[1]}
