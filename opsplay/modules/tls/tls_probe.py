"""See what certificate a server really serves, whether it is trusted, and which versions of TLS it accepts."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Float, Int, Params, Path, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.tls import _openssl, _served
from opsplay.modules.tls._verdict import LIMITS, Verdict, refuse, uncovered
from opsplay.modules.tls._x509 import Certificate, iso

PARAMS = dict(
    LIMITS,
    host=Str(default="127.0.0.1", help="The server, by name or address, as the machine that runs the task reaches it"),
    port=Int(min=1, max=65535, default=443, help="Its port"),
    sni=Str(help="The name that is asked for, of which one server may have many. Default: host"),
    starttls=Choice("none", "smtp", "postgres", default="none", help="The protocol in which TLS begins later"),
    names=ListOf(of=Str(), default=[], help="DNS names and addresses that it must be for. Default: the name asked for"),
    verify=Bool(default=True, help="Whether its certificate must lead to a trusted CA"),
    ca=Path(help="A file with the certificates of the CAs that are trusted, in place of this host's"),
    min_version=Choice("1.0", "1.1", "1.2", "1.3", default="1.2", help="The oldest version of TLS that is acceptable"),
    check_versions=Bool(default=False, help="Try each version of TLS: one below min_version must be refused"),
    same_as=Path(help="A certificate's file on this host: the same must be served"),
    fingerprint=Str(help="The SHA-256 fingerprint of the certificate that must be served"),
    timeout=Float(default=10, help="Seconds that one connection may take"),
)
CHECK = "skipped"
RETURNED = (
    "status", "reasons", "protocol", "cipher", "versions", "chain", "chain_verified", "same", "names_missing",
    "subject", "issuer", "serial", "san", "not_before", "not_after", "days_left", "fingerprint", "self_signed",
)  # fmt: skip


def run(host: Host, params: Params) -> Dict[str, Any]:
    refuse(host, params)
    if params.timeout <= 0:
        host.fail("timeout must be more than 0 seconds, not %g" % params.timeout)
    if host.check:
        host.unknown(*RETURNED)
        return host.outcome(skipped=True, msg="no server is asked in a preview")
    name = params.sni if params.sni is not None else params.host
    server = _served.Server(params.host, params.port, name, params.starttls, params.timeout)
    where = "%s:%d%s" % (params.host, params.port, "" if name == params.host else " as %s" % name)
    served = ask(host, server, where)
    certificate = Certificate(served.certificate)
    chain = [Certificate(each) for each in served.chain or [served.certificate]]
    verdict = Verdict()
    wanted = Params(params, names=params.names or [name])
    verdict.judge(certificate, wanted)
    verdict.issuers(chain[1:])
    data = dict(certificate.described(), protocol=served.protocol, cipher=served.cipher, host=params.host)
    data.update(port=params.port, names_missing=uncovered(certificate, wanted.names))
    data["chain"] = None if served.chain is None else [each.subject for each in chain[1:]]
    data["versions"] = versions(verdict, params, server, served)
    data["chain_verified"] = verified(host, params, verdict, server, chain) if params.verify else None
    data["same"] = same(host, params, verdict, certificate)
    return verdict.finish(host, params, where, data)


def ask(host: Host, server: Any, where: str) -> Any:
    """What is served, trusted or not. Fails when there is no TLS."""
    try:
        served = server.handshake(_served.context())
    except _served.Unreachable as problem:
        hint = ""
        if problem.reason in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            hint = "; it answers, but not in TLS: is this a port without it, or does it need starttls?"
        host.fail("%s: no TLS connection: %s%s" % (where, problem, hint), status="unreachable", host=server.host)
    if not served.certificate:
        host.fail("%s serves no certificate" % where, status="unreachable", host=server.host)
    return served


def versions(verdict: Verdict, params: Params, server: Any, served: Any) -> Optional[Dict[str, Any]]:
    """Which versions the server accepts, None for what this host cannot try. Those that are too old are a reason."""
    least = _served.VERSIONS["TLSv1" + ("" if params.min_version == "1.0" else params.min_version[1:])]
    found: Optional[Dict[str, Any]] = None
    spoken = [served.protocol]
    if params.check_versions:
        found = {version: _served.accepts(server, version) for version in _served.VERSIONS}
        spoken = [version for version, answer in found.items() if answer]
    for version in spoken:
        if _served.VERSIONS.get(version, 0) < least:
            verdict.add("critical", "it speaks %s, older than TLSv%s" % (version, params.min_version))
    return found


def verified(host: Host, params: Params, verdict: Verdict, server: Any, chain: List[Certificate]) -> bool:
    """Whether the certificate leads to a trusted one. Its dates are another matter."""
    trusted = host.expand(params.ca) if params.ca else None
    if trusted:
        _openssl.read(host, trusted, "CA certificate")
    is_timely = verdict.status not in ("expired", "not_yet_valid")
    try:
        server.handshake(_served.context(trusted=trusted, verify=True, check_time=is_timely))
    except _served.Distrusted as problem:
        verdict.add("critical", _openssl.explained(chain, problem.code, len(chain) - 1, str(problem)))
        return False
    except _served.Unreachable as problem:
        verdict.add("critical", "a second connection, to verify its chain, failed: %s" % problem)
        return False
    return True


def same(host: Host, params: Params, verdict: Verdict, certificate: Certificate) -> Optional[bool]:
    """Whether the certificate is the one that was expected; None when none was."""
    if not params.same_as and not params.fingerprint:
        return None
    answer = True
    if params.same_as:
        path = host.expand(params.same_as)
        expected = _openssl.read(host, path)[0]
        if expected.der != certificate.der:
            said = "another certificate is served than %s holds (serial %s, until %s): the server has not been reloaded"
            verdict.add("critical", said % (path, expected.serial, iso(expected.not_after)))
            answer = False
    if params.fingerprint and plain(params.fingerprint) != plain(certificate.fingerprint()):
        verdict.add("critical", "another certificate is served than the one with fingerprint %s" % params.fingerprint)
        answer = False
    return answer


def plain(fingerprint: str) -> str:
    return fingerprint.replace(":", "").replace(" ", "").lower()
