"""`opsplay vault`: encrypt files and values, and work with them, as ansible-vault does."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from opsplay.cli import vault_files as files
from opsplay.cli.options import stack, vault_options
from opsplay.cli.passwords import PROMPTS, Source, only, passwords, sources
from opsplay.documents import vault as format
from opsplay.documents.keyring import KEYRING, Password
from opsplay.documents.vault import DEFAULT_ID
from opsplay.errors import Location, UsageError

INDENT = " " * 10

Command = Callable[..., Any]

encrypt_option = click.option(
    "--encrypt-vault-id", metavar="ID", help="The vault id to encrypt with, where there are passwords of several."
)
output_option = click.option("--output", metavar="FILE", help="Write there instead; - is standard output.")
files_argument = click.argument("names", nargs=-1, metavar="[FILE]...")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def vault() -> None:
    """Encrypt files and values, and work with them, as ansible-vault does.

    \b
      opsplay vault encrypt group_vars/all/secrets.yml
      opsplay vault edit group_vars/all/secrets.yml
      opsplay vault encrypt_string --name db_password
    """


def unlocked(new: bool = False) -> Callable[[Command], Command]:
    """A command with the options of passwords, given `found`: those that they name, or that are asked for."""

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(vault_ids: Any, vault_password_files: Any, ask_vault_pass: bool, **values: Any) -> Any:
            named = sources({"vault_ids": vault_ids, "vault_password_files": vault_password_files,
                             "ask_vault_pass": ask_vault_pass})  # fmt: skip
            found = passwords(named or [Source(DEFAULT_ID, PROMPTS[1])], new)
            return function(found=found, **values)

        return vault_options(command)

    return decorate


@vault.command()
@files_argument
@output_option
@encrypt_option
@unlocked(new=True)
def encrypt(names: tuple[str, ...], output: str | None, encrypt_vault_id: str | None, found: list[Password]) -> None:
    """Encrypt files in place, or standard input."""
    password = only(found, encrypt_vault_id)
    for name in _inputs(names, output):
        files.write(output or name, files.seal(files.read(name), password, files.place(name)))
    _say("encrypted", output, names)


@vault.command()
@files_argument
@output_option
@unlocked()
def decrypt(names: tuple[str, ...], output: str | None, found: list[Password]) -> None:
    """Decrypt files in place, or standard input."""
    for name in _inputs(names, output):
        files.write(output or name, _opened(name)[0])
    _say("decrypted", output, names)


@vault.command()
@files_argument
@unlocked()
def view(names: tuple[str, ...], found: list[Password]) -> None:
    """Show what encrypted files hold."""
    for name in _named(names):
        text = _opened(name)[0].decode("utf-8", "replace")
        if sys.stdout.isatty():
            click.echo_via_pager(text)
        else:
            click.echo(text, nl=not text.endswith("\n"))


@vault.command()
@files_argument
@encrypt_option
@unlocked()
def edit(names: tuple[str, ...], encrypt_vault_id: str | None, found: list[Password]) -> None:
    """Change encrypted files in an editor ($VISUAL, $EDITOR, or vi)."""
    for name in _named(names):
        text, password, label = _opened(name)
        if encrypt_vault_id:
            password = only(found, encrypt_vault_id)
            label = password.label
        if not files.edit(name, text, password, label):
            click.echo(f"{name}: nothing was changed", err=True)


@vault.command()
@files_argument
@encrypt_option
@click.option("--skip-tty-check", is_flag=True, help="Open the editor also where there is no terminal.")
@unlocked(new=True)
def create(names: tuple[str, ...], encrypt_vault_id: str | None, skip_tty_check: bool, found: list[Password]) -> None:
    """Write a new encrypted file in an editor."""
    if len(_named(names)) > 1:
        raise UsageError("create makes one file at a time")
    if os.path.exists(names[0]):
        raise UsageError(f"{names[0]} exists", hint="change it with `opsplay vault edit`")
    if not Path(names[0]).parent.is_dir():
        raise UsageError(f"there is no folder {Path(names[0]).parent}")
    if not sys.stdout.isatty() and not skip_tty_check:
        raise UsageError("there is no terminal for an editor", hint="give --skip-tty-check if it needs none")
    password = only(found, encrypt_vault_id)
    files.edit(names[0], b"", password, password.label, always=True)


@vault.command()
@files_argument
@encrypt_option
@click.option("--new-vault-id", metavar="[ID@]SOURCE", help="Where the new password is.")
@click.option("--new-vault-password-file", metavar="FILE", help="A file or program that gives the new password.")
@unlocked()
def rekey(
    names: tuple[str, ...],
    encrypt_vault_id: str | None,
    new_vault_id: str | None,
    new_vault_password_file: str | None,
    found: list[Password],
) -> None:
    """Encrypt files with another password."""
    if new_vault_id and new_vault_password_file:
        raise UsageError("give --new-vault-id or --new-vault-password-file, not both")
    named = _named(names)
    texts = {name: _opened(name)[0] for name in named}
    if new_vault_id or new_vault_password_file:
        source = Source.of(new_vault_id) if new_vault_id else Source(DEFAULT_ID, str(new_vault_password_file))
    else:
        source = Source(encrypt_vault_id or DEFAULT_ID, PROMPTS[0] if encrypt_vault_id else PROMPTS[1])
    password = source.password(new=True)
    for name in named:
        files.write(name, files.seal(texts[name], password, files.place(name)), keep_mode=True)
    _say("encrypted anew", None, names)


@vault.command("encrypt_string")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@output_option
@encrypt_option
@stack(
    click.option("-p", "--prompt", is_flag=True, help="Ask for the text."),
    click.option("--show-input", is_flag=True, help="Show what is typed."),
    click.option("-n", "--name", "labels", multiple=True, metavar="NAME", help="The variable's name; for each text."),
    click.option("--stdin-name", metavar="NAME", help="The variable's name of the text from standard input."),
)
@unlocked(new=True)
def encrypt_string(
    texts: tuple[str, ...],
    output: str | None,
    encrypt_vault_id: str | None,
    prompt: bool,
    show_input: bool,
    labels: tuple[str, ...],
    stdin_name: str | None,
    found: list[Password],
) -> None:
    """Encrypt texts as values for YAML files; without any, standard input."""
    password = only(found, encrypt_vault_id)
    given: list[tuple[str | None, str]] = []
    names = list(labels)
    if prompt:
        given.append(_asked(names.pop(0) if names else None, show_input))
    if stdin_name or files.STANDARD in texts or (not texts and not prompt):
        name = stdin_name or (names.pop(0) if names else None)
        given.append((name, files.read(files.STANDARD).decode("utf-8", "surrogateescape")))
    for text in texts:
        if text != files.STANDARD:
            given.append((names.pop(0) if names else None, text))
    if not all(text for _, text in given):
        raise UsageError("there is nothing to encrypt: the text is empty")
    document = "".join(as_yaml(name, text, password) for name, text in given)
    files.write(output or files.STANDARD, document.encode())


def as_yaml(name: str | None, text: str, password: Password) -> str:
    """A value's vault below its tag, ready to be put into a file of variables. Raises UsageError."""
    sealed = files.seal(text.encode("utf-8", "surrogateescape"), password, Location(name or "the text")).decode()
    lines = [f"{name}: !vault |" if name else "!vault |", *(INDENT + line for line in sealed.splitlines()), ""]
    return "\n".join(lines)


def _asked(name: str | None, show_input: bool) -> tuple[str | None, str]:
    if name is None:
        name = click.prompt("Variable name (enter for no name)", default="", show_default=False, err=True) or None
    hide = not show_input
    text: str = click.prompt("String to encrypt", hide_input=hide, confirmation_prompt=hide, err=True)
    return name, text


def _opened(name: str) -> tuple[bytes, Password, str]:
    """What an encrypted file holds, the password that opened it, and its vault id. Raises OpsplayError's kinds."""
    data = files.read(name)
    if not format.is_vault(data):
        raise UsageError("this is not encrypted", at=files.place(name))
    text, password = KEYRING.open(data, files.place(name))
    return text, password, format.parse(data).label


def _inputs(names: tuple[str, ...], output: str | None) -> tuple[str, ...]:
    """The files to work on: standard input, where none is named. Raises UsageError."""
    if output and len(names) > 1:
        raise UsageError("--output is for one file")
    if not names and sys.stdin.isatty():
        click.echo("Reading from standard input; Ctrl-D ends it.", err=True)
    return names or (files.STANDARD,)


def _named(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise UsageError("name a file")
    return names


def _say(what: str, output: str | None, names: tuple[str, ...]) -> None:
    if output != files.STANDARD and (names or output):
        click.echo(f"{what}: {output or ', '.join(names)}", err=True)
