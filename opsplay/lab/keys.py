"""Key pairs in OpenSSH's format, made here: ssh-keygen takes several times as long for RSA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from opsplay.lab.state import replace_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


def _ed25519() -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()


def _ecdsa() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _rsa() -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    # The length that ssh-keygen(1) takes by default.
    return rsa.generate_private_key(65537, 3072)


_MAKERS: Mapping[str, Callable[[], Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey]] = {
    "ed25519": _ed25519,
    "ecdsa": _ecdsa,
    "rsa": _rsa,
}
KINDS = tuple(_MAKERS)


def make(path: Path, kind: str, comment: str) -> str:
    """Write a new private key (mode 0600) and its `.pub`, replacing what is there; returns the public line."""
    from cryptography.hazmat.primitives import serialization as form

    key = _MAKERS[kind]()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()).decode()
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode()
    line = f"{public} {comment}\n"
    replace_file(path, private, 0o600)
    replace_file(path.with_suffix(".pub"), line)
    return line
