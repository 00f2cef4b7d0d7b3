"""OpenPGP public keys (RFC 9580), read without gpg: which keys a file holds, and in which of the two forms."""

from __future__ import annotations

from typing import Iterator, List, Tuple

BEGIN, END = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
PUBLIC_KEY, PUBLIC_SUBKEY = 6, 14
# The polynomial and the start of the armor's checksum (RFC 9580, section 6.1.1).
CRC_START, CRC_POLYNOMIAL = 0xB704CE, 0x1864CFB


class Key:
    """A primary key with all that belongs to it: its packets, and the fingerprints of it and of its subkeys."""

    __slots__ = ("data", "fingerprints")

    def __init__(self) -> None:
        self.data = b""
        self.fingerprints: List[str] = []

    @property
    def fingerprint(self) -> str:
        """The primary key's, in capital hexadecimal digits."""
        return self.fingerprints[0]

    @property
    def ids(self) -> List[str]:
        """The key IDs, 16 digits each, as gpg lists them: the primary key's before its subkeys'."""
        return [key_id(fingerprint) for fingerprint in self.fingerprints]

    def has(self, wanted: str) -> bool:
        """Whether it or a subkey bears this fingerprint, or key ID of 8 or 16 digits."""
        return any(fingerprint.endswith(wanted) or key_id(fingerprint) == wanted for fingerprint in self.fingerprints)


def key_id(fingerprint: str) -> str:
    """Versions 5 and 6 take the first 64 bits of their longer fingerprints, version 4 takes the last."""
    return fingerprint[-16:] if len(fingerprint) == 40 else fingerprint[:16]


def normalised(wanted: str) -> str:
    """A fingerprint or key ID as a user writes it: perhaps with 0x, blanks and small letters. Raises ValueError."""
    text = wanted.replace(" ", "").upper()
    text = text[2:] if text.startswith("0X") else text
    int(text, 16)
    return text


def parse(data: bytes) -> List[Key]:
    """The keys in a file of either form. Raises ValueError for what holds none."""
    if BEGIN.encode() in data:
        data = without_armor(data.decode("utf-8", "replace"))
    keys: List[Key] = []
    for tag, packet, body in packets(data):
        if tag == PUBLIC_KEY:
            keys.append(Key())
        if not keys:
            raise ValueError("it is no OpenPGP public key")
        keys[-1].data += packet
        if tag in (PUBLIC_KEY, PUBLIC_SUBKEY):
            keys[-1].fingerprints.append(fingerprint_of(body))
    if not keys:
        raise ValueError("it is no OpenPGP public key")
    return keys


def packets(data: bytes) -> Iterator[Tuple[int, bytes, bytes]]:
    """Each packet's type, all of its bytes, and its body. Raises ValueError where the data ends too early."""
    place = 0
    while place < len(data):
        first = data[place]
        if not first & 0x80:
            raise ValueError("it is no OpenPGP public key")
        try:
            tag, start, length = header(data, place)
        except IndexError:
            raise ValueError("the OpenPGP key ends too early")
        end = start + length
        if end > len(data):
            raise ValueError("the OpenPGP key ends too early")
        yield tag, data[place:end], data[start:end]
        place = end


def header(data: bytes, place: int) -> Tuple[int, int, int]:
    """A packet's type, where its body begins, and the body's length (RFC 9580, section 4.2). Raises ValueError."""
    first, second = data[place], data[place + 1]
    if first & 0x40:
        if second < 192:
            return first & 0x3F, place + 2, second
        if second < 224:
            return first & 0x3F, place + 3, ((second - 192) << 8) + data[place + 2] + 192
        if second == 255:
            return first & 0x3F, place + 6, int.from_bytes(data[place + 2 : place + 6], "big")
        raise ValueError("a key cannot come in parts")
    size = {0: 1, 1: 2, 2: 4}.get(first & 3, 0)
    if not size:
        raise ValueError("a key cannot be of unknown length")
    length = int.from_bytes(data[place + 1 : place + 1 + size], "big")
    return (first & 0x3C) >> 2, place + 1 + size, length


def fingerprint_of(body: bytes) -> str:
    """The fingerprint by the key's version (RFC 9580, section 5.5.4). Raises ValueError for those before version 4."""
    import hashlib

    version = body[0] if body else 0
    if version == 4:
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()
    if version in (5, 6):
        first = b"\x9a" if version == 5 else b"\x9b"
        return hashlib.sha256(first + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    raise ValueError("keys of OpenPGP version %d are not supported" % version)


def without_armor(text: str) -> bytes:
    """The bytes of all blocks of a text. Raises ValueError."""
    from binascii import Error, a2b_base64

    found = b""
    for block in text.replace("\r", "").split(BEGIN)[1:]:
        # Headers end with an empty line; the checksum begins with an equals sign.
        lines = [line.strip() for line in block.split(END)[0].split("\n")[1:]]
        if "" in lines[:-1]:
            lines = lines[lines.index("") :]
        try:
            found += a2b_base64("".join(line for line in lines if not line.startswith("=")).encode("ascii"))
        except (Error, UnicodeError):
            raise ValueError("the OpenPGP key block is damaged")
    return found


def armored(data: bytes) -> str:
    """The text form, for files whose name ends with .asc."""
    from binascii import b2a_base64

    text = b2a_base64(data, newline=False).decode("ascii")
    lines = [text[place : place + 64] for place in range(0, len(text), 64)]
    check = b2a_base64(checksum(data).to_bytes(3, "big"), newline=False).decode("ascii")
    return "\n".join([BEGIN, ""] + lines + ["=" + check, END, ""])


def checksum(data: bytes) -> int:
    crc = CRC_START
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= CRC_POLYNOMIAL
    return crc & 0xFFFFFF
