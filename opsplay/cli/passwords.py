"""Where vault passwords come from: files, programs, the terminal, and the environment that names them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from opsplay.documents import vault
from opsplay.documents.keyring import KEYRING, Password
from opsplay.errors import Location, OpsplayError, UsageError

PROMPTS = ("prompt", "prompt_ask_vault_pass")
# A program of this name is told whose password is wanted, and says by this exit code that it has none.
CLIENT, HAS_NONE = "-client", 2
IDENTITIES, PASSWORD_FILE = "ANSIBLE_VAULT_IDENTITY_LIST", "ANSIBLE_VAULT_PASSWORD_FILE"


@dataclass(frozen=True)
class Source:
    """Where the password of a vault id is to be had: a file, a program, or `prompt`."""

    label: str
    place: str

    @classmethod
    def of(cls, text: str) -> Source:
        """A source written as LABEL@PLACE, or as PLACE alone."""
        label, at, place = text.partition("@")
        return cls(label or vault.DEFAULT_ID, place) if at else cls(vault.DEFAULT_ID, text)

    def password(self, new: bool = False) -> Password:
        """The password; a new one is asked for twice. Raises UsageError."""
        text = self._ask(new) if self.place in PROMPTS else self._read()
        if not text.strip():
            raise UsageError(f"the password of vault id '{self.label}' from {self.place} is empty")
        return Password(self.label, text.strip())

    def _ask(self, new: bool) -> bytes:
        whose = f" ({self.label})" if self.place != PROMPTS[1] else ""
        question = f"{'New v' if new else 'V'}ault password{whose}"
        answer: str = click.prompt(question, hide_input=True, err=True, confirmation_prompt=new)
        return answer.encode()

    def _read(self) -> bytes:
        path = Path(self.place).expanduser()
        if not path.is_file():
            raise UsageError(f"there is no vault password file {path}")
        if os.access(path, os.X_OK):
            return self._run(path)
        try:
            return KEYRING.read(path).data
        except OSError as problem:
            raise UsageError(f"cannot read the vault password file {path}: {problem.strerror}") from problem

    def _run(self, path: Path) -> bytes:
        is_client = path.stem.endswith(CLIENT)
        argv = [str(path.absolute()), *(["--vault-id", self.label] if is_client else [])]
        try:
            done = subprocess.run(argv, stdout=subprocess.PIPE)
        except OSError as problem:
            message = f"cannot run the vault password program {path}: {problem.strerror}"
            raise UsageError(message, hint="a password file that is no program must not be executable") from problem
        if is_client and done.returncode == HAS_NONE:
            raise UsageError(f"{path} has no password of vault id '{self.label}'")
        if done.returncode != 0:
            raise UsageError(f"the vault password program {path} ended with {done.returncode}")
        return done.stdout


def sources(values: Mapping[str, Any]) -> list[Source]:
    """Where the options of a command, and the environment, say that passwords are."""
    listed = _words(os.environ.get(IDENTITIES, ""))
    files = values["vault_password_files"] or _words(os.environ.get(PASSWORD_FILE, ""))
    found = [Source.of(text) for text in (*listed, *values["vault_ids"])]
    found += [Source(vault.DEFAULT_ID, file) for file in files]
    return [*found, Source(vault.DEFAULT_ID, PROMPTS[1])] if values["ask_vault_pass"] else found


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def passwords(chosen: Iterable[Source], new: bool = False) -> list[Password]:
    """Their passwords. Of several sources some may have none, with a warning, as in Ansible. Raises UsageError.

    The keyring has each as soon as it is there: a later source may be encrypted with an earlier one's.
    """
    found: list[Password] = []
    problems: list[OpsplayError] = []
    for source in chosen:
        try:
            found.append(source.password(new))
            KEYRING.use(found)
        except OpsplayError as problem:
            problems.append(problem)
    if problems and not found:
        raise problems[0]
    for passed_over in problems:
        click.echo(f"warning: {passed_over}", err=True)
    return found


def unlock(values: Mapping[str, Any]) -> None:
    """Fill the process's keyring as the options of a command say. Raises UsageError."""
    KEYRING.use(passwords(sources(values)))


def only(found: list[Password], wanted: str | None) -> Password:
    """The password to encrypt with: of the vault id that is wanted, else the only one. Raises UsageError."""
    labels = list(dict.fromkeys(password.label for password in found))
    if wanted is None and len(labels) > 1:
        raise UsageError(
            f"several vault ids could encrypt this: {', '.join(labels)}", hint="choose one with --encrypt-vault-id"
        )
    for password in found:
        if wanted in (None, password.label):
            return password
    raise UsageError(
        f"there is no password of vault id '{wanted}', only of {', '.join(labels)}", at=Location("--encrypt-vault-id")
    )
