"""Whether sshd's effective settings still let in the login that opsplay came through."""

from __future__ import annotations

import os
from typing import Dict, List, Optional, Tuple

from opsplay.agent.connection import Connection
from opsplay.agent.host import Host

# opsplay works with one agent as the login account and one as the user that it becomes, on one connection.
SESSIONS = 2
# A login with a key may offer others first, and one that is slow must not be thrown out.
TRIES, GRACE = 2, 10


def objection(host: Host, found: Dict[str, Tuple[str, ...]], connection: Optional[Connection]) -> Optional[str]:
    """Why these settings would keep opsplay out, in words; None when nothing is known against them."""
    if number(found, "maxsessions", 10) < SESSIONS:
        return ("MaxSessions %s leaves no session for a second agent, which become needs; the least is %d"
                % (found["maxsessions"][0], SESSIONS))  # fmt: skip
    if number(found, "maxauthtries", 6) < TRIES:
        return "MaxAuthTries %s ends a login whose first key is not the right one" % found["maxauthtries"][0]
    if 0 < number(found, "logingracetime", 120) < GRACE:
        return "LoginGraceTime %s s is too short for a login; the least is %d" % (found["logingracetime"][0], GRACE)
    if int(found.get("maxstartups", ("10:30:100",))[0].split(":")[0] or 10) < SESSIONS:
        return "MaxStartups %s refuses connections that come at the same time" % found["maxstartups"][0]
    if connection is None or not connection.user:
        return None
    return _of_account(host, found, connection)


def number(found: Dict[str, Tuple[str, ...]], key: str, default: int) -> int:
    text = found.get(key, ("",))[0]
    return int(text) if text.isdigit() else default


def _of_account(host: Host, found: Dict[str, Tuple[str, ...]], connection: Connection) -> Optional[str]:
    user = connection.user
    groups = host.query(["id", "-Gn", user]).stdout.split()
    if user == "root" and found.get("permitrootlogin", ("yes",))[0] == "no":
        return "PermitRootLogin no keeps out root, the account that opsplay logs in to"
    if listed(found.get("denyusers", ()), [user], connection):
        return "DenyUsers names %s, the account that opsplay logs in to" % user
    if "allowusers" in found and not listed(found["allowusers"], [user], connection):
        return "AllowUsers does not name %s, the account that opsplay logs in to" % user
    if listed(found.get("denygroups", ()), groups, connection):
        return "DenyGroups names a group of %s, the account that opsplay logs in to" % user
    if "allowgroups" in found and not listed(found["allowgroups"], groups, connection):
        return "AllowGroups names no group of %s, the account that opsplay logs in to" % user
    return _of_credentials(host, found, user)


def listed(values: Tuple[str, ...], names: List[str], connection: Connection) -> bool:
    """Whether a list of sshd_config(5)'s patterns (`admin`, `op*`, `admin@10.*`) names one of these."""
    from fnmatch import fnmatchcase

    for pattern in " ".join(values).split():
        name, at, place = pattern.partition("@")
        if at and not in_place(connection.client, place):
            continue
        if any(fnmatchcase(known, name) for known in names):
            return True
    return False


def in_place(client: str, pattern: str) -> bool:
    """Whether an address fits a pattern or a network."""
    import ipaddress
    from fnmatch import fnmatchcase

    if "/" in pattern:
        try:
            return ipaddress.ip_address(client) in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    return fnmatchcase(client, pattern)


def _of_credentials(host: Host, found: Dict[str, Tuple[str, ...]], user: str) -> Optional[str]:
    def on(key: str, default: str = "yes") -> bool:
        return found.get(key, (default,))[0] != "no"

    interactive = on("kbdinteractiveauthentication", "no") or on("challengeresponseauthentication", "no")
    if on("passwordauthentication") or interactive or on("gssapiauthentication", "no"):
        return None
    if not on("pubkeyauthentication"):
        return "no way to log in is left: neither keys nor passwords"
    others = [found.get(key, ("none",))[0] for key in ("trustedusercakeys", "authorizedkeyscommand")]
    if any(value != "none" for value in others) or any(has_key(host, path) for path in key_files(found, user)):
        return None
    return "passwords are off and %s has no key in %s" % (user, " or ".join(key_files(found, user)))


def key_files(found: Dict[str, Tuple[str, ...]], user: str) -> List[str]:
    """Where sshd looks for an account's keys."""
    home = os.path.expanduser("~" + user)
    files = []
    for name in " ".join(found.get("authorizedkeysfile", (".ssh/authorized_keys",))).split():
        path = name.replace("%u", user).replace("%h", home).replace("%%", "%")
        files.append(path if path.startswith("/") else os.path.join(home, path))
    return files


def has_key(host: Host, path: str) -> bool:
    if not host.exists(path):
        return False
    if not host.knows(path):
        return True
    return any(line.strip() and not line.startswith(b"#") for line in host.read(path).splitlines())
