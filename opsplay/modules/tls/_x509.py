"""Certificates as RFC 5280 encodes them, read without a program.

The text that openssl prints is made for people: a name in it may hold what looks like another name. Here each value is
taken from its own field, in the same way on every release.
"""

from __future__ import annotations

import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
SEQUENCE, BOOLEAN, INTEGER, BITS, OID = 0x30, 0x01, 0x02, 0x03, 0x06
# The tags of strings, and how each is encoded.
STRINGS = {12: "utf-8", 18: "ascii", 19: "ascii", 20: "latin-1", 22: "ascii", 28: "utf-32-be", 30: "utf-16-be"}
ATTRIBUTES = {
    "2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
    "2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.42": "GN",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID", "1.2.840.113549.1.9.1": "emailAddress",
}  # fmt: skip
SIGNATURES = {
    "1.2.840.113549.1.1.4": "md5WithRSAEncryption", "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
    "1.2.840.113549.1.1.10": "rsassaPss", "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
    "1.2.840.113549.1.1.12": "sha384WithRSAEncryption", "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
    "1.2.840.10045.4.1": "ecdsa-with-SHA1", "1.2.840.10045.4.3.1": "ecdsa-with-SHA224",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256", "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512", "1.2.840.10040.4.3": "dsa-with-SHA1",
    "1.3.101.112": "ED25519", "1.3.101.113": "ED448",
}  # fmt: skip
WEAK_SIGNATURES = ("md5WithRSAEncryption", "sha1WithRSAEncryption", "ecdsa-with-SHA1", "dsa-with-SHA1")
KEYS = {
    "1.2.840.113549.1.1.1": "rsa", "1.2.840.113549.1.1.10": "rsa", "1.2.840.10045.2.1": "ecdsa",
    "1.2.840.10040.4.1": "dsa", "1.3.101.112": "ed25519", "1.3.101.113": "ed448",
}  # fmt: skip
CURVES = {
    "1.2.840.10045.3.1.7": ("prime256v1", 256), "1.3.132.0.34": ("secp384r1", 384), "1.3.132.0.35": ("secp521r1", 521),
    "1.3.132.0.10": ("secp256k1", 256), "1.3.132.0.33": ("secp224r1", 224), "1.2.840.10045.3.1.1": ("prime192v1", 192),
}  # fmt: skip
SUBJECT_KEY, NAMES, CONSTRAINTS, ISSUER_KEY = "2.5.29.14", "2.5.29.17", "2.5.29.19", "2.5.29.35"
FEATURES = "1.3.6.1.5.5.7.1.24"


class Certificate:
    """What a certificate says. Times are seconds since 1970; `key` is its public key as DER (SubjectPublicKeyInfo).

    `names` are the DNS names and IP addresses that it is for. Raises ValueError for what is no certificate.
    """

    __slots__ = (
        "der", "serial", "subject", "issuer", "common_name", "not_before", "not_after", "names", "key", "key_type",
        "key_bits", "curve", "signature", "is_ca", "is_self_signed", "must_staple",
    )  # fmt: skip

    def __init__(self, der: bytes) -> None:
        self.der = der
        try:
            whole = children(der, SEQUENCE)
            fields = [field for field in whole[0].parts() if field.tag != 0xA0]
            serial, _, issuer, validity, subject, key = fields[:6]
            self.serial = hexadecimal(int.from_bytes(serial.value, "big", signed=True))
            self.issuer, self.subject = written(issuer), written(subject)
            self.common_name = common_name(subject)
            self.not_before, self.not_after = [moment(field) for field in validity.parts()]
            self.signature = named(whole[1].parts()[0], SIGNATURES)
            self.key = key.whole
            self.key_type, self.key_bits, self.curve = described_key(key)
            extensions = dict(extensions_of(fields[6:]))
            self.names = list(alternatives(extensions.get(NAMES)))
            limits = children(extensions[CONSTRAINTS], SEQUENCE, inner=True) if CONSTRAINTS in extensions else []
            self.is_ca = any(part.tag == BOOLEAN and part.value != b"\0" for part in limits)
            same_key = issuer_key(extensions.get(ISSUER_KEY)) in (None, subject_key(extensions.get(SUBJECT_KEY)))
            self.is_self_signed = issuer.whole == subject.whole and same_key
            self.must_staple = FEATURES in extensions
        except (IndexError, UnicodeDecodeError, KeyError) as problem:
            raise ValueError("it is no X.509 certificate: %s" % problem)

    def fingerprint(self) -> str:
        """SHA-256 of the whole, in pairs of hexadecimal digits as openssl shows it."""
        import hashlib

        digits = hashlib.sha256(self.der).hexdigest().upper()
        return ":".join(digits[at : at + 2] for at in range(0, 64, 2))

    def days_left(self, now: Optional[float] = None) -> int:
        """Whole days until it expires, rounded down; negative afterwards."""
        return int((self.not_after - (time.time() if now is None else now)) // 86400)

    def described(self) -> Dict[str, Any]:
        """All of it as a module returns it."""
        return {
            "subject": self.subject, "issuer": self.issuer, "common_name": self.common_name, "serial": self.serial,
            "san": self.names, "not_before": iso(self.not_before), "not_after": iso(self.not_after),
            "days_left": self.days_left(), "fingerprint": self.fingerprint(), "key_type": self.key_type,
            "key_bits": self.key_bits, "curve": self.curve, "signature_algorithm": self.signature,
            "is_ca": self.is_ca, "self_signed": self.is_self_signed,
        }  # fmt: skip


def certificates_in(text: str) -> List[Certificate]:
    """The certificates of a PEM file in their order; other blocks are passed over. Raises ValueError."""
    from binascii import Error, a2b_base64

    found = []
    for number, part in enumerate(text.split(BEGIN)[1:], 1):
        body, end, _ = part.partition(END)
        if not end:
            raise ValueError("certificate %d has no end: the file was cut off" % number)
        digits = "".join(body.split())
        try:
            # It passes over other characters.
            der = b"" if set(digits) - BASE64 else a2b_base64(digits.encode("ascii"))
        except Error:
            der = b""
        if not der:
            raise ValueError("certificate %d is not base64: the file is damaged" % number)
        found.append(Certificate(der))
    return found


def pem(der: bytes) -> str:
    """A certificate as text."""
    from binascii import b2a_base64

    digits = b2a_base64(der, newline=False).decode("ascii")
    lines = [digits[at : at + 64] for at in range(0, len(digits), 64)]
    return "\n".join([BEGIN] + lines + [END]) + "\n"


def hexadecimal(number: int) -> str:
    """A serial number as openssl shows it: two digits for each byte."""
    digits = "%X" % abs(number)
    return ("-" if number < 0 else "") + ("0" + digits if len(digits) % 2 else digits)


def iso(moment: float) -> str:
    """A moment in UTC as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


# --- DER: a tag, a length, a value ---


class Field:
    """One value with its tag; `whole` is all of it, tag and length included."""

    __slots__ = ("tag", "value", "whole")

    def __init__(self, tag: int, value: bytes, whole: bytes) -> None:
        self.tag = tag
        self.value = value
        self.whole = whole

    def parts(self) -> List["Field"]:
        """The values that this one holds. Raises ValueError."""
        return list(fields_in(self.value))


def fields_in(data: bytes) -> Iterator[Field]:
    at = 0
    while at < len(data):
        tag, length, start = data[at], data[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[start : start + count], "big")
            start += count
        end = start + length
        if end > len(data) or length < 0:
            raise ValueError("it is no X.509 certificate: a field is longer than the whole")
        yield Field(tag, data[start:end], data[at:end])
        at = end


def children(data: bytes, tag: int, inner: bool = False) -> List[Field]:
    """What the one value of `data` holds. Raises ValueError, IndexError."""
    found = list(fields_in(data))
    if len(found) != 1 or found[0].tag != tag:
        raise ValueError("it is no X.509 certificate: %s" % ("an extension is damaged" if inner else "not a sequence"))
    return found[0].parts()


def dotted(value: bytes) -> str:
    """An object identifier in figures."""
    numbers, current = [], 0
    for byte in value:
        current = current << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(current)
            current = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(number) for number in [first, numbers[0] - 40 * first] + numbers[1:])


def named(field: Field, names: Dict[str, Any]) -> Any:
    number = dotted(field.value)
    return names.get(number, number)


def moment(field: Field) -> int:
    """UTCTime or GeneralizedTime in seconds since 1970 (RFC 5280, 4.1.2.5)."""
    text = field.value.decode("ascii")
    if field.tag == 0x17:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    if len(text) != 15 or text[-1] != "Z":
        raise ValueError("it is no X.509 certificate: %r is not a moment" % text)
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    # Years that begin in March have their leap day at the end.
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469
    return days * 86400 + int(text[8:10]) * 3600 + int(text[10:12]) * 60 + int(text[12:14])


# --- names ---


def attributes(name: Field) -> Iterator[Tuple[str, str, bool]]:
    """The attributes of a distinguished name in the order they stand: name, value, whether it belongs to the last."""
    for group in name.parts():
        for number, pair in enumerate(group.parts()):
            kind, value = pair.parts()
            text = value.value.decode(STRINGS.get(value.tag, "latin-1"), "replace")
            yield named(kind, ATTRIBUTES), text, number > 0


def written(name: Field) -> str:
    """A distinguished name as RFC 4514 writes it, the most specific attribute first."""
    groups: List[str] = []
    for kind, text, joined in attributes(name):
        escaped = "".join("\\" + char if char in ',+"\\<>;' else char for char in text)
        if escaped[:1] in ("#", " "):
            escaped = "\\" + escaped
        pair = "%s=%s" % (kind, escaped.replace("\0", "\\00").replace("\n", "\\0A"))
        groups[-1:] = [groups[-1] + "+" + pair] if joined else groups[-1:] + [pair]
    return ",".join(reversed(groups))


def common_name(name: Field) -> str:
    values = [text for kind, text, _ in attributes(name) if kind == "CN"]
    return values[-1] if values else ""


def alternatives(extension: Optional[bytes]) -> Iterator[str]:
    """The DNS names and addresses of a subjectAltName."""
    for field in children(extension, SEQUENCE, inner=True) if extension is not None else ():
        if field.tag == 0x82:
            yield field.value.decode("ascii", "backslashreplace").lower()
        elif field.tag == 0x87 and len(field.value) in (4, 16):
            import ipaddress

            yield str(ipaddress.ip_address(field.value))


# --- extensions and keys ---


def extensions_of(fields: List[Field]) -> Iterator[Tuple[str, bytes]]:
    for field in fields:
        if field.tag == 0xA3:
            for extension in field.parts()[0].parts():
                parts = extension.parts()
                yield dotted(parts[0].value), parts[-1].value


def subject_key(extension: Optional[bytes]) -> Optional[bytes]:
    return next((field.value for field in fields_in(extension)), None) if extension else None


def issuer_key(extension: Optional[bytes]) -> Optional[bytes]:
    found = children(extension, SEQUENCE, inner=True) if extension else []
    return next((field.value for field in found if field.tag == 0x80), None)


def key_kind(public: bytes) -> Tuple[str, int, str]:
    """The kind, the bits and the curve of a public key as DER. Raises ValueError."""
    return described_key(next(fields_in(public)))


def described_key(key: Field) -> Tuple[str, int, str]:
    """The kind of a public key, its bits, and its curve where it has one."""
    algorithm, bits = key.parts()
    parts = algorithm.parts()
    kind = named(parts[0], KEYS)
    if kind == "rsa":
        modulus = children(bits.value[1:], SEQUENCE)[0]
        return kind, int.from_bytes(modulus.value, "big").bit_length(), ""
    if kind == "ecdsa":
        curve, size = CURVES.get(dotted(parts[1].value), (dotted(parts[1].value), 0))
        return kind, size or (len(bits.value) - 2) * 4, curve
    if kind == "dsa":
        return kind, int.from_bytes(parts[1].parts()[0].value, "big").bit_length(), ""
    return kind, {"ed25519": 256, "ed448": 456}.get(kind, 0), ""
