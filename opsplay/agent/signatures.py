"""Signatures of manifests, made with the host's own SSH host key: who can write to a folder of backups cannot make one.

A manifest holds the hash of each file, so its signature covers all of them; that of an increment covers the full set
beneath it. The signature lies beside the manifest in the format of `ssh-keygen -Y sign`, over the manifest's bytes.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent import backups
from opsplay.agent.files import write_new
from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Str
from opsplay.agent.spec import List as ListOf

SIGNATURE = backups.SIGNATURE
# What a signature is for: one that was made for something else is none.
NAMESPACE = "opsplay-backup"
PRINCIPAL = "opsplay"
HOST_KEYS = tuple("/etc/ssh/ssh_host_%s_key" % kind for kind in ("ed25519", "ecdsa", "rsa"))
KINDS = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")

SIGN = Choice(
    "auto", "required", default="auto",
    help="Sign the manifest with this host's SSH host key. Where that cannot be (no key, OpenSSH before 8.2, not root):"
         " auto warns, required fails",
)  # fmt: skip
SIGNED_BY = ListOf(
    of=Str(), default=[], split=False,
    help="Public SSH host keys as text, as in a .pub file or in known_hosts: refuse what none of them has signed",
)  # fmt: skip


class Refused(Exception):
    """A backup that is not signed as it has to be: `str()` says how."""


# --- making ---


def obstacle(host: Host) -> str:
    """Why this host could not sign; "" when nothing is known against it."""
    if host.which("ssh-keygen") is None:
        return "there is no ssh-keygen"
    return "" if key_path() else "none of %s can be read" % ", ".join(HOST_KEYS)


def key_path() -> str:
    return next((path for path in HOST_KEYS if os.access(path, os.R_OK)), "")


def refuse_unable(host: Host, wish: str) -> None:
    """Fail at once where a signature is required that this host could not make."""
    problem = obstacle(host) if wish == "required" else ""
    if problem:
        host.fail("sign is required, and this host cannot: %s; nothing was begun" % problem)


def sign(host: Host, folder: str, mode: int) -> str:
    """Sign the manifest that lies in a folder; "" when it is signed, else why it is not. Raises OSError."""
    problem = obstacle(host)
    if problem:
        return problem
    with open(os.path.join(folder, backups.MANIFEST), "rb") as file:
        content = file.read()
    done = host.query(["ssh-keygen", "-q", "-Y", "sign", "-f", key_path(), "-n", NAMESPACE], stdin=content)
    if done.rc != 0 or "SSH SIGNATURE" not in done.stdout:
        return "%s: %s" % (key_path(), done.stderr.strip() or done.error or "ssh-keygen said nothing")
    write_new(os.path.join(folder, SIGNATURE), done.stdout.encode(), mode)
    return ""


# --- looking ---


def is_signed(backup: backups.Backup) -> bool:
    """Whether there is a signature, whoever's it is."""
    return os.path.isfile(backup.path(SIGNATURE))


def refuse(host: Host, backup: backups.Backup, signers: List[str]) -> None:
    """Nothing without `signers`; else raises Refused unless one of their keys has signed this very manifest.

    Fails for signers that are no keys.
    """
    if not signers:
        return
    allowed = public_keys(host, signers)
    try:
        with open(backup.path(backups.MANIFEST), "rb") as file:
            content = file.read()
        signature = None
        if is_signed(backup):
            with open(backup.path(SIGNATURE), "rb") as file:
                signature = file.read()
    except OSError as problem:
        raise Refused("%s cannot be read: %s" % (problem.filename, problem.strerror)) from None
    if not same(content, backup.data):
        raise Refused("%s: its manifest has changed while it was read" % backup.folder)
    judge(host, backup.folder, content, signature, allowed)


def judge(host: Host, what: str, content: bytes, signature: Optional[bytes], allowed: List[str]) -> None:
    """Raises Refused unless one of `public_keys` has made this signature (None: there is none) of this manifest."""
    if signature is None:
        raise Refused("%s is not signed: it has no %s, and signed_by asks for one" % (what, SIGNATURE))
    by = signer_of(signature)
    if by not in allowed:
        told = "another key, %s," % fingerprint(by) if by else "nobody that can be told"
        raise Refused("%s was signed by %s and by none of signed_by" % (what, told))
    said = verified(host, content, signature, by)
    if said:
        text = "%s: its manifest is not the one that was signed by %s; it was changed afterwards (%s)"
        raise Refused(text % (what, fingerprint(by), said))


def require(host: Host, backup: backups.Backup, signers: List[str]) -> None:
    """`refuse`, and fail the task."""
    try:
        refuse(host, backup, signers)
    except Refused as problem:
        host.fail("%s; nothing was touched" % problem)


def refuse_lone(host: Host, path: str, signers: List[str]) -> None:
    """Fail for a file without a manifest where a signature is asked for."""
    if signers:
        host.fail("%s is a file without a manifest, so nobody has signed it; nothing was touched" % path)


def signed(host: Host, backup: backups.Backup, signers: List[str]) -> bool:
    """Whether a backup is signed, by one of `signers` where there are any. Fails for signers that are no keys."""
    try:
        refuse(host, backup, signers)
    except Refused:
        return False
    return is_signed(backup)


def verified(host: Host, content: bytes, signature: bytes, key: str) -> str:
    """Let ssh-keygen verify; what it says against it, or nothing."""
    program = host.which("ssh-keygen")
    if program is None:
        host.fail("signed_by needs ssh-keygen on this host; install openssh-client")
    folder = host.temporary.folder("/run" if os.access("/run", os.W_OK) else "/tmp")
    try:
        allowed, given = os.path.join(folder, "signers"), os.path.join(folder, "signature")
        write_new(allowed, ('%s namespaces="%s" %s\n' % (PRINCIPAL, NAMESPACE, key)).encode(), 0o600)
        write_new(given, signature, 0o600)
        words = ["-Y", "verify", "-f", allowed, "-I", PRINCIPAL, "-n", NAMESPACE, "-s", given]
        done = host.query([program] + words, stdin=content)
    finally:
        host.temporary.discard(folder)
    if done.rc == 0:
        return ""
    return (done.stderr.strip() or done.stdout.strip() or done.error or "ssh-keygen refuses it").split("\n")[0]


def same(content: bytes, data: Dict[str, Any]) -> bool:
    import json

    try:
        return bool(json.loads(content.decode()) == data)
    except ValueError:
        return False


# --- keys ---


def public_keys(host: Host, texts: List[str]) -> List[str]:
    """Each key as `kind base64`, whatever stands around it; comments are skipped. Fails for what holds none."""
    found: List[str] = []
    for line in [line.strip() for text in texts for line in text.split("\n")]:
        if not line or line.startswith("#"):
            continue
        words = line.split()
        at = next((place for place, word in enumerate(words[:-1]) if word in KINDS), None)
        # A line of known_hosts that begins with @ is of a key that is revoked, or signs others.
        if at is None or line.startswith("@") or blob(words[at + 1])[:1] != [words[at].encode()]:
            host.fail("signed_by: %r is no public SSH key; write it as ssh-ed25519 AAAA..." % line[:60])
        found.append("%s %s" % (words[at], words[at + 1]))
    if not found:
        host.fail("signed_by holds no key")
    return found


def signer_of(signature: bytes) -> str:
    """The public key within a signature, as `kind base64`; "" for what is no signature."""
    from base64 import b64encode

    lines = signature.decode("ascii", "replace").strip().split("\n")
    parts = blob("".join(line for line in lines if not line.startswith("-----")), b"SSHSIG\0\0\0\1")
    kind = fields(parts[0])[:1] if parts else []
    if not kind:
        return ""
    return "%s %s" % (kind[0].decode("ascii", "replace"), b64encode(parts[0]).decode())


def fingerprint(key: str) -> str:
    """As ssh-keygen -l shows it."""
    import hashlib
    from base64 import b64decode, b64encode

    digest = hashlib.sha256(b64decode(key.split()[1])).digest()
    return "SHA256:" + b64encode(digest).decode().rstrip("=")


def blob(text: str, head: bytes = b"") -> List[bytes]:
    """The fields of a base64 text that begins with `head`; none when it is not well-formed."""
    from base64 import b64decode

    try:
        data = b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        return []
    return fields(data[len(head) :]) if data.startswith(head) else []


def fields(data: bytes) -> List[bytes]:
    """The strings of SSH's binary format; none when they do not come out even."""
    found: List[bytes] = []
    while data:
        size = int.from_bytes(data[:4], "big")
        if len(data) < 4 + size:
            return []
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found
