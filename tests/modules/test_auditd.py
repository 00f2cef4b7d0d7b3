"""Rules of the kernel's audit, as a table, with the real auditctl and augenrules. In a lab host the kernel takes none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.hardening import _audit_form
from opsplay.modules.hardening._auditd import AuditRule
from tests.lab.remote_module import _DRIVER, Call, run_calls
from tests.lab.remote_module import FOLDER as PLACE
from tests.modules import RELEASES
from tests.modules.cases import Case, prove

MODULE = "hardening.auditd_rules"
FOLDER = "/etc/audit/rules.d"
# Debian's own file, merged; nothing of ours.
CLEAN = f"find {FOLDER} -type f ! -name audit.rules -delete; [ -e /tmp/audit.rules ] || cp -p {FOLDER}/audit.rules /tmp; cp -p /tmp/audit.rules {FOLDER}/; augenrules >/dev/null;"
LOOK = f"cd {FOLDER}; for f in *.rules; do [ $f = audit.rules ] || {{ echo == $f; grep -v '^#' $f; }}; done"
MERGED = "grep -v -e '^#' -e '^$' /etc/audit/audit.rules"
HOSTS = "-w /etc/hosts -p wa -k hosts"
WARNED = "the rules are written, and not loaded"
CASES = [
    Case("a line", {"rules": [HOSTS]}, CLEAN, LOOK, f"== 50-opsplay.rules\n{HOSTS}", warns=WARNED,
         result={"kernel": "out of reach", "rules": 1, "restart_needed": False}),
    Case("it is merged", {"rules": [HOSTS]}, CLEAN, MERGED, f"-D\n-b 8192\n-f 1\n{HOSTS}\n--backlog_wait_time 60000"),
    Case("as data", {"rules": [{"path": "/etc/hosts", "perm": "wa", "key": "hosts"},
                               {"syscalls": "sethostname,setdomainname", "arch": "b64", "filters": ["auid!=unset"], "key": "n"}]},
         CLEAN, LOOK, f"== 50-opsplay.rules\n{HOSTS}\n-a always,exit -F arch=b64 -S sethostname,setdomainname -F auid!=unset -k n"),
    Case("is there", {"rules": [HOSTS]}, CLEAN + f"printf '# Managed by opsplay: changes made here are lost.\\n{HOSTS}\\n' > {FOLDER}/50-opsplay.rules; chmod 640 {FOLDER}/50-opsplay.rules; augenrules >/dev/null",
         changed=False),
    Case("there but not merged", {"rules": [HOSTS]}, CLEAN + f"printf '# Managed by opsplay: changes made here are lost.\\n{HOSTS}\\n' > {FOLDER}/50-opsplay.rules; chmod 640 {FOLDER}/50-opsplay.rules",
         MERGED + " | grep hosts", HOSTS),
    Case("another name", {"name": "20-own", "rules": [HOSTS]}, CLEAN, LOOK, f"== 20-own.rules\n{HOSTS}"),
    Case("twice the same", {"rules": [HOSTS, HOSTS]}, CLEAN, LOOK, f"== 50-opsplay.rules\n{HOSTS}"),
    Case("locked, with a backlog", {"rules": [HOSTS], "immutable": True, "backlog": 16384, "failure": "silent"}, CLEAN, MERGED,
         f"-D\n-b 16384\n-f 0\n{HOSTS}\n--backlog_wait_time 60000\n-e 2"),
    Case("no longer locked", {"rules": [HOSTS]}, CLEAN + f"echo '-e 2' > {FOLDER}/zz-opsplay-control.rules", LOOK,
         f"== 50-opsplay.rules\n{HOSTS}"),
    Case("alone", {"rules": [HOSTS], "exclusive": True, "backlog": 8192}, CLEAN + f"echo '-w /etc/passwd -p wa' > {FOLDER}/10-old.rules",
         "ls " + FOLDER + ";" + MERGED, f"50-opsplay.rules\nzz-opsplay-control.rules\n-D\n-b 8192\n{HOSTS}"),
    Case("others stay", {"rules": [HOSTS]}, CLEAN + f"echo '-w /etc/passwd -p wa' > {FOLDER}/10-old.rules", LOOK,
         f"== 10-old.rules\n-w /etc/passwd -p wa\n== 50-opsplay.rules\n{HOSTS}"),
    Case("away", {"state": "absent"}, CLEAN + f"echo '{HOSTS}' > {FOLDER}/50-opsplay.rules; augenrules > /dev/null", LOOK + ";" + MERGED,
         "-D\n-b 8192\n-f 1\n--backlog_wait_time 60000"),
    Case("away already", {"state": "absent"}, CLEAN, changed=False),
    Case("no such call", {"rules": [HOSTS, "-a always,exit -F arch=b64 -S nosuch -k x"]}, CLEAN, LOOK,
         fails="50-opsplay.rules line 3: -a always,exit -F arch=b64 -S nosuch -k x: Syscall name unknown: nosuch"),
    Case("no such field", {"rules": ["-a always,exit -F foo=bar"]}, CLEAN, LOOK, fails="unknown field: foo"),
    Case("no such list", {"rules": ["-a always,never -S open"]}, CLEAN, LOOK, fails="line 2: -a always,never"),
    Case("no such option", {"rules": ["--nonsense"]}, CLEAN, LOOK, fails="line 2: --nonsense: "),
    Case("a word too many", {"rules": ["-w /etc/hosts -p wa nonsense"]}, CLEAN, LOOK, fails="line 2: -w /etc/hosts"),
    Case("no such folder", {"rules": ["-w /no/such/file -p wa"]}, CLEAN, LOOK, fails="as long as there is no folder /no/such"),
    Case("the name of ours", {"name": "zz-opsplay-control"}, CLEAN, LOOK, fails="is taken"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rules(full: Callable[[str], LabHost], case: Case) -> None:
    prove(full("bookworm"), MODULE, case)


@pytest.mark.parametrize("release", RELEASES)
def test_the_baseline_is_understood_by_each_release(full: Callable[[str], LabHost], release: str) -> None:
    host = full(release)
    host.run("install -m 4755 /bin/true /usr/local/bin/lent-out")
    case = Case("baseline", {"baseline": True, "rules": [HOSTS]}, CLEAN, LOOK, warns=WARNED)
    try:
        real = prove(host, MODULE, case)
    finally:
        host.run("rm /usr/local/bin/lent-out")
    rules = host.run(f"cat {FOLDER}/50-opsplay.rules").stdout
    assert real["rules"] > 60 and rules.rstrip().endswith(HOSTS)
    for part in ("-w /etc/shadow -p wa -k identity", "-S adjtimex", "finit_module", "umount2", "renameat2", "/etc/ssh/sshd_config",
                 "-F path=/usr/local/bin/lent-out -F perm=x", "/bin/su "):  # fmt: skip
        assert part in rules, part
    host.run(CLEAN)


def test_a_host_without_it(bookworm: LabHost) -> None:
    """Refused; but in a preview in which an earlier task would install it, foretold."""
    calls = [Call(MODULE, {"rules": [HOSTS]}), Call(MODULE, {"rules": [HOSTS]}, check=True),
             Call("packages.apt", {"name": ["auditd"]}, check=True), Call(MODULE, {"rules": [HOSTS]}, check=True)]  # fmt: skip
    bookworm.run("apt-get -q update", timeout=60)
    really, alone, _, after = run_calls(bookworm, calls)
    assert really["failed"] and alone["failed"] and "install the package auditd first" in really["msg"]
    assert after["changed"] and not after.get("failed"), after


REFUSED: list[tuple[Any, str]] = [
    ("nonsense", "begins with an option of auditctl"),
    ("-e 2", "use the parameters immutable"),
    ("-w /a\n-w /b", "a rule is one line"),
    (5, "expected a line such as"),
    ({"path": "hosts"}, "is a whole path"),
    ({"path": "/etc/hosts", "perm": "z"}, "made of r, w, x and a"),
    ({"path": "/etc/hosts", "syscalls": ["open"]}, "a rule has no 'syscalls'"),
    ({"arch": "b64"}, "names a path or syscalls"),
    ({"path": "/etc/hosts", "key": "two words"}, "is a word"),
]


@pytest.mark.parametrize(("rule", "says"), REFUSED)
def test_what_is_no_rule(rule: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AuditRule().convert(rule)


FORMS = [
    ("-w /etc/hosts -p wa -k hosts", ""),
    ("-a always,exit -F arch=b64 -S openat,close -F auid>=1000 -F auid!=unset -F exit=-EACCES -k x", ""),
    ("-a never,exclude -F msgtype=CWD", ""),
    ("-a exit,always -S all -C auid!=obj_uid", ""),
    ("--loginuid-immutable", ""),
    ("-a always,exit -S nosuch", "there is no system call nosuch"),
    ("-a always,never -S close", "names no list"),
    ("-a always,exit -F foo=bar", "there is no field foo"),
    ("-a always,exit -F auid", "compares nothing"),
    ("-w etc", "does not begin with a slash"),
    ("-w /etc/hosts -p q", "not made of r, w, x and a"),
    ("-w /etc/hosts nonsense", "nonsense is no option"),
    ("-w", "-w needs a value"),
    ("-k alone", "neither watches a path"),
]


@pytest.mark.parametrize(("line", "says"), FORMS)
def test_the_form_of_a_rule(line: str, says: str) -> None:
    found = _audit_form.objection(line.split(), lambda arch: {"openat", "close"})
    assert says in found and bool(says) == bool(found)


@pytest.mark.parametrize("release", RELEASES)
def test_where_auditctl_cannot_be_asked(full: Callable[[str], LabHost], release: str) -> None:
    """As within a service of a container: what the host's own manager starts may not open the socket at all."""
    host = full(release)
    host.run(CLEAN)
    calls = [Call(MODULE, {"rules": ["-a always,exit -F arch=b64 -S nosuch -k x"]}), Call(MODULE, {"rules": [HOSTS], "baseline": True}),
             Call(MODULE, {"rules": [HOSTS], "baseline": True})]  # fmt: skip
    argv = ["systemd-run", "--quiet", "--pipe", "--wait", "python3", "-I", "-S", "-c", _DRIVER % {"folder": PLACE}]
    done = host.run(argv, stdin=json.dumps([vars(call) for call in calls]), timeout=120)
    bad, good, again = json.loads(done.stdout)
    assert bad["failed"] and "there is no system call nosuch" in bad["msg"]
    assert good["changed"] and good["rules"] > 60 and "only their form was looked at" in good["warnings"][0], good
    assert not again["changed"]
    host.run(CLEAN)
