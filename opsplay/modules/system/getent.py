"""Look entries up in the host's databases: passwd, group, hosts, services and the others of getent(1)."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Params, Str

PARAMS = {
    "database": Str(required=True, help="The database, e.g. passwd"),
    "key": Str(help="The entry; without it all entries are returned"),
    "service": Str(help="The source to ask instead of those in /etc/nsswitch.conf, e.g. files"),
    "split": Str(help="What separates an entry's fields; without it a colon or white space, as the database has it"),
    "fail_key": Bool(default=True, help="Fail when the entry is not there; without it its value is null"),
}
CHECK = "exact"
COLONS = ("passwd", "shadow", "group", "gshadow")
NOT_FOUND = 2
# Exit codes of getent(1).
REASONS = {
    1: "Missing arguments, or database unknown.",
    NOT_FOUND: "One or more supplied key could not be found in the database.",
    3: "Enumeration not supported on this database.",
}


def run(host: Host, params: Params) -> Dict[str, Any]:
    fact = "getent_" + params.database
    known = foreseen(host, params)
    if known is not None:
        return host.outcome(ansible_facts={fact: {params.key: known}})
    done = host.query(command(params), env={"LC_ALL": "C"})
    rc = NOT_FOUND if would_be_gone(host, params) else done.rc
    if rc == 0:
        separator = params.split or (":" if params.database in COLONS else None)
        return host.outcome(ansible_facts={fact: entries(done.stdout, separator)})
    reason = REASONS.get(rc) or done.stderr.strip() or done.error or "Unexpected failure!"
    # The package that would be installed in a preview may bring the entry.
    must_be_there = params.fail_key and not (host.check and host.shadow.brings_unknown_files)
    if rc == NOT_FOUND and params.key is not None and not must_be_there:
        return host.outcome(ansible_facts={fact: {params.key: None}}, msg=reason)
    return host.fail(reason, rc=rc, database=params.database, key=params.key)


def command(params: Params) -> List[str]:
    service = ["-s", params.service] if params.service is not None else []
    return ["getent"] + service + ["--", params.database] + ([params.key] if params.key is not None else [])


def entries(text: str, separator: Optional[str]) -> Dict[str, Any]:
    """The entries by their first field; one that is there more than once has a list of lists."""
    found: Dict[str, Any] = {}
    for line in text.split("\n"):
        fields = line.split(separator)
        if not line.strip():
            continue
        name, rest = fields[0], fields[1:]
        if name not in found:
            found[name] = rest
        elif found[name] and isinstance(found[name][0], list):
            found[name].append(rest)
        else:
            found[name] = [found[name], rest]
    return found


# --- previews ---


def foreseen(host: Host, params: Params) -> Optional[List[str]]:
    """The fields of a user or group that an earlier task of a preview would have made; None for all others."""
    if not host.check or params.key is None:
        return None
    if params.database == "group" and host.shadow.groups.get(params.key):
        gid = host.shadow.groups[params.key].get("gid")
        return ["x", "" if gid is None else str(gid), ""]
    account = (host.shadow.users.get(params.key) or {}).get("account") if params.database == "passwd" else None
    if account is None:
        return None
    numbers = ["" if account[name] is None else str(account[name]) for name in ("uid", "gid")]
    return ["x"] + numbers + [account["comment"], account["home"], account["shell"]]


def would_be_gone(host: Host, params: Params) -> bool:
    known = {"passwd": host.shadow.users, "shadow": host.shadow.users, "group": host.shadow.groups}
    return host.check and known.get(params.database, {}).get(params.key) is False
