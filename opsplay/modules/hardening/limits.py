"""Limit what each login session may use (pam_limits), in a drop-in file of its own.

Services are no login sessions: their limits are keys of their units, such as LimitNOFILE (systemd_unit).
"""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Name, Params, Str
from opsplay.agent.spec import Dict as DictOf

PARAMS = {
    "name": Name(required=True, help="The drop-in's name below /etc/security/limits.d, without .conf"),
    "domain": Str(
        default="*",
        help="Whom it is for: a user, @group, %group for maxlogins, a range of numbers such as 1000:2000, or * for"
        " everybody but root",
    ),
    "limits": DictOf(
        default={},
        help="Item and limit, e.g. nofile: 65536; a limit is a number, unlimited, or a dictionary of soft and hard",
    ),
    "type": Choice("both", "soft", "hard", default="both", help="Which limit a plain number is"),
    "state": Choice("present", "absent", default="present", help="Whether the drop-in is there"),
}
CHECK = "exact"
FOLDER = "/etc/security/limits.d"
# limits.conf(5): the items, with the least and the most that each may be. Much below the least a login has no use:
# no shell starts, or it can start nothing.
ITEMS = {
    "core": (0, None),
    "data": (16384, None),
    "fsize": (1024, None),
    "memlock": (0, None),
    "nofile": (64, None),
    "rss": (0, None),
    "stack": (128, None),
    "cpu": (1, None),
    "nproc": (16, None),
    "as": (65536, None),
    "maxlogins": (1, None),
    "maxsyslogins": (2, None),
    "nonewprivs": (0, 1),
    "priority": (-20, 19),
    "locks": (0, None),
    "sigpending": (0, None),
    "msgqueue": (0, None),
    "nice": (-20, 19),
    "rtprio": (0, 99),
}
UNLIMITED = ("unlimited", "infinity", "-1")
# Ranges, for which "no limit" means nothing.
BOUNDED = ("nonewprivs", "priority", "nice", "rtprio", "maxlogins", "maxsyslogins")
NR_OPEN = "/proc/sys/fs/nr_open"


def run(host: Host, params: Params) -> Dict[str, Any]:
    name = params.name[:-5] if params.name.endswith(".conf") else params.name
    path = "%s/%s.conf" % (FOLDER, name)
    if params.state == "absent":
        host.remove(path)
        return host.outcome(path=path)
    refuse_domain(host, params.domain)
    if not params.limits:
        host.fail("limits is needed: items and their limits, e.g. nofile: 65536")
    lines: List[str] = []
    for item, wanted in sorted(params.limits.items()):
        for kind, value in kinds(host, params, item, wanted):
            lines.append("%s %s %s %s\n" % (params.domain, kind, item, checked(host, params.domain, item, value)))
    host.directory(FOLDER, mode=0o755)
    host.write(path, "".join(lines), mode=0o644, owner="root", group="root")
    return host.outcome(path=path)


def refuse_domain(host: Host, domain: str) -> None:
    """A domain that pam_limits would pass over, or read as something else."""
    if not domain or any(char.isspace() or char == "#" for char in domain):
        host.fail("domain %r cannot be written in limits.conf: no blank and no #" % domain)
    if domain.startswith(("@", "%")) and not domain[1:] and domain != "%":
        host.fail("domain %r names no group" % domain)
    bare = domain.lstrip("@%")
    if ":" in bare:
        if not bare.replace(":", "", 1).isdigit():
            host.fail("domain %r is no range of numbers, e.g. 1000:2000 or 1000:" % domain)
    elif domain[0] == "@":
        host.gid(bare)
    elif domain[0] not in "*%":
        host.uid(domain)


def kinds(host: Host, params: Params, item: str, wanted: Any) -> List[Any]:
    """Pairs of limits.conf's type and a value."""
    if not isinstance(wanted, dict):
        return [({"both": "-"}.get(params.type, params.type), wanted)]
    if not wanted or set(wanted) - {"soft", "hard"}:
        host.fail("limits: %s is a number, unlimited, or a dictionary of soft and hard" % item)
    values = [checked(host, params.domain, item, wanted[kind]) for kind in ("soft", "hard") if kind in wanted]
    if len(values) == 2 and size(values[0]) > size(values[1]):
        host.fail("limits: %s has a soft limit (%s) above the hard one (%s)" % (item, values[0], values[1]))
    return [(kind, wanted[kind]) for kind in ("soft", "hard") if kind in wanted]


def size(value: str) -> float:
    return float("inf") if value == "unlimited" else int(value)


def checked(host: Host, domain: str, item: str, value: Any) -> str:
    """The limit as it is written. Fails for what pam_limits would pass over, or what would lock users out."""
    if item not in ITEMS:
        host.fail("limits: %r is no item of limits.conf; they are %s" % (item, ", ".join(sorted(ITEMS))))
    text = str(value).strip()
    least, most = ITEMS[item]
    if text in UNLIMITED and item not in BOUNDED:
        if item == "nofile":
            host.fail(
                "limits: nofile cannot be unlimited, nobody could log in then; the kernel's most is in fs.nr_open"
            )
        return "unlimited"
    if not text.lstrip("-").isdigit() or isinstance(value, bool):
        host.fail("limits: %s: %r is no number%s" % (item, value, "" if item in BOUNDED else " and not unlimited"))
    number = int(text)
    if item == "nofile":
        most = open_files(host)
    # One account may be kept from logging in.
    if item == "maxlogins" and domain not in ("*", "root") and number == 0:
        return "0"
    if number < least or (most is not None and number > most):
        allowed = "at least %d" % least if most is None else "from %d to %d" % (least, most)
        why = "; more needs a higher sysctl fs.nr_open" if item == "nofile" and number > least else ""
        host.fail("limits: %s: %d is out of range, which is %s%s" % (item, number, allowed, why))
    return str(number)


def open_files(host: Host) -> int:
    """The most files that this kernel lets a process open."""
    try:
        return int(host.read(NR_OPEN))
    except (OSError, ValueError):
        return 1 << 20
