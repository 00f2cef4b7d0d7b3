"""Make a self-signed certificate, or one of a small CA of one's own, where there is none that is of use.

A certificate that is valid, or that a CA has issued, is never replaced unless `force` says so.

Key and certificate are two files, and no rename replaces two files at once. So a key that is of use stays, and only
the certificate is replaced, in one rename: at no moment do the two not go together. Where there must be a new key (it
is missing, damaged or too weak, or `new_key`), the key goes first, and is taken back when the certificate cannot
follow. A host that loses its power between these two renames has a new key with the old certificate; the next run finds
that and makes a certificate for the key.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, List, Mode, Params, Path, Str
from opsplay.modules.tls._issuing import Request, checked_names, is_name, key_options, read_issuer, subject
from opsplay.modules.tls._pair import Pair
from opsplay.modules.tls._verdict import address, ascii_name, counted
from opsplay.modules.tls._x509 import Certificate, iso

PARAMS = {
    "path": Path(required=True, help="The certificate's file, in PEM form"),
    "key": Path(required=True, help="The private key's file, in PEM form"),
    "cn": Str(help="The common name. Default: the first of `san`"),
    "san": List(of=Str(), default=[], help="DNS names and IP addresses that it is for; `cn`, if it is a name, is one"),
    "days": Int(min=1, default=365, help="How many days it is valid"),
    "key_type": Str(default="ecdsa:prime256v1", help="The kind of a new key: rsa:BITS, ecdsa:CURVE, ed25519, ed448"),
    "only_if": Choice(
        "absent", "expiring", "invalid", default="invalid",
        help="When one is made: where there is none; also where it expires; also where it is of no use: its key is "
        "missing or another, a name is not covered, it is too weak, its issuer is not the one asked for",
    ),
    "renew_before": Int(min=0, help="How many days before its end it is expiring. Default: 30, or a third of days"),
    "force": Bool(default=False, help="Make a new one whatever is there"),
    "new_key": Bool(default=False, help="When a new one is made: with a new key, even if there is one that is of use"),
    "keep_old": Bool(default=False, help="Keep what is replaced beside it, under a name that ends with today's date"),
    "ca": Bool(default=False, help="It is for a CA that issues others, not for a server"),
    "issuer_cert": Path(help="The certificate of one's own CA, which issues this one"),
    "issuer_key": Path(help="The key of that CA"),
    "owner": Str(help="The user who owns both files"),
    "group": Str(help="The group of both files"),
    "mode": Mode(help="The certificate's permission bits. Default: 0644 for a new file, else as they are"),
    "key_mode": Mode(help="The key's permission bits. Default: 0600 for a new file, else as they are"),
}  # fmt: skip
CHECK = "exact"
RETURNED = ("serial", "not_before", "not_after", "days_left", "fingerprint", "subject", "issuer", "san")


def run(host: Host, params: Params) -> Dict[str, Any]:
    request = wanted(host, params)
    pair = Pair(host, host.expand(params.path), host.expand(params.key))
    if pair.path == pair.key_path:
        host.fail("path and key are the same file: %s" % pair.path)
    issuer = None
    if params.issuer_cert:
        paths = host.expand(params.issuer_cert), host.expand(params.issuer_key)
        # In a preview the CA may be one that an earlier task would make.
        if not host.check or all(host.exists(path) and host.knows(path) for path in paths):
            issuer = read_issuer(host, *paths)
            limit_days(host, request, issuer.certificate)
    pair.look()
    reason = why(host, params, request, pair, issuer)
    if reason:
        pair.replace(params, request, issuer)
    pair.set_permissions(params)
    result: Dict[str, Any] = {"path": pair.path, "key": pair.key_path, "reason": reason}
    if host.check and (reason or pair.certificate is None):
        host.unknown(*RETURNED)
    else:
        result.update(pair.described())
    return host.outcome(**result)


def wanted(host: Host, params: Params) -> Request:
    """What the certificate is to say. Fails for what cannot be, before anything is looked at."""
    key_options(host, params.key_type)
    names = checked_names(host, params.san)
    cn = params.cn if params.cn is not None else (names[0] if names and len(names[0]) <= 64 else "")
    if not cn:
        host.fail("nothing says whom it is for: give cn, or san with a name of at most 64 characters first")
    subject(host, cn)
    own = ascii_name(cn)
    if not params.ca and own not in names and (address(own) or is_name(own)):
        names.insert(0, own)
    if not params.ca and not names:
        host.fail("cn %r is no DNS name or address, so san must say what the server is called" % cn)
    if bool(params.issuer_cert) != bool(params.issuer_key):
        host.fail("issuer_cert and issuer_key belong together: give both or none")
    return Request(cn, names, params.days, params.ca)


def limit_days(host: Host, request: Request, issuer: Certificate) -> None:
    """What outlives its issuer is worth nothing."""
    if request.days > issuer.days_left():
        said = "the CA %s expires in %s: the certificate cannot last longer; renew the CA"
        host.warn(said % (issuer.subject, counted(issuer.days_left())))
        request.days = issuer.days_left()


# --- whether there is to be a new one ---


def why(host: Host, params: Params, request: Request, pair: Pair, issuer: Optional[Any]) -> str:
    """The reason for a new certificate; empty when what is there stays."""
    if params.force:
        return "forced"
    if pair.foreign:
        host.fail("%s; move it away, or say force: true to replace it" % pair.foreign, path=pair.path)
    if pair.is_pretended:
        return ""
    if pair.is_absent:
        return "there is none"
    found = pair.certificate
    if found is not None and is_of_another_ca(params, pair, found, issuer):
        warn_of(host, params, pair, request)
        return ""
    if params.only_if == "absent":
        return ""
    if found is not None:
        ends = ending(host, params, found, issuer)
        if ends or params.only_if == "expiring":
            return ends
        return pair.flaw(request, bool(params.issuer_cert), issuer)
    if params.only_if == "expiring":
        host.fail("%s: %s; only_if: invalid replaces it" % (pair.path, pair.problem), path=pair.path)
    return pair.problem


def is_of_another_ca(params: Params, pair: Pair, found: Certificate, issuer: Optional[Any]) -> bool:
    """Whether someone else issued it: then it is not ours to replace."""
    if found.is_self_signed:
        return False
    if issuer is not None:
        return bool(found.issuer != issuer.certificate.subject)
    return not params.issuer_cert


def ending(host: Host, params: Params, found: Certificate, issuer: Optional[Any]) -> str:
    """Whether it expires so soon that it is time for another."""
    before = params.renew_before if params.renew_before is not None else min(30, params.days // 3)
    if found.not_after < time.time():
        return "it expired on %s" % iso(found.not_after)
    if found.days_left() >= before:
        return ""
    if issuer is not None and found.not_after > issuer.certificate.not_after - 2 * 86400:
        # A new one could not last longer.
        return ""
    return "it expires in %s, on %s" % (counted(found.days_left()), iso(found.not_after))


def warn_of(host: Host, params: Params, pair: Pair, request: Request) -> None:
    """A certificate of a CA is kept even when it is of no use; but that is said."""
    found = pair.certificate
    if found is None:
        return
    problem = "it expired on %s" % iso(found.not_after) if found.not_after < time.time() else ""
    problem = problem or pair.mismatch(request)
    if problem:
        said = "%s was issued by %s and is kept, though %s; force: true replaces it"
        host.warn(said % (os.path.basename(pair.path), found.issuer, problem))
