"""What is to be said of a certificate: its dates, its names, its strength, and how bad that is."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Int, Params, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.tls._x509 import WEAK_SIGNATURES, Certificate, iso

LIMITS = {
    "names": ListOf(of=Str(), default=[], help="DNS names and addresses that it must be for"),
    "warn_days": Int(min=0, default=30, help="It is a warning when it expires within so many days"),
    "crit_days": Int(min=0, default=7, help="It is critical when it expires within so many days"),
    "fail_on": Choice(
        "none", "warning", "critical", default="none",
        help="From which status on the task fails; an expired or not yet valid certificate counts as critical",
    ),
}  # fmt: skip
LEVELS = ("ok", "warning", "critical", "not_yet_valid", "expired")
RSA_BITS, CURVE_BITS = 2048, 224


def refuse(host: Host, params: Params) -> None:
    """Limits that contradict each other."""
    if params.crit_days > params.warn_days:
        said = "crit_days (%d) is more than warn_days (%d): then nothing would be a warning"
        host.fail(said % (params.crit_days, params.warn_days))


class Verdict:
    """The worst of what was found, and every reason for it."""

    __slots__ = ("status", "reasons")

    def __init__(self) -> None:
        self.status = "ok"
        self.reasons: List[str] = []

    def add(self, level: str, reason: str) -> None:
        if LEVELS.index(level) > LEVELS.index(self.status):
            self.status = level
        if reason not in self.reasons:
            self.reasons.append(reason)

    def judge(self, certificate: Certificate, params: Params, now: Optional[float] = None) -> None:
        """Dates, names and strength of a server's certificate."""
        now = time.time() if now is None else now
        self._dates(certificate, params, now)
        missing = uncovered(certificate, params.names)
        if missing and not certificate.names:
            self.add("critical", "it has no subjectAltName, and clients do not look at the CN: %s" % ", ".join(missing))
        elif missing:
            said = "it is not for %s, only for %s"
            self.add("critical", said % (", ".join(missing), ", ".join(certificate.names)))
        for reason in weaknesses(certificate):
            self.add("critical", reason)

    def _dates(self, certificate: Certificate, params: Params, now: float) -> None:
        days = certificate.days_left(now)
        until = iso(certificate.not_after)
        if now > certificate.not_after:
            self.add("expired", "it expired on %s, %s ago" % (until, counted((now - certificate.not_after) // 86400)))
        elif now < certificate.not_before:
            self.add("not_yet_valid", "it is not valid before %s" % iso(certificate.not_before))
        elif days < params.crit_days:
            self.add("critical", "it expires in %s, on %s" % (counted(days), until))
        elif days < params.warn_days:
            self.add("warning", "it expires in %s, on %s" % (counted(days), until))

    def issuers(self, certificates: List[Certificate], now: Optional[float] = None) -> None:
        """The dates of those that stand behind it."""
        now = time.time() if now is None else now
        for certificate in certificates:
            if now > certificate.not_after:
                said = "the certificate of its issuer %s expired on %s"
                self.add("critical", said % (certificate.subject, iso(certificate.not_after)))

    def finish(self, host: Host, params: Params, what: str, data: Dict[str, Any]) -> Dict[str, Any]:
        """The outcome; fails where the status is as bad as `fail_on` says."""
        data.update(status=self.status, reasons=self.reasons)
        if params.fail_on != "none" and LEVELS.index(self.status) >= LEVELS.index(params.fail_on):
            host.fail("%s: %s: %s" % (what, self.status.replace("_", " "), "; ".join(self.reasons)), **data)
        return host.outcome(**data)


def counted(days: float) -> str:
    return "%d day%s" % (days, "" if int(days) == 1 else "s")


def weaknesses(certificate: Certificate) -> List[str]:
    """Why clients refuse it whatever its dates are. The signature of a self-signed one proves nothing anyway."""
    found = []
    if certificate.signature in WEAK_SIGNATURES and not certificate.is_self_signed:
        found.append("it is signed with %s, which clients refuse" % certificate.signature)
    return found + short(certificate.key_type, certificate.key_bits)


def short(kind: str, bits: int) -> List[str]:
    """Why a key is too weak; nothing when it is not."""
    least = {"rsa": RSA_BITS, "dsa": RSA_BITS, "ecdsa": CURVE_BITS}.get(kind, 0)
    return ["its %s key has %d bits, fewer than %d" % (kind.upper(), bits, least)] if bits < least else []


# --- names, as RFC 6125 compares them ---


def uncovered(certificate: Certificate, names: List[str]) -> List[str]:
    """Those of the names that the certificate is not for."""
    return [name for name in names if not any(covers(pattern, name) for pattern in certificate.names)]


def covers(pattern: str, name: str) -> bool:
    """Whether a certificate's name stands for this one. `*` is a whole first label, and stands for just one label."""
    wanted, pattern = ascii_name(name), pattern.lower()
    if pattern == wanted:
        return True
    if address(wanted):
        return False
    first, _, rest = pattern.partition(".")
    label, _, domain = wanted.partition(".")
    return first == "*" and rest.count(".") > 0 and rest == domain and bool(label) and label != "*"


def ascii_name(name: str) -> str:
    """A DNS name in small ASCII letters, without a dot at its end; an address in its shortest form."""
    name = name.strip().lower()
    found = address(name)
    if found:
        return found
    name = name[:-1] if name.endswith(".") else name
    try:
        name.encode("ascii")
    except UnicodeEncodeError:
        try:
            return ".".join(label.encode("idna").decode("ascii") for label in name.split("."))
        except UnicodeError:
            return name
    return name


def address(name: str) -> str:
    """The IP address that a name is, in its shortest form; empty when it is none."""
    if ":" not in name and not name.replace(".", "").isdigit():
        return ""
    import ipaddress

    try:
        return str(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return ""
