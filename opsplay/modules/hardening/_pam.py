"""PAM by Debian's own mechanism: profiles in /usr/share/pam-configs and pam-auth-update, never common-* by hand.

What PAM said before is kept meanwhile: if a login would not work after, or pam-auth-update did not do it, all of it
comes back.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.record import ModuleFailed
from opsplay.modules.hardening._settings import read_text

PROFILES = "/usr/share/pam-configs"
STACKS = ("auth", "account", "password", "session", "session-noninteractive")
KEPT = "/var/lib/pam"
ENVIRONMENT = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
SECONDS = 120
FAILLOCK = {
    # The profile with the higher priority comes first in the stack: it asks whether the account is locked.
    "opsplay-faillock-before": """Name: Lock accounts after failed logins: before the password (opsplay)
Default: yes
Priority: 1024
Auth-Type: Primary
Auth:
	requisite	pam_faillock.so preauth
Account-Type: Primary
Account:
	required	pam_faillock.so
""",
    # Behind all that may let in: who comes this far has failed.
    "opsplay-faillock": """Name: Lock accounts after failed logins (opsplay)
Default: yes
Priority: 0
Auth-Type: Primary
Auth:
	[default=die]	pam_faillock.so authfail
""",
}


def history(remember: int) -> Dict[str, str]:
    """The profile that refuses old passwords: behind the check of their strength (1024), before unix (256)."""
    text = """Name: Old passwords are not used again (opsplay)
Default: yes
Priority: 512
Password-Type: Primary
Password:
	requisite	pam_pwhistory.so remember=%d use_authtok try_first_pass
Password-Initial:
	requisite	pam_pwhistory.so remember=%d
"""
    return {"opsplay-pwhistory": text % (remember, remember)}


def has_module(host: Host, module: str) -> bool:
    """Whether a module of PAM is on this host, or may come with a package that a preview would install."""
    import glob

    found = glob.glob("/lib/*/security/" + module) + glob.glob("/usr/lib/*/security/" + module)
    found += glob.glob("/lib*/security/" + module)
    return bool(found) or bool(host.check and host.shadow.brings_unknown_files)


def stack(host: Host, name: str) -> List[List[str]]:
    """The words of each line of common-NAME that counts."""
    lines = read_text(host, "/etc/pam.d/common-" + name).split("\n")
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def is_enabled(host: Host, profile: str) -> bool:
    """Whether what a profile asks for is in the stacks. The jump of a control in brackets is pam-auth-update's."""
    kind, initial = "", False
    wanted = []
    for line in profile.split("\n"):
        if line.startswith(("\t", " ")):
            wanted.append((kind, initial, " ".join(line.split()[1:])))
        elif line.endswith(":"):
            kind, _, suffix = line[:-1].lower().partition("-")
            initial = bool(suffix)
    for kind in {entry[0] for entry in wanted}:
        # The first module of a stack is written in its form for the first place, the others in the usual one.
        lines = [" ".join(words[1:]) for words in stack(host, kind)]
        ours = [text for where, _, text in wanted if where == kind]
        if not any(line.endswith(text) for text in ours for line in lines):
            return False
    return True


def settle(host: Host, wanted: Dict[str, Optional[str]]) -> bool:
    """Have profiles (by name; None for none) in the stacks. Returns whether anything changed.

    Fails, with all put back, when pam-auth-update does not do it or logins would not work.
    """
    news = {name: text for name, text in wanted.items() if not is_settled(host, name, text)}
    if not news:
        return False
    program = host.which("pam-auth-update")
    if program is None:
        host.fail("pam-auth-update is not on this host: PAM's profiles are Debian's and Ubuntu's")
    if host.check:
        change(host, str(program), news)
        return True
    with host.critical(SECONDS * 3):
        before = kept(host)
        worked = logins_work(host)
        try:
            change(host, str(program), news)
            prove(host, news, before, worked)
        except ModuleFailed:
            put_back(host, before)
            raise
    return True


def is_settled(host: Host, name: str, text: Optional[str]) -> bool:
    path = "%s/%s" % (PROFILES, name)
    if text is None:
        return not host.exists(path)
    return read_text(host, path) == text and is_enabled(host, text)


def change(host: Host, program: str, news: Dict[str, Optional[str]]) -> None:
    for name, text in news.items():
        if text is not None:
            host.write("%s/%s" % (PROFILES, name), text, mode=0o644, owner="root", group="root")
    for on in (True, False):
        names = sorted(name for name, text in news.items() if (text is not None) is on)
        for name in names:
            host.note("enabled\n" if not on else "", "enabled\n" if on else "", "PAM profile " + name)
        if names:
            words = [program, "--package"] + (["--enable"] if on else ["--remove"]) + names
            done = host.run(words, foreseen=True, env=ENVIRONMENT, timeout=SECONDS)
            said = done.stderr.strip() or done.error
            if done.rc != 0 or "not updating" in said:
                hint = "; see what differs from Debian's there, `pam-auth-update --force` makes them anew"
                host.fail("pam-auth-update has not done it: %s%s" % (said.replace("\n", " "), hint), rc=done.rc)
    for name, text in news.items():
        if text is None:
            host.remove("%s/%s" % (PROFILES, name))
        if host.check and text is not None:
            pretend_enabled(host, text)


def pretend_enabled(host: Host, profile: str) -> None:
    """Let the tasks that follow in a preview see the profile in the stacks."""
    from opsplay.agent.shadow import Node

    kind = ""
    for line in profile.split("\n"):
        if line.startswith("\t"):
            path = "/etc/pam.d/common-" + kind
            text = read_text(host, path) + "%s %s\n" % (kind, " ".join(line.split()))
            host.pretend(path, Node("file", 0o644, content=text.encode("utf-8", "surrogateescape")))
        elif line.endswith(":"):
            kind = line[:-1].lower().partition("-")[0]


def kept(host: Host) -> Dict[str, Optional[bytes]]:
    """What PAM is made of now; undo learns of it, too."""
    paths = ["/etc/pam.d/common-" + name for name in STACKS]
    paths += ["%s/%s" % (KEPT, name) for name in host.names(KEPT)] if os.path.isdir(KEPT) else []
    for path in paths:
        host.remember(path, host.stat(path))
    profiles = [name for name in host.names(PROFILES) if name.startswith("opsplay-")]
    names = set(profiles) | set(FAILLOCK) | set(history(1))
    paths += ["%s/%s" % (PROFILES, name) for name in sorted(names)]
    return {path: host.read(path) if host.exists(path) else None for path in paths}


def put_back(host: Host, before: Dict[str, Optional[bytes]]) -> None:
    for path, content in before.items():
        if content is None:
            host.remove(path)
        else:
            host.write(path, content)


def prove(
    host: Host, news: Dict[str, Optional[str]], before: Dict[str, Optional[bytes]], worked: Dict[str, bool]
) -> None:
    """Fail unless the stacks hold what they should, and whoever could log in before still can."""
    for name, text in news.items():
        former = before.get("%s/%s" % (PROFILES, name)) or b""
        if is_enabled(host, text if text is not None else former.decode("utf-8", "replace")) is not (text is not None):
            hint = "see whether /etc/pam.d/common-* was changed by hand"
            host.fail(
                "pam-auth-update has not %s the profile %s; all is as it was; %s"
                % ("taken out" if text is None else "put in", name, hint)
            )
    for account, could in logins_work(host).items():
        if worked[account] and not could:
            host.fail("with this, %s could not log in any more; all is as it was" % account)


def logins_work(host: Host) -> Dict[str, Any]:
    """Whether sessions open for root and for an ordinary account, as `su` opens them."""
    found = {}
    for account in ("root", "nobody"):
        done = host.query(["su", "-s", "/bin/true", account], env={"LC_ALL": "C"}, timeout=30)
        found[account] = done.rc == 0
    return found
