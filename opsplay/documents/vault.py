"""The vault format that ansible-vault writes: 1.1, and 1.2, which names a vault id; the cipher is always AES256.

A header line, then hexadecimal in lines of 80: of salt, HMAC and ciphertext, each hexadecimal again and a line by
itself. PBKDF2 (HMAC-SHA256, 10,000 rounds) makes of password and salt 80 bytes: the key of AES-256 in counter mode, the
key of the HMAC-SHA256 over the ciphertext, and where the counter starts. The plain text is padded as by PKCS #7.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import re
import textwrap
from binascii import hexlify, unhexlify
from dataclasses import dataclass
from pathlib import Path

HEADER = b"$ANSIBLE_VAULT;"
DEFAULT_ID = "default"

CIPHER = "AES256"
ROUNDS = 10_000
KEY_BYTES, COUNTER_BYTES, SALT_BYTES = 32, 16, 32
BLOCK = 16
WIDTH = 80
# So many derived keys are kept: each costs some milliseconds, and files are read more than once in a run.
KEPT_KEYS = 1024


class MalformedVault(ValueError):
    """A text begins as a vault and is none."""


class WrongPassword(ValueError):
    """A vault was encrypted with another password, or was changed."""


@dataclass(frozen=True)
class Envelope:
    """A vault, still closed."""

    label: str
    """the vault id it was encrypted with, `default` where it names none"""
    salt: bytes
    mac: bytes
    ciphertext: bytes


def is_vault(data: bytes | str) -> bool:
    """Whether this begins as a vault does."""
    return data.startswith(HEADER.decode()) if isinstance(data, str) else data.startswith(HEADER)


def is_vault_file(path: Path | str) -> bool:
    """Whether a file begins as a vault does. Raises OSError."""
    with open(path, "rb") as file:
        return is_vault(file.read(len(HEADER)))


def parse(data: bytes | str) -> Envelope:
    """The parts of a vault. Raises MalformedVault."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    header, _, body = text.strip().partition("\n")
    words = [word.strip() for word in header.split(";")]
    if f"{words[0]};" != HEADER.decode() or len(words) < 3:
        raise MalformedVault(f"a vault begins with {HEADER.decode()}1.1;{CIPHER}")
    if words[1] not in ("1.1", "1.2") or words[2] != CIPHER:
        raise MalformedVault(f"cannot read vaults of format {words[1]} with cipher {words[2]}")
    try:
        salt, mac, ciphertext = (unhexlify(part) for part in unhexlify(re.sub(r"\s", "", body)).split(b"\n", 2))
    except ValueError as problem:
        raise MalformedVault("the vault is damaged: it is not the hexadecimal that it should be") from problem
    return Envelope(words[3] if len(words) > 3 else DEFAULT_ID, salt, mac, ciphertext)


def decrypt(envelope: Envelope, password: bytes) -> bytes:
    """What a vault holds. Raises WrongPassword."""
    from cryptography.hazmat.primitives.padding import PKCS7

    cipher_key, mac_key, counter = _keys(password, envelope.salt)
    if not hmac.compare_digest(_mac(mac_key, envelope.ciphertext), envelope.mac):
        raise WrongPassword
    padding = PKCS7(BLOCK * 8).unpadder()
    return padding.update(_counter_mode(cipher_key, counter, envelope.ciphertext)) + padding.finalize()


def encrypt(data: bytes, password: bytes, label: str = DEFAULT_ID, salt: bytes | None = None) -> str:
    """A vault in format 1.1, or in 1.2 with a label other than `default`. Without a salt, a new one is drawn."""
    from cryptography.hazmat.primitives.padding import PKCS7

    salt = salt or os.urandom(SALT_BYTES)
    cipher_key, mac_key, counter = _keys(password, salt)
    padding = PKCS7(BLOCK * 8).padder()
    ciphertext = _counter_mode(cipher_key, counter, padding.update(data) + padding.finalize())
    parts = (salt, _mac(mac_key, ciphertext), ciphertext)
    body = hexlify(b"\n".join(map(hexlify, parts))).decode()
    header = f"{HEADER.decode()}1.1;{CIPHER}" if label == DEFAULT_ID else f"{HEADER.decode()}1.2;{CIPHER};{label}"
    return "\n".join([header, *textwrap.wrap(body, WIDTH), ""])


@functools.lru_cache(KEPT_KEYS)
def _keys(password: bytes, salt: bytes) -> tuple[bytes, bytes, bytes]:
    """The keys of cipher and HMAC, and the counter's start."""
    made = hashlib.pbkdf2_hmac("sha256", password, salt, ROUNDS, 2 * KEY_BYTES + COUNTER_BYTES)
    return made[:KEY_BYTES], made[KEY_BYTES : 2 * KEY_BYTES], made[2 * KEY_BYTES :]


def _mac(key: bytes, ciphertext: bytes) -> bytes:
    return hmac.digest(key, ciphertext, "sha256")


def _counter_mode(key: bytes, counter: bytes, data: bytes) -> bytes:
    """AES in counter mode, which encrypts and decrypts alike."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(data)
