"""Keys and certificates made with openssl, in a private folder, so that nothing half made is ever in its place."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.modules.tls import _openssl
from opsplay.modules.tls._verdict import address, ascii_name
from opsplay.modules.tls._x509 import Certificate, key_kind, pem

EDWARDS = ("ed25519", "ed448")
# RFC 5280, upper bound of a common name.
COMMON_NAME_MOST = 64
LABEL_MOST = 63
EXTENSIONS = """[extensions]
subjectKeyIdentifier = hash
basicConstraints = critical, %(constraints)s
keyUsage = critical, %(usage)s
%(more)s"""


class Issuer:
    """A CA of one's own: its certificates (the issuing one first) and where its key is."""

    __slots__ = ("chain", "key")

    def __init__(self, chain: List[Certificate], key: str) -> None:
        self.chain = chain
        self.key = key

    @property
    def certificate(self) -> Certificate:
        return self.chain[0]


class Request:
    """What a new certificate is to say."""

    __slots__ = ("cn", "names", "days", "is_ca")

    def __init__(self, cn: str, names: List[str], days: int, is_ca: bool) -> None:
        self.cn = cn
        self.names = names
        self.days = days
        self.is_ca = is_ca


def read_issuer(host: Host, certificate: str, key: str) -> Issuer:
    """The CA in these files. Fails when it is none, when it has expired, or when the key is not its own."""
    chain = _openssl.read(host, certificate, "CA certificate")
    if not chain[0].is_ca:
        host.fail("%s is not the certificate of a CA: make one with ca: true" % certificate, issuer_cert=certificate)
    if chain[0].days_left() < 1:
        host.fail("the CA %s expires within a day or has expired: renew it first" % chain[0].subject)
    try:
        matches = _openssl.public_key(host, host.read(key)) == chain[0].key
    except FileNotFoundError:
        host.fail("there is no issuer_key %s" % key)
    except (OSError, ValueError) as problem:
        host.fail("the issuer_key %s is of no use: %s" % (key, problem))
    if not matches:
        host.fail("the key %s does not belong to the CA in %s" % (key, certificate))
    return Issuer(chain, key)


# --- what is asked for ---


def key_options(host: Host, kind: str) -> List[str]:
    """The words for `openssl genpkey`: rsa:BITS, ecdsa:CURVE, ed25519, ed448."""
    algorithm, _, size = kind.partition(":")
    if algorithm == "rsa" and (size or "2048").isdigit() and 2048 <= int(size or 2048) <= 16384:
        return ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:%d" % int(size or 2048)]
    if algorithm == "ecdsa" and (size or "prime256v1").isalnum():
        curve = ["-pkeyopt", "ec_paramgen_curve:%s" % (size or "prime256v1"), "-pkeyopt", "ec_param_enc:named_curve"]
        return ["-algorithm", "EC"] + curve
    if kind not in EDWARDS:
        host.fail("key_type %r is none of rsa:BITS (2048 to 16384), ecdsa:CURVE, ed25519, ed448" % kind)
    return ["-algorithm", kind.upper()]


def checked_names(host: Host, names: List[str]) -> List[str]:
    """The names of a subjectAltName, each once, in their ASCII form. `DNS:` and `IP:` may stand before them."""
    found: List[str] = []
    for given in names:
        kind, colon, rest = given.partition(":")
        is_marked = bool(colon) and kind.upper() in ("DNS", "IP")
        name = ascii_name(rest if is_marked else given)
        is_address = bool(address(name))
        if is_marked and is_address != (kind.upper() == "IP"):
            host.fail("san: %r is %s" % (given, "an address: write IP:" if is_address else "not an IP address"))
        if not is_address and not is_name(name):
            host.fail("san: %r is neither a DNS name nor an IP address" % given)
        if name not in found:
            found.append(name)
    return found


def is_name(name: str) -> bool:
    """Whether this can be a DNS name in a certificate; its first label may be `*`."""
    labels = name.split(".")
    if labels[0] == "*" and len(labels) > 1:
        del labels[0]
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    sizes = all(0 < len(label) <= LABEL_MOST for label in labels) and len(name) <= 253
    return sizes and not any(set(label) - letters or label[0] == "-" or label[-1] == "-" for label in labels)


def subject(host: Host, cn: str) -> str:
    """The subject as openssl takes it on its command line."""
    if not cn or len(cn) > COMMON_NAME_MOST or any(ord(char) < 32 for char in cn):
        said = "cn %r cannot be a common name: 1 to %d characters, none of them a control character"
        host.fail((said + "; longer names belong in san") % (cn, COMMON_NAME_MOST))
    return "/CN=" + "".join("\\" + char if char in "/\\+=" else char for char in cn)


def extensions(request: Request, key_type: str, has_issuer: bool) -> str:
    """The section of extensions in openssl's configuration language. All that is put in was checked before."""
    more = ["authorityKeyIdentifier = keyid"] if has_issuer else []
    usage = "keyCertSign, cRLSign"
    if not request.is_ca:
        usage = "digitalSignature, keyEncipherment" if key_type == "rsa" else "digitalSignature"
        more.append("extendedKeyUsage = serverAuth, clientAuth")
    if request.names:
        marked = ["%s:%s" % ("IP" if address(name) else "DNS", name) for name in request.names]
        more.append("subjectAltName = @names\n\n[names]")
        more += ["%s.%d = %s" % (entry.partition(":")[0], number, entry.partition(":")[2])
                 for number, entry in enumerate(marked, 1)]  # fmt: skip
    constraints = "CA:TRUE" if request.is_ca else "CA:FALSE"
    return EXTENSIONS % {"constraints": constraints, "usage": usage, "more": "\n".join(more) + "\n"}


# --- openssl ---


def new_key(host: Host, kind: str) -> bytes:
    """A new private key in PEM form: it is on no disk yet."""
    done = host.run(
        [_openssl.program(host), "genpkey"] + key_options(host, kind),
        foreseen=True, env=_openssl.ENVIRONMENT, timeout=300,
    )  # fmt: skip
    if done.rc != 0:
        host.fail("openssl cannot make a key %s: %s" % (kind, _openssl.said(done)))
    return bytes(done.out)


def new_certificate(host: Host, folder: str, request: Request, key: bytes, issuer: Optional[Issuer]) -> str:
    """A new certificate for this key in PEM form, with the issuer's behind it unless that is a root."""
    paths: Dict[str, str] = {name: os.path.join(folder, name) for name in ("key", "request", "extensions", "issuer")}
    kind = key_kind(_openssl.public_key(host, key))[0]
    put(paths["key"], key)
    put(paths["extensions"], extensions(request, kind, issuer is not None).encode())
    openssl(host, ["req", "-new", "-utf8", "-key", paths["key"], "-subj", subject(host, request.cn),
                   "-config", put(os.path.join(folder, "config"), b"[req]\ndistinguished_name = dn\n[dn]\n"),
                   "-out", paths["request"]])  # fmt: skip
    serial = "%02x%s" % (ord(os.urandom(1)) & 0x3F | 0x40, os.urandom(15).hex())
    words = ["x509", "-req", "-in", paths["request"], "-days", str(request.days), "-set_serial", "0x" + serial,
             "-extfile", paths["extensions"], "-extensions", "extensions"]  # fmt: skip
    if issuer is None:
        return str(openssl(host, words + ["-signkey", paths["key"]]).stdout)
    put(paths["issuer"], pem(issuer.certificate.der).encode())
    made = openssl(host, words + ["-CA", paths["issuer"], "-CAkey", issuer.key]).stdout
    behind = [pem(each.der) for each in issuer.chain if not each.is_self_signed]
    return str(made) + "".join(behind)


def openssl(host: Host, words: List[str]) -> Any:
    """Run openssl for something new; fails in its words."""
    done = host.run([_openssl.program(host)] + words, foreseen=True, env=_openssl.ENVIRONMENT, timeout=60)
    if done.rc != 0:
        host.fail("openssl %s failed: %s" % (words[0], _openssl.said(done)), stderr=done.stderr)
    return done


def put(path: str, data: bytes) -> str:
    """A file of the private folder."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    return path
