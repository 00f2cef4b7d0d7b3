"""What only openssl can say: whether a chain holds, and whose key this is."""

from __future__ import annotations

import os
import time
from typing import Any, List, Optional, Tuple

from opsplay.agent.host import Host
from opsplay.modules.tls._x509 import Certificate, certificates_in, pem

ENVIRONMENT = {"LC_ALL": "C", "OPENSSL_CONF": "/dev/null"}
SECONDS = 30
# What X509_verify_cert(3) says, by its number.
UNKNOWN_ISSUER = (2, 20, 21)
SELF_SIGNED, SELF_SIGNED_IN_CHAIN = 18, 19


def program(host: Host) -> str:
    """Where openssl is; fails when it is not on this host."""
    found = host.which("openssl")
    if found is None:
        host.fail("openssl is not on this host; install the package openssl first (ca-certificates brings it, too)")
    return str(found)


def query(host: Host, words: List[str], stdin: bytes = b"") -> Any:
    """Let openssl look at something; it never asks for a passphrase."""
    return host.query([program(host)] + words, stdin=stdin, env=ENVIRONMENT, timeout=SECONDS)


def said(done: Any) -> str:
    """What openssl has to say, without the numbers of its sources."""
    text = str(done.stderr + "\n" + done.stdout)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    for line in lines:
        parts = line.split(":")
        if len(parts) > 5 and "error" in parts:
            return parts[parts.index("error") + 4] or parts[parts.index("error") + 1]
    return str(lines[0] if lines else done.error or "exit code %d" % done.rc)


def read(host: Host, path: str, what: str = "certificate") -> List[Certificate]:
    """The certificates in a file. Fails with its name when there is none."""
    try:
        text = host.read(path).decode("latin-1")
    except FileNotFoundError:
        host.fail("there is no %s %s" % (what, path), path=path)
    except OSError as problem:
        host.fail("cannot read %s: %s" % (path, problem.strerror), path=path)
    try:
        found = certificates_in(text)
    except ValueError as problem:
        host.fail("%s: %s" % (path, problem), path=path)
    if not found:
        kind = "it holds a key" if "PRIVATE KEY-----" in text else "it is perhaps DER: convert it with openssl x509"
        host.fail("there is no certificate in PEM form in %s; %s" % (path, kind), path=path)
    return found


def public_key(host: Host, key: bytes) -> bytes:
    """The public half of a private key in PEM form, as DER. Raises ValueError when it cannot be read."""
    if b"ENCRYPTED" in key:
        raise ValueError("it is encrypted with a passphrase; servers that start by themselves cannot use it")
    done = query(host, ["pkey", "-pubout", "-outform", "DER", "-passin", "pass:"], stdin=key)
    if done.rc != 0 or not done.out:
        raise ValueError("openssl cannot read it as a private key (%s)" % said(done))
    return bytes(done.out)


def verify(host: Host, chain: List[Certificate], trusted: Optional[List[Certificate]], partial: bool = False) -> str:
    """Why the first certificate does not lead to a trusted one; empty when it does.

    Without `trusted` the host's store counts; with `partial` each of `trusted` does, even without its own issuer. An
    expired certificate is looked at as of its last moment: its dates are another matter.
    """
    leaf = chain[0]
    words = ["verify", "-attime", str(int(min(max(time.time(), leaf.not_before), leaf.not_after - 1)))]
    if partial:
        words.append("-partial_chain")
    if not leaf.is_ca:
        words += ["-purpose", "sslserver"]
    # In the file system that goes with the boot: a preview leaves no trace.
    folder = host.temporary.folder("/run" if os.access("/run", os.W_OK) else "/tmp")
    try:
        for option, certificates in (("-untrusted", chain[1:]), ("-CAfile", trusted or [])):
            if certificates:
                path = os.path.join(folder, option[1:])
                with open(path, "w") as file:
                    file.write("".join(pem(certificate.der) for certificate in certificates))
                words += [option, path]
        if trusted:
            words += ["-no-CApath"] + (["-no-CAstore"] if has_store(host) else [])
        done = query(host, words, stdin=pem(leaf.der).encode())
    finally:
        host.temporary.discard(folder)
    if done.rc == 0:
        return ""
    return explained(chain, *parsed(done.stdout + "\n" + done.stderr))


def has_store(host: Host) -> bool:
    """Whether this openssl has a third place for trusted certificates: since 3.0."""
    return " 1." not in query(host, ["version"]).stdout[:10]


def parsed(text: str) -> Tuple[int, int, str]:
    """Number, depth and words of the first error that `openssl verify` prints."""
    for line in text.split("\n"):
        words = line.split()
        if words[:1] == ["error"] and words[2:3] == ["at"] and words[1].isdigit():
            return int(words[1]), int(words[3]), line.partition("lookup:")[2].strip()
    return 0, 0, text.strip().split("\n")[0]


def explained(chain: List[Certificate], number: int, depth: int, words: str) -> str:
    """An error of the verification in terms of who is missing or not trusted. Fewer may be known than were sent."""
    leaf = chain[0]
    last = chain[min(depth, len(chain) - 1)]
    if number == SELF_SIGNED or leaf.is_self_signed:
        return "it is self-signed, and not among the trusted certificates"
    if number == SELF_SIGNED_IN_CHAIN:
        return "its chain ends at %s, which is not trusted" % chain[-1].subject
    if number in UNKNOWN_ISSUER and len(chain) == 1:
        said = "its issuer %s is neither trusted nor in the chain: an intermediate certificate is missing, or the CA"
        return said % leaf.issuer + " is another"
    if number in UNKNOWN_ISSUER:
        said = "its chain is incomplete: %s, the issuer of %s, is neither trusted nor in it"
        return said % (last.issuer, last.subject)
    return "its chain does not hold: %s" % words
