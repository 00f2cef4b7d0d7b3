"""password_hash: crypt(3) hashes of SHA-256, SHA-512 and bcrypt for /etc/shadow and for web servers.

Python 3.13 has no crypt module any more. The algorithm is Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512",
version 0.6; its numbered steps are named in the comments.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Any

from opsplay.errors import TemplateError
from opsplay.templating.filters.text import as_text

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
DEFAULT_ROUNDS, FEWEST_ROUNDS, MOST_ROUNDS = 5000, 1000, 999_999_999
SALT_LENGTH = 16


def password_hash(
    password: Any,
    hashtype: str = "sha512",
    salt: str | None = None,
    rounds: int | None = None,
    ident: str | None = None,
    **ignored: Any,
) -> str:
    kind = hashtype.removesuffix("_crypt")
    if kind in ("bcrypt", "blowfish"):
        return bcrypt_hash(as_text(password, "password_hash"), salt, rounds, ident or "2b")
    if kind not in KINDS:
        raise TemplateError(f"password_hash: unknown type {hashtype!r}", hint="use sha512, sha256 or bcrypt")
    prefix, algorithm = KINDS[kind]
    chosen = salt if salt is not None else new_salt(SALT_LENGTH)
    if not re.fullmatch(r"[./0-9A-Za-z]{1,16}", chosen):
        raise TemplateError("password_hash: a salt has 1 to 16 letters, digits, dots or slashes")
    count = DEFAULT_ROUNDS if rounds is None else min(max(int(rounds), FEWEST_ROUNDS), MOST_ROUNDS)
    shown = "" if count == DEFAULT_ROUNDS else f"rounds={count}$"
    digest = sha_crypt(as_text(password, "password_hash").encode(), chosen.encode(), count, algorithm)
    return f"${prefix}${shown}{chosen}${encode(digest)}"


KINDS = {"sha256": ("5", hashlib.sha256), "sha512": ("6", hashlib.sha512)}


def new_salt(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def bcrypt_hash(password: str, salt: str | None, rounds: int | None, ident: str) -> str:
    """By the bcrypt library; `rounds` is the logarithm of their number."""
    import bcrypt

    cost = 12 if rounds is None else int(rounds)
    chosen = salt if salt is not None else bcrypt.gensalt(cost).decode().split("$")[3]
    if not re.fullmatch(r"[./0-9A-Za-z]{22}", chosen) or ident not in ("2", "2a", "2b", "2y"):
        raise TemplateError("password_hash: for bcrypt a salt has 22 characters, ident is 2, 2a, 2b or 2y")
    hashed = bcrypt.hashpw(password.encode(), f"$2b${cost:02d}${chosen}".encode()).decode()
    return f"${ident}${hashed.split('$', 2)[2]}"


def sha_crypt(password: bytes, salt: bytes, rounds: int, algorithm: Callable[[bytes], Any]) -> bytes:
    """The raw digest of a password."""
    size = algorithm(b"").digest_size
    other = algorithm(password + salt + password).digest()  # steps 4 to 8
    start = password + salt + repeat(other, len(password))  # steps 1 to 3, 9, 10
    length = len(password)
    while length:  # step 11
        start += other if length & 1 else password
        length >>= 1
    digest: bytes = algorithm(start).digest()  # step 12
    repeated = repeat(algorithm(password * len(password)).digest(), len(password))  # steps 13 to 16
    salted = repeat(algorithm(salt * (16 + digest[0])).digest()[:size], len(salt))  # steps 17 to 20
    for number in range(rounds):  # step 21
        turn = repeated if number & 1 else digest
        turn += (salted if number % 3 else b"") + (repeated if number % 7 else b"")
        digest = algorithm(turn + (digest if number & 1 else repeated)).digest()
    return digest


def repeat(data: bytes, length: int) -> bytes:
    """The data over and over, cut to a length."""
    return (data * (length // len(data) + 1))[:length]


def encode(digest: bytes) -> str:
    """The digest in crypt's own base 64: three bytes at a time, in the order of step 22."""
    third = len(digest) // 3
    step = (1, 2, 0) if len(digest) == 64 else (2, 0, 1)
    order, at = [], (0, third, 2 * third)
    for _ in range(third):
        order.append(at)
        at = tuple((at[place] + 1) for place in step)  # type: ignore[assignment]
    text = "".join(_letters((digest[a] << 16) | (digest[b] << 8) | digest[c], 4) for a, b, c in order)
    if len(digest) == 64:
        return text + _letters(digest[63], 2)
    return text + _letters((digest[31] << 8) | digest[30], 3)


def _letters(value: int, count: int) -> str:
    return "".join(ALPHABET[(value >> (6 * place)) & 63] for place in range(count))


FILTERS: dict[str, Callable[..., Any]] = {"password_hash": password_hash}
