"""Report, item by item, how well a host is hardened; nothing is ever changed.

Each item has an id, a severity, what was found, what is wanted, and a remedy. Its status is ok, fail, accepted (named
in `accept`, with a reason), skipped (it does not concern this host), or unknown with the reason: this account may not
look, a program is missing, the time was over. The score is the share of what is well, weighed by severity; what is
unknown, skipped or accepted does not count. In a preview it reports the host as it is, without what earlier tasks do.
"""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.spec import Bool, Choice, Int, Params, Path, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf
from opsplay.modules.hardening import (
    _audit_accounts,
    _audit_exposure,
    _audit_files,
    _audit_firewall,
    _audit_kernel,
    _audit_secrets,
    _audit_ssh,
    _audit_updates,
    _audit_watching,
)
from opsplay.modules.hardening._audit import (
    ACCEPTED,
    FAIL,
    OK,
    SEVERITIES,
    SHOWN,
    SKIPPED,
    UNKNOWN,
    Check,
    Look,
    Skip,
    Unknown,
)

SECTIONS = {
    "firewall": _audit_firewall.CHECKS,
    "ssh": _audit_ssh.CHECKS,
    "intrusion": _audit_watching.INTRUSION,
    "audit": _audit_watching.AUDIT,
    "kernel": _audit_kernel.KERNEL,
    "integrity": _audit_watching.INTEGRITY,
    "limits": _audit_kernel.LIMITS,
    "accounts": _audit_accounts.CHECKS,
    "updates": _audit_updates.UPDATES,
    "certificates": _audit_updates.CERTIFICATES,
    "listening": _audit_exposure.LISTENING,
    "files": _audit_files.FILES,
    "secrets": _audit_secrets.CHECKS,
    "credentials": _audit_exposure.CREDENTIALS,
    "docker": _audit_exposure.DOCKER,
    "cron": _audit_files.CRON,
    "logins": _audit_watching.LOGINS,
}

PARAMS = {
    "sections": ListOf(of=Choice(*SECTIONS), default=list(SECTIONS), help="What is looked at; without it, everything"),
    "skip": ListOf(of=Str(), default=[], help="Ids of items that are left out"),
    "accept": DictOf(of=Str(), default={}, help="Ids of items that may fail, each with the reason why"),
    "fail_on": Choice(
        "none", *SEVERITIES, default="none", help="Fail the task when an item of at least this severity fails"
    ),
    "timeout": Int(min=1, max=3600, default=60, help="Seconds that each section has; what is left then is unknown"),
    "sysctl": DictOf(of=Str(), default={}, help="Further kernel parameters, or other values: 1, or >=1, or <=1"),
    "listeners": ListOf(
        of=Str(), default=["22/tcp", "80/tcp", "443/tcp"], help="Ports that may be open to others, as 22/tcp"
    ),
    "certificate_paths": ListOf(
        of=Path(), default=["/etc/letsencrypt/live", "/etc/nginx", "/etc/ssl/private", "/etc/opsplay/tls"],
        help="Files, and folders to look for certificates in",
    ),
    "git_paths": ListOf(
        of=Path(), default=["/srv", "/opt", "/home", "/root", "/var/www", "/etc"],
        help="Folders to look for repositories in",
    ),
    "exclude": ListOf(of=Path(), default=[], help="Folders that the search for files passes over"),
    "setuid_allowed": ListOf(of=Path(), default=[], help="Further programs that may have set-uid or set-gid bits"),
    "run_aide": Bool(default=False, help="Compare the watched files with aide's database now, which reads them all"),
    "certificate_days": Int(min=0, default=21, help="Days that a certificate has to be good for"),
    "lists_days": Int(min=0, default=3, help="Days after which package lists are old"),
    "update_hours": Int(min=0, default=72, help="Hours in which a security update has to be installed"),
    "aide_days": Int(min=0, default=35, help="Days after which aide's database is old"),
    "password_days": Int(min=1, default=365, help="Days after which a password has to end"),
    "failed_logins": Int(min=0, default=10, help="Failed logins an hour that are usual"),
}  # fmt: skip
CHECK = "exact"
# An item that fails takes so much from the score.
WEIGHTS = {"info": 0, "low": 1, "medium": 3, "high": 6, "critical": 10}


def run(host: Host, params: Params) -> Dict[str, Any]:
    sections = checks_of(params)
    refuse_unknown_ids(host, params, sections)
    items: List[Dict[str, Any]] = []
    for number, name in enumerate(params.sections):
        host.progress("looking at " + name, number, len(params.sections))
        look = Look(host, params, {})
        items += [item(name, check, look) for check in sections[name] if check.id not in params.skip]
    result = summary(items)
    said = complaint(params, items)
    if pretends(host):
        # Another run may find something else: earlier tasks have only been previewed.
        host.unknown("items", "counts", "failures", "score")
    elif said:
        host.fail(said, **result)
    return host.outcome(changed=False, **result)


def checks_of(params: Params) -> Dict[str, List[Check]]:
    """The checks by section, with the playbook's own kernel parameters."""
    sections = {name: list(checks) for name, checks in SECTIONS.items()}
    for name, wanted in sorted(params.sysctl.items()):
        given = _audit_kernel.check(name, wanted)
        places = [number for number, check in enumerate(sections["kernel"]) if check.id == given.id]
        if places:
            old = sections["kernel"][places[0]]
            given.severity, given.title = old.severity, old.title
            sections["kernel"][places[0]] = given
        else:
            sections["kernel"].append(given)
    return sections


def refuse_unknown_ids(host: Host, params: Params, sections: Dict[str, List[Check]]) -> None:
    known = {check.id for checks in sections.values() for check in checks}
    for where in ("skip", "accept"):
        for id in params[where]:
            if id not in known:
                near = [other for other in sorted(known) if other.split(".")[0] == id.split(".")[0]]
                host.fail("%s: there is no item %s; %s" % (where, id, "there are " + ", ".join(near) if near
                          else "an id begins with one of " + ", ".join(SECTIONS)))  # fmt: skip
    for id, reason in params.accept.items():
        if not reason.strip():
            host.fail("accept: say why %s may fail" % id)


def item(section: str, check: Check, look: Look) -> Dict[str, Any]:
    """One line of the report. A check that cannot tell, or that breaks, is unknown, and the report goes on."""
    try:
        answer = check.probe(look)
        status, found = answer.status, answer.found
    except Skip as problem:
        status, found = SKIPPED, str(problem)
    except Unknown as problem:
        status, found = UNKNOWN, str(problem)
    except (Exception, ModuleFailed) as problem:  # what a host looks like cannot all be foreseen
        status, found = UNKNOWN, "the check itself failed: %s: %s" % (type(problem).__name__, problem)
    line = {"id": check.id, "section": section, "title": check.title, "severity": check.severity, "status": status,
            "found": told(found), "wanted": check.wanted, "remedy": check.remedy}  # fmt: skip
    if status == FAIL and check.id in look.params.accept:
        line.update(status=ACCEPTED, reason=look.params.accept[check.id])
    return line


def told(found: Any) -> Any:
    """A text, or a list of bounded length."""
    if not isinstance(found, list):
        return str(found)
    lines = [str(line) for line in found[:SHOWN]]
    return lines + ["and %d more" % (len(found) - SHOWN)] if len(found) > SHOWN else lines


def summary(items: List[Dict[str, Any]]) -> Dict[str, Any]:
    counts = dict.fromkeys((OK, FAIL, ACCEPTED, UNKNOWN, SKIPPED), 0)
    severities = dict.fromkeys(SEVERITIES, 0)
    for one in items:
        counts[one["status"]] += 1
        severities[one["severity"]] += one["status"] == FAIL
    return {"items": items, "counts": counts, "failures": severities, "score": score(items)}


def score(items: List[Dict[str, Any]]) -> Any:
    """0 to 100; None when nothing is known."""
    well = sum(WEIGHTS[one["severity"]] for one in items if one["status"] == OK)
    badly = sum(WEIGHTS[one["severity"]] for one in items if one["status"] == FAIL)
    return int(round(100.0 * well / (well + badly))) if well + badly else None


def complaint(params: Params, items: List[Dict[str, Any]]) -> str:
    """Why the task fails; empty when it does not."""
    if params.fail_on == "none":
        return ""
    least = SEVERITIES.index(params.fail_on)
    bad = [one for one in items if one["status"] == FAIL and SEVERITIES.index(one["severity"]) >= least]
    bad.sort(key=lambda one: -SEVERITIES.index(one["severity"]))
    named = ", ".join("%s (%s)" % (one["id"], one["severity"]) for one in bad)
    return "%d of %d items fail at %s or above: %s" % (len(bad), len(items), params.fail_on, named) if bad else ""


def pretends(host: Host) -> bool:
    """Whether earlier tasks of a preview would have left another host than this one."""
    shadow = host.shadow
    return host.check and bool(shadow.paths or shadow.packages or shadow.units or shadow.users or shadow.ran_programs)
