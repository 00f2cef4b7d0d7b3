"""Keep rules of the kernel's audit in a file below /etc/audit/rules.d, each tried before it is installed, and loaded.

A rule is tried by auditctl in a process namespace of its own, in which the kernel takes none: what it does not
understand is refused with its place, and the rules in force stay. augenrules then merges and loads all files; when the
kernel refuses them, the old files come back. In a container the kernel's side cannot be used: files are written and
merged, and a warning says that nothing was loaded; where auditctl cannot be asked at all, only the form of rules is
judged. With `immutable` the kernel takes no change until the next restart, and later changes are only written:
`restart_needed` says so. auditd itself is never restarted, for it refuses that, and no rule needs it.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.process import Completed
from opsplay.agent.spec import Bool, Choice, Int, Name, Params
from opsplay.agent.spec import List as ListOf
from opsplay.modules.hardening import _audit_form
from opsplay.modules.hardening._auditd import AuditRule, baseline

PARAMS = {
    "name": Name(default="50-opsplay", help="The file's name, without .rules; files are merged in their order"),
    "rules": ListOf(
        of=AuditRule(), split=False, default=[],
        help="Lines of auditctl(8), watches {path, perm, key}, or calls {syscalls, arch, filters, action, key}",
    ),
    "baseline": Bool(
        default=False,
        help="Rules of our own before these: accounts, sudo, sshd, logins, cron, time, modules, mounts, deletions and "
        "denied access by people, and each program with set-uid bits that is found here",
    ),
    "state": Choice("present", "absent", default="present", help="Whether the file is there"),
    "exclusive": Bool(default=False, help="Remove every other file below /etc/audit/rules.d"),
    "backlog": Int(min=64, help="How many records may wait to be written"),
    "failure": Choice("silent", "log", "panic", help="What the kernel does when it cannot write a record"),
    "immutable": Bool(default=False, help="Lock the rules until the next restart"),
}  # fmt: skip
CHECK = "exact"
FOLDER = "/etc/audit/rules.d"
# Of several files that set these, the last one counts.
CONTROL = FOLDER + "/zz-opsplay-control.rules"
HEAD = "# Managed by opsplay: changes made here are lost.\n"
FAILURES = {"silent": 0, "log": 1, "panic": 2}
SECONDS = 30
REFUSED = "(Operation not permitted)"
UNDERSTOOD = "add rule data request " + REFUSED


def run(host: Host, params: Params) -> Dict[str, Any]:
    if host.which("auditctl") is None and not (host.check and host.shadow.brings_unknown_files):
        host.fail("auditctl is not installed; install the package auditd first")
    path = "%s/%s.rules" % (FOLDER, params.name)
    if path == CONTROL:
        host.fail("the name %s is taken: the file holds what `backlog`, `failure` and `immutable` say" % params.name)
    lines = (baseline(host) if params.baseline else []) + params.rules if params.state == "present" else []
    wanted = {path: text_of(lines) if params.state == "present" else None, CONTROL: control_text(params)}
    if params.exclusive and host.is_directory(FOLDER):
        others = [os.path.join(FOLDER, name) for name in host.names(FOLDER) if name.endswith(".rules")]
        wanted.update({other: None for other in others if other not in wanted})
    due = {place: text for place, text in wanted.items() if content(host, place) != text}
    refuse_bad_rules(host, path, lines, due)
    state = kernel(host)
    if due:
        install(host, due, state)
    elif stale(host, state, lines):
        host.note("another set of rules\n", "the rules of %s\n" % FOLDER, "audit rules in force")
        load(host, state)
    waits = bool(host.changed and state == "immutable")
    tell(host, state, waits)
    return host.outcome(path=path, rules=len(lines), kernel=state, restart_needed=waits)


def text_of(lines: List[str]) -> str:
    return HEAD + "".join(line + "\n" for line in dict.fromkeys(lines))


def control_text(params: Params) -> Optional[str]:
    """What holds for all rules together; None where nothing is asked."""
    lines = ["-D"] if params.exclusive and params.state == "present" else []
    lines += ["-b %d" % params.backlog] if params.backlog is not None else []
    lines += ["-f %d" % FAILURES[params.failure]] if params.failure is not None else []
    lines += ["-e 2"] if params.immutable else []
    return HEAD + "".join(line + "\n" for line in lines) if lines and params.state == "present" else None


def content(host: Host, path: str) -> Optional[str]:
    return host.read(path).decode("utf-8", "surrogateescape") if host.exists(path) else None


# --- before ---


def refuse_bad_rules(host: Host, path: str, lines: List[str], due: Dict[str, Optional[str]]) -> None:
    """Fail for the first rule that auditctl does not understand, or whose folder is not there."""
    if path not in due or host.which("auditctl") is None:
        return
    by_form = not tries(host)
    calls = _audit_form.Calls(host)
    for number, line in enumerate(dict.fromkeys(lines), 2):
        why = missing_folder(host, line.split())
        if not why:
            why = _audit_form.objection(line.split(), calls) if by_form else objection(host, line)
        if why:
            host.fail("%s line %d: %s: %s" % (path, number, line, why), rule=line)


def trial(host: Host, argv: List[str]) -> Completed:
    """Tell auditctl a rule where the kernel takes none: it takes them from the first process namespace alone."""
    return host.query(["unshare", "--pid", "--fork", "auditctl"] + argv, timeout=SECONDS, env={"LC_ALL": "C"})


def tries(host: Host) -> bool:
    """Whether auditctl looks at rules: it does not where it may not even open its socket, as in many containers."""
    return UNDERSTOOD in trial(host, ["-w", "/etc/passwd", "-p", "wa"]).stderr


def objection(host: Host, line: str) -> str:
    """Why a rule cannot be; empty when it can."""
    # As auditctl reads its files: nothing is quoted there.
    done = trial(host, line.split())
    said = [one.strip() for one in done.stderr.splitlines() + done.stdout.splitlines() if one.strip()]
    # What is understood goes to the kernel, which refuses it here.
    if any(one.startswith("Error s") and REFUSED in one and " status request" not in one for one in said):
        return ""
    quiet = ("Error sending status", "There was an error", "Old style", "perm used")
    reasons = [one for one in said if not one.startswith(quiet)]
    return reasons[0] if reasons else "auditctl does not understand it"


def missing_folder(host: Host, argv: List[str]) -> str:
    """Says which folder a watched path would need; empty when it is there."""
    paths = [argv[place + 1] for place, word in enumerate(argv[:-1]) if word == "-w"]
    folders = [os.path.dirname(path.rstrip("/")) or "/" for path in paths]
    folders += [word[4:] for word in argv if word.startswith("dir=")]
    folders += [os.path.dirname(word[5:]) for word in argv if word.startswith("path=")]
    for folder in folders:
        if folder.startswith("/") and not host.is_directory(folder):
            return "the kernel refuses it as long as there is no folder %s" % folder
    return ""


def kernel(host: Host) -> str:
    """`ready`, `immutable`, or `out of reach`: in a container, or where the kernel was built without it."""
    if host.which("auditctl") is None:
        return "out of reach"
    done = host.query(["auditctl", "-s"], timeout=SECONDS, env={"LC_ALL": "C"})
    if done.rc != 0 or "Error" in done.stderr or "enabled" not in done.stdout:
        return "out of reach"
    return "immutable" if "enabled 2" in " ".join(done.stdout.split()) else "ready"


def stale(host: Host, state: str, lines: List[str]) -> bool:
    """Whether the merged file, or the kernel, has something else than the files say."""
    if host.which("augenrules") is None:
        return False
    merged = host.query(["augenrules", "--check"], timeout=SECONDS)
    if "should be updated" in merged.stdout + merged.stderr:
        return True
    return bool(state == "ready" and lines and "No rules" in host.query(["auditctl", "-l"], timeout=SECONDS).stdout)


# --- the change ---


def install(host: Host, due: Dict[str, Optional[str]], state: str) -> None:
    """Put the files in place and have them merged and loaded; put the old ones back when that fails."""
    before = {path: content(host, path) for path in due}
    if not host.is_directory(FOLDER):
        host.directory(FOLDER, mode=0o750)
    put(host, due)
    problem = load(host, state)
    if problem:
        put(host, before)
        load(host, state)
        host.fail("the kernel refuses these rules: %s; the old ones are back" % problem)


def put(host: Host, texts: Dict[str, Optional[str]]) -> None:
    for path, text in sorted(texts.items()):
        if text is None:
            host.remove(path)
        else:
            host.write(path, text, mode=0o640)


def load(host: Host, state: str) -> str:
    """Merge all files, and load them where the kernel takes them. Returns what went wrong."""
    done = host.run(["augenrules"] + (["--load"] if state == "ready" else []), foreseen=True, timeout=SECONDS)
    return (done.stderr.strip() or done.stdout.strip() or "exit code %d" % done.rc) if done.rc else ""


def tell(host: Host, state: str, waits: bool) -> None:
    if state == "out of reach" and not host.check:
        host.warn("the kernel's audit cannot be used here, as in a container: the rules are written, and not loaded; "
                  "where auditctl cannot be asked at all, only their form was looked at")  # fmt: skip
    if waits:
        host.warn("the audit rules are locked: what was written counts from the next restart on")
