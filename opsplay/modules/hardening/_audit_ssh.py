"""What sshd's configuration comes to, by its own word (`sshd -T`)."""

from __future__ import annotations

import os
import stat
from typing import Callable, Dict, Tuple

from opsplay.modules.hardening._audit import Answer, Check, Look, Skip, Unknown, none_of, verdict

# What ssh-audit calls a failure: SHA-1, curves of NIST, short tags and blocks, broken ciphers.
WEAK = ("sha1", "nistp", "md5", "-96", "umac-64", "-cbc", "3des", "arcfour", "blowfish", "cast128", "ssh-dss",
        "group1-")  # fmt: skip
WEAK_NAMES = ("ssh-rsa", "ssh-rsa-cert-v01@openssh.com")
MOST_TRIES, MOST_GRACE = 4, 60


def effective(look: Look) -> Dict[str, Tuple[str, ...]]:
    """Every keyword, in small letters, with its values, as they hold for root from anywhere."""
    if look.host.which("sshd") is None:
        raise Skip("there is no sshd")
    look.root()
    found: Dict[str, Tuple[str, ...]] = {}
    # A connection from elsewhere, for which Match blocks are judged.
    asked = "user=root,host=other,addr=192.0.2.1,laddr=192.0.2.2,lport=22"
    for line in look.said("sshd", "-T", "-C", asked).splitlines():
        key, _, value = line.partition(" ")
        found[key] = found.get(key, ()) + (value.strip(),)
    return found


def value(look: Look, key: str) -> str:
    """A keyword's value. Raises Unknown where this sshd knows no such keyword."""
    found = look.once("sshd", lambda: effective(look))
    if key not in found:
        raise Unknown("this sshd does not say what %s is" % key)
    return str(found[key][0])


def one_of(key: str, *good: str) -> Callable[[Look], Answer]:
    def probe(look: Look) -> Answer:
        found = value(look, key)
        return verdict(found in good, "%s %s" % (key, found))

    return probe


def at_most(key: str, most: int) -> Callable[[Look], Answer]:
    def probe(look: Look) -> Answer:
        found = value(look, key)
        # 0 stands for no limit.
        return verdict(found.isdigit() and 0 < int(found) <= most, "%s %s" % (key, found))

    return probe


def passwords(look: Look) -> Answer:
    found = look.once("sshd", lambda: effective(look))
    keys = ("passwordauthentication", "kbdinteractiveauthentication", "challengeresponseauthentication")
    on = [key for key in keys if found.get(key, ("no",))[0] == "yes"]
    return none_of(["%s yes" % key for key in on], "only keys open an account")


def strong(key: str) -> Callable[[Look], Answer]:
    def probe(look: Look) -> Answer:
        names = value(look, key).split(",")
        bad = [name for name in names if any(part in name for part in WEAK) or name in WEAK_NAMES]
        return none_of(bad, "%d, none of them weak" % len(names))

    return probe


def allow_list(look: Look) -> Answer:
    found = look.once("sshd", lambda: effective(look))
    lists = [key for key in ("allowusers", "allowgroups") if key in found]
    return verdict(bool(lists), ", ".join(lists) if lists else "every account may log in")


def files(look: Look) -> Answer:
    """Host keys that only root reads, and a configuration that only root writes."""
    bad = []
    paths = ["/etc/ssh/sshd_config"] + look.names("/etc/ssh/sshd_config.d") + look.names("/etc/ssh")
    for path in paths:
        name = os.path.basename(path)
        private = name.startswith("ssh_host_") and not name.endswith(".pub")
        if not private and "sshd_config" not in path or not os.path.isfile(path):
            continue
        found = os.stat(path)
        if found.st_uid != 0 or found.st_mode & (0o077 if private else 0o022):
            bad.append("%s: mode %04o, owner %d" % (path, stat.S_IMODE(found.st_mode), found.st_uid))
    if not os.path.isdir("/etc/ssh"):
        raise Skip("there is no sshd")
    return none_of(sorted(set(bad)), "only root changes them, and reads the keys")


def uses(settings: str) -> str:
    return "sshd_config: {settings: {%s}}" % settings


def no(id: str, severity: str, title: str, keyword: str) -> Check:
    """A keyword that is to be off."""
    return Check("ssh." + id, severity, title, keyword + " no", uses(keyword + ": no"), one_of(keyword.lower(), "no"))


ROOT = ("no", "prohibit-password", "without-password", "forced-commands-only")
CHECKS = (
    Check("ssh.root-login", "high", "root does not log in with a password", "PermitRootLogin no or prohibit-password",
          uses("PermitRootLogin: prohibit-password"), one_of("permitrootlogin", *ROOT)),
    Check("ssh.passwords", "high", "Passwords open no account", "PasswordAuthentication no, keyboard-interactive no",
          uses("PasswordAuthentication: no, KbdInteractiveAuthentication: no"), passwords),
    no("empty-passwords", "critical", "An empty password opens no account", "PermitEmptyPasswords"),
    no("host-based", "high", "No host vouches for its users", "HostbasedAuthentication"),
    no("user-environment", "medium", "Users bring no environment", "PermitUserEnvironment"),
    Check("ssh.key-exchange", "medium", "Key exchanges are strong", "neither SHA-1 nor curves of NIST",
          uses("KexAlgorithms: [sntrup761x25519-sha512@openssh.com, curve25519-sha256]"), strong("kexalgorithms")),
    Check("ssh.ciphers", "medium", "Ciphers are strong", "ChaCha20, AES in counter mode or GCM",
          uses("Ciphers: [chacha20-poly1305@openssh.com, aes256-gcm@openssh.com]"), strong("ciphers")),
    Check("ssh.macs", "medium", "Authentication codes are strong", "SHA-2, or UMAC of 128 bits",
          uses("MACs: [hmac-sha2-256-etm@openssh.com, hmac-sha2-512-etm@openssh.com]"), strong("macs")),
    Check("ssh.host-keys", "medium", "Host keys' signatures are strong", "Ed25519, or RSA with SHA-2",
          uses("HostKeyAlgorithms: [ssh-ed25519, rsa-sha2-512]"), strong("hostkeyalgorithms")),
    Check("ssh.tries", "low", "A connection has few tries", "MaxAuthTries at most %d" % MOST_TRIES,
          uses("MaxAuthTries: %d" % MOST_TRIES), at_most("maxauthtries", MOST_TRIES)),
    Check("ssh.grace", "low", "A login has little time", "LoginGraceTime at most %d" % MOST_GRACE,
          uses("LoginGraceTime: %d" % MOST_GRACE), at_most("logingracetime", MOST_GRACE)),
    no("x11", "low", "No windows are forwarded", "X11Forwarding"),
    no("tcp-forwarding", "low", "No connections are forwarded", "AllowTcpForwarding"),
    no("agent-forwarding", "low", "No agents are forwarded", "AllowAgentForwarding"),
    Check("ssh.allow-list", "low", "Those who may log in are named", "AllowUsers or AllowGroups",
          uses("AllowGroups: [ssh-users]"), allow_list),
    Check("ssh.files", "high", "Nobody else changes sshd's files or reads its keys", "root's, keys 0600",
          "file: {path: PATH, owner: root, mode: '0600'}", files),
)  # fmt: skip
