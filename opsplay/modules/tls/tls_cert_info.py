"""Look at a certificate in a file: dates, names, strength, and whether key and chain go with it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Params, Path
from opsplay.modules.tls import _openssl
from opsplay.modules.tls._verdict import LIMITS, Verdict, refuse, uncovered
from opsplay.modules.tls._x509 import Certificate

PARAMS = dict(
    path=Path(required=True, help="The certificate in PEM form, perhaps followed by those of its issuers"),
    key=Path(help="The private key: it must belong to the certificate"),
    chain=Path(help="A file with the certificates of its issuers, where `path` does not hold them"),
    ca=Path(help="A file with the certificates of the CAs that are trusted, in place of this host's"),
    verify=Bool(help="Whether the chain must lead to a trusted CA. Default: when `ca` or `chain` is given"),
    **LIMITS,
)
CHECK = "exact"
RETURNED = (
    "status", "reasons", "subject", "issuer", "common_name", "serial", "san", "not_before", "not_after", "days_left",
    "fingerprint", "key_type", "key_bits", "curve", "signature_algorithm", "is_ca", "self_signed", "names_missing",
    "key_match", "chain_verified", "chain",
)  # fmt: skip


def run(host: Host, params: Params) -> Dict[str, Any]:
    refuse(host, params)
    paths = {name: host.expand(params[name]) for name in ("path", "key", "chain", "ca") if params[name]}
    if not_yet_there(host, list(paths.values())):
        host.unknown(*RETURNED)
        return host.outcome(path=paths["path"])
    found = _openssl.read(host, paths["path"])
    certificate, issuers = found[0], found[1:]
    if "chain" in paths:
        issuers += [each for each in _openssl.read(host, paths["chain"], "chain") if each.der != certificate.der]
    verdict = Verdict()
    verdict.judge(certificate, params)
    verdict.issuers(issuers)
    data = certificate.described()
    data.update(path=paths["path"], names_missing=uncovered(certificate, params.names))
    data["chain"] = [each.subject for each in issuers]
    data["key_match"] = key_match(host, verdict, certificate, paths.get("key"))
    data["chain_verified"] = verified(host, params, verdict, [certificate] + issuers, paths.get("ca"))
    return verdict.finish(host, params, paths["path"], data)


def not_yet_there(host: Host, paths: List[str]) -> bool:
    """In a preview: whether an earlier task would bring one of the files, so that nothing can be said of it."""
    if not host.check:
        return False
    unknown = [path for path in paths if host.exists(path) and not host.knows(path)]
    return bool(unknown) or (host.shadow.brings_unknown_files and not all(host.exists(path) for path in paths))


def key_match(host: Host, verdict: Verdict, certificate: Certificate, path: Optional[str]) -> Optional[bool]:
    """Whether the key is the certificate's; None when no key was given."""
    if path is None:
        return None
    try:
        matches = _openssl.public_key(host, host.read(path)) == certificate.key
    except FileNotFoundError:
        host.fail("there is no key %s" % path, path=path)
    except OSError as problem:
        host.fail("cannot read the key %s: %s" % (path, problem.strerror), path=path)
    except ValueError as problem:
        verdict.add("critical", "the key %s is of no use: %s" % (path, problem))
        return False
    if not matches:
        verdict.add("critical", "the key %s belongs to another certificate" % path)
    return matches


def verified(
    host: Host, params: Params, verdict: Verdict, chain: List[Certificate], ca: Optional[str]
) -> Optional[bool]:
    """Whether the chain leads to a trusted CA; None when that was not asked."""
    wanted = params.verify if params.verify is not None else bool(params.ca or params.chain)
    if not wanted:
        return None
    problem = _openssl.verify(host, chain, _openssl.read(host, ca, "CA certificate") if ca else None)
    if problem:
        verdict.add("critical", problem)
    return not problem
