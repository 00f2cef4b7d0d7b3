"""The vault passwords of this process, and what they opened.

The command line fills `KEYRING` before it reads any file. Values that it decrypts are secrets: every redactor that
watches is told of them, so that they are masked wherever they would be shown.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsplay.documents import vault
from opsplay.errors import DocumentError, Location
from opsplay.secrets import Redactor

NO_PASSWORD = "give it with --vault-id, --vault-password-file or --ask-vault-pass"


@dataclass(frozen=True)
class Password:
    """A password and the vault id that it is for."""

    label: str
    text: bytes = field(repr=False)


@dataclass(frozen=True)
class Content:
    """What a file holds; `secret` when it was encrypted."""

    data: bytes = field(repr=False)
    secret: bool


class Encrypted:
    """A value that was written encrypted. What it holds is data, not a template, as in Ansible."""

    __slots__ = ("_keyring", "at", "text")

    def __init__(self, text: str, at: Location, keyring: Keyring) -> None:
        self.text = text
        self.at = at
        self._keyring = keyring

    def reveal(self) -> str:
        """The value itself, from now on masked in every output. Raises DocumentError."""
        value = self._keyring.decrypt(self.text, self.at).decode("utf-8", "surrogateescape")
        self._keyring.learn(value)
        return value

    def __repr__(self) -> str:
        return f"<encrypted value of {self.at}>"


class Keyring:
    """Passwords by vault id. Thread-safe once it is filled."""

    def __init__(self) -> None:
        self.passwords: tuple[Password, ...] = ()
        self._proven: set[str] = set()
        self._learned: dict[str, None] = {}
        self._redactors: weakref.WeakSet[Redactor] = weakref.WeakSet()

    def use(self, passwords: Iterable[Password]) -> None:
        """Replace the passwords by these; they are masked as well."""
        self.passwords = tuple(passwords)
        self._proven.clear()
        for password in self.passwords:
            self.learn(password.text.decode("utf-8", "surrogateescape"))

    def watch(self, redactor: Redactor) -> None:
        """Let a redactor know what was decrypted and what will be."""
        self._redactors.add(redactor)
        for secret in list(self._learned):
            redactor.register(secret)

    def learn(self, value: Any) -> None:
        """Remember the texts of a decrypted value, so that they are masked.

        Of what a mapping says of a host's connection (names with `ansible_`) nothing is: passwords among it are
        masked without that, and a user or an address is in every message.
        """
        if isinstance(value, Encrypted):
            return
        if isinstance(value, str):
            if value not in self._learned:
                self._learned[value] = None
                for redactor in self._redactors:
                    redactor.register(value)
        elif isinstance(value, Mapping):
            for name, item in value.items():
                if not str(name).startswith("ansible_"):
                    self.learn(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                self.learn(item)

    def decrypt(self, data: bytes | str, at: Location) -> bytes:
        """What a vault holds. Raises DocumentError."""
        return self.open(data, at)[0]

    def open(self, data: bytes | str, at: Location) -> tuple[bytes, Password]:
        """What a vault holds, and which password fits, its own vault id's tried first. Raises DocumentError."""
        try:
            envelope = vault.parse(data)
        except vault.MalformedVault as problem:
            raise DocumentError(str(problem), at=at) from problem
        label = envelope.label
        if not self.passwords:
            message = f"this is encrypted with vault id '{label}' and needs a password"
            raise DocumentError(message, at=at, hint=NO_PASSWORD, rule="encrypted-file")
        for password in sorted(self.passwords, key=lambda password: password.label != label):
            try:
                return vault.decrypt(envelope, password.text), password
            except vault.WrongPassword:
                continue
        known = {password.label: None for password in self.passwords}
        if label in known:
            raise DocumentError(f"the password of vault id '{label}' does not open this", at=at)
        given = ", ".join(f"'{name}'" for name in known)
        raise DocumentError(f"this is encrypted with vault id '{label}'; the passwords given are of {given}", at=at)

    def value(self, text: str, at: Location) -> Encrypted:
        """An encrypted value, to be decrypted when it is used.

        The first of each vault id that there is a password for is opened at once: a wrong password shall be known
        before the first connection. Raises DocumentError for that, and for what is no vault.
        """
        try:
            label = vault.parse(text).label
        except vault.MalformedVault as problem:
            raise DocumentError(str(problem), at=at) from problem
        if label not in self._proven and label in {password.label for password in self.passwords}:
            self.decrypt(text, at)
            self._proven.add(label)
        return Encrypted(text, at, self)

    def read(self, path: Path | str) -> Content:
        """A file's content, decrypted where it is a vault. Raises OSError and DocumentError."""
        data = Path(path).read_bytes()
        if not vault.is_vault(data):
            return Content(data, secret=False)
        return Content(self.decrypt(data, Location(str(path))), secret=True)

    def read_secret(self, path: Path | str) -> bytes:
        """A file's content, decrypted where it is a vault; the lines of that are masked from now on.

        Raises OSError and DocumentError.
        """
        content = self.read(path)
        if content.secret:
            self.learn(content.data.decode("utf-8", "replace"))
        return content.data


KEYRING = Keyring()
