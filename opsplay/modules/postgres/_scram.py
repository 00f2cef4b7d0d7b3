"""What PostgreSQL stores of a password (RFC 5802, RFC 7677): made here, so that the password need not be sent to it."""

from __future__ import annotations

import os
from typing import Optional

METHOD = "SCRAM-SHA-256"
# PostgreSQL's own defaults (scram_iterations, SCRAM_DEFAULT_SALT_LEN).
ITERATIONS = 4096
SALT_BYTES = 16


def verifier(password: str, salt: bytes = b"", iterations: int = ITERATIONS) -> str:
    """SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, with a new salt unless one is given."""
    import hashlib
    import hmac

    salt = salt or os.urandom(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password), salt, iterations)
    client = hmac.new(salted, b"Client Key", "sha256").digest()
    server = hmac.new(salted, b"Server Key", "sha256").digest()
    stored = hashlib.sha256(client).digest()
    return "%s$%d:%s$%s:%s" % (METHOD, iterations, base64(salt), base64(stored), base64(server))


def is_verifier(text: str) -> bool:
    """Whether a text is what PostgreSQL stores already, and not a password: SCRAM, or MD5 of old."""
    if text.startswith("md5") and len(text) == 35:
        return not text[3:].strip("0123456789abcdef")
    parts = text.split("$")
    return parts[0] == METHOD and len(parts) == 3 and ":" in parts[1] and ":" in parts[2]


def again(password: str, stored: Optional[str]) -> str:
    """The verifier that this password has with the salt of a stored one; empty where that is no SCRAM verifier."""
    if not stored or not is_verifier(stored) or not stored.startswith(METHOD):
        return ""
    from binascii import Error, a2b_base64

    iterations, _, salt = stored.split("$")[1].partition(":")
    try:
        return verifier(password, a2b_base64(salt), int(iterations))
    except (Error, ValueError):
        return ""


def base64(data: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(data, newline=False).decode("ascii")


def prepared(password: str) -> bytes:
    """The password as SASLprep (RFC 4013) writes it; as it is where that forbids it, as PostgreSQL does."""
    if all(32 <= ord(char) < 127 for char in password):
        return password.encode("ascii")
    import stringprep
    import unicodedata

    mapped = "".join(" " if stringprep.in_table_c12(char) else char for char in password
                     if stringprep.in_table_c12(char) or not stringprep.in_table_b1(char))  # fmt: skip
    text = unicodedata.normalize("NFKC", mapped)
    tables = (stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
              stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
              stringprep.in_table_c9, stringprep.in_table_a1)  # fmt: skip
    forbidden = not text or any(table(char) for char in text for table in tables)
    if any(stringprep.in_table_d1(char) for char in text):
        mixed = any(stringprep.in_table_d2(char) for char in text)
        ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        forbidden = forbidden or mixed or not ends
    return (password if forbidden else text).encode("utf-8", "surrogateescape")
