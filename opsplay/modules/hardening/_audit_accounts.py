"""Who has power over the host: accounts, passwords, shells, and what sudo asks for."""

from __future__ import annotations

import os
import stat
from typing import Dict, List

from opsplay.modules.hardening._audit import Answer, Check, Look, Unknown, lines_of, none_of

# login.defs(5): accounts of people begin here.
FIRST_PERSON = 1000
NO_SHELLS = ("nologin", "false", "sync", "halt", "shutdown")
# crypt(5): methods that are still fit for new passwords.
GOOD_HASHES = ("$y$", "$gy$", "$7$", "$2b$", "$6$", "$5$")


def accounts(look: Look) -> List[List[str]]:
    """The fields of /etc/passwd, a line each."""
    text = look.text("/etc/passwd") or ""
    return [line.split(":") for line in text.splitlines() if line.count(":") == 6]


def shadow(look: Look) -> Dict[str, List[str]]:
    """The fields of /etc/shadow by account. Raises Unknown for all but root."""
    text = look.text("/etc/shadow") or ""
    return {line.split(":")[0]: line.split(":") for line in text.splitlines() if line.count(":") >= 7}


def usable(look: Look) -> Dict[str, List[str]]:
    """The accounts with a password that opens them."""
    return {name: fields for name, fields in shadow(look).items() if fields[1] and fields[1][0] not in "!*"}


def uid_0(look: Look) -> Answer:
    return none_of([row[0] for row in accounts(look) if row[2] == "0" and row[0] != "root"], "only root has uid 0")


def twins(look: Look) -> Answer:
    """Two accounts of one number are one account with two names."""
    names: Dict[str, List[str]] = {}
    for row in accounts(look):
        names.setdefault(row[2], []).append(row[0])
    return none_of(["uid %s: %s" % (uid, ", ".join(same)) for uid, same in names.items() if len(same) > 1], "none")


def empty(look: Look) -> Answer:
    bad = [row[0] for row in accounts(look) if row[1] == ""]
    bad += [name for name, fields in shadow(look).items() if fields[1] == ""]
    return none_of(sorted(set(bad)), "every account has a password or is locked")


def hashes(look: Look) -> Answer:
    bad = [name for name, fields in usable(look).items() if not fields[1].startswith(GOOD_HASHES)]
    return none_of(bad, "%d passwords, well hashed" % len(usable(look)))


def password_age(look: Look) -> Answer:
    most = look.params.password_days
    bad = ["%s: %s days" % (name, fields[4] or "no end, after") for name, fields in usable(look).items()
           if not fields[4].isdigit() or int(fields[4]) > most]  # fmt: skip
    return none_of(bad, "every password ends after %d days at most" % most)


def system_shells(look: Look) -> Answer:
    """Accounts of services that somebody can log in to: a shell, and a password or keys."""
    shells = [row for row in accounts(look) if 0 < int(row[2]) < FIRST_PERSON]
    shells = [row for row in shells if os.path.basename(row[6]) not in NO_SHELLS]
    if not shells:
        return none_of([], "no account of a service has a shell")
    opened = usable(look)
    bad = [row[0] for row in shells if row[0] in opened or has_keys(row[5])]
    return none_of(bad, "shells, but no way to log in: %s" % ", ".join(row[0] for row in shells))


def has_keys(home: str) -> bool:
    try:
        return os.path.getsize(os.path.join(home, ".ssh/authorized_keys")) > 0
    except OSError:
        return False


def files(look: Look) -> Answer:
    """The files of accounts: root's, written by nobody else, hashes read by nobody else."""
    bad = []
    rules = (("/etc/passwd", 0o022), ("/etc/group", 0o022), ("/etc/shadow", 0o027), ("/etc/gshadow", 0o027))
    sudoers = [(path, 0o022) for path in ["/etc/sudoers"] + readable_names(look, "/etc/sudoers.d")]
    for path, forbidden in rules + tuple(sudoers):
        try:
            found = os.stat(path)
        except OSError:
            continue
        if found.st_uid != 0 or found.st_mode & forbidden:
            bad.append("%s: mode %04o, owner %d" % (path, stat.S_IMODE(found.st_mode), found.st_uid))
    return none_of(bad, "only root changes them")


def readable_names(look: Look, folder: str) -> List[str]:
    try:
        return look.names(folder)
    except Unknown:
        return []


def without_password(look: Look) -> Answer:
    """Who becomes another user without being asked anything (sudoers(5): NOPASSWD, !authenticate)."""
    bad = []
    for path in ["/etc/sudoers"] + [path for path in look.names("/etc/sudoers.d") if "." not in os.path.basename(path)]:
        text = (look.text(path) or "").replace("\\\n", " ")
        bad += ["%s: %s" % (path, line) for line in lines_of(text) if "NOPASSWD" in line or "!authenticate" in line]
    return none_of(bad, "sudo asks everybody for a password")


def homes(look: Look) -> Answer:
    """Homes that others write to hold keys and start-up files that others write."""
    bad = []
    for row in accounts(look):
        for path in (row[5], os.path.join(row[5], ".ssh"), os.path.join(row[5], ".ssh/authorized_keys")):
            if int(row[2]) != 0 and int(row[2]) < FIRST_PERSON or int(row[2]) == 65534:
                continue
            try:
                found = os.stat(path)
            except OSError:
                continue
            if found.st_mode & 0o022 or found.st_uid not in (0, int(row[2])):
                bad.append("%s: mode %04o, owner %d" % (path, stat.S_IMODE(found.st_mode), found.st_uid))
    return none_of(sorted(set(bad)), "only their owners write to homes and keys")


CHECKS = (
    Check("accounts.uid-0", "critical", "Only root is root", "one account of uid 0",
          "user: {name: NAME, state: absent}", uid_0),
    Check("accounts.twins", "medium", "Every account has a number of its own", "no number twice",
          "user: {name: NAME, uid: NUMBER}", twins),
    Check("accounts.empty-passwords", "critical", "No account has an empty password", "a password, or locked",
          "user: {name: NAME, password_lock: true}", empty),
    Check("accounts.hashes", "medium", "Passwords are well hashed", "yescrypt, bcrypt or SHA-2",
          "set the password anew", hashes),
    Check("accounts.password-age", "low", "Passwords end", "at most password_days",
          "user: {name: NAME, password_expire_max: DAYS}", password_age),
    Check("accounts.system-shells", "medium", "Nobody logs in as a service", "no shell, or neither password nor keys",
          "user: {name: NAME, shell: /usr/sbin/nologin}", system_shells),
    Check("accounts.files", "critical", "Only root changes the files of accounts", "root's, hashes for nobody else",
          "file: {path: PATH, owner: root, mode: '0644'}", files),
    Check("accounts.sudo", "medium", "sudo asks for a password", "no NOPASSWD", "edit the file with visudo",
          without_password),
    Check("accounts.homes", "high", "Nobody else writes to homes and keys", "owners alone",
          "file: {path: PATH, mode: go-w}", homes),
)  # fmt: skip
