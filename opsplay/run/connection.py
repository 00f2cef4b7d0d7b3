"""How to reach a host and whom to become there, from its variables and the command line.

Facts that a host sends are not consulted: what a host says never changes where opsplay connects.
"""

from __future__ import annotations

import getpass
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from opsplay.agent.spec import to_bool
from opsplay.errors import InventoryError
from opsplay.inventory.model import check_name
from opsplay.model import Play, Task
from opsplay.session.bootstrap import Escalation
from opsplay.templating.environment import missing
from opsplay.transport.base import Target

# Options of `ssh -o` that the SSH transport knows; others need the ssh program.
KNOWN_OPTIONS = ("userknownhostsfile", "stricthostkeychecking", "proxyjump", "proxycommand", "connecttimeout", "port",
                 "user", "identityfile", "controlmaster", "controlpersist", "controlpath", "serveraliveinterval",
                 "serveralivecountmax", "loglevel", "preferredauthentications", "identitiesonly", "batchmode",
                 "globalknownhostsfile", "passwordauthentication", "hashknownhosts", "compression")  # fmt: skip

# Variables of one meaning, the strongest first.
ADDRESS = ("ansible_ssh_host", "ansible_host")
PORT = ("ansible_ssh_port", "ansible_port")
USER = ("ansible_ssh_user", "ansible_user")
KEY_FILE = ("ansible_ssh_private_key_file", "ansible_private_key_file")
CHECKING = ("ansible_ssh_host_key_checking", "ansible_host_key_checking")
TIMEOUT = ("ansible_ssh_timeout", "ansible_timeout")
# As on ssh's command line, the first that names an option prevails.
ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
METHODS = ("sudo", "su", "doas")
LOGIN_PASSWORDS = ("ansible_ssh_password", "ansible_ssh_pass", "ansible_password")
BECOME_PASSWORDS = ("ansible_become_pass", "ansible_become_password")
PASSWORD_VARIABLES = (*LOGIN_PASSWORDS, *BECOME_PASSWORDS, *(f"ansible_{method}_pass" for method in METHODS))
# What a key would be without its file: ssh-agent does that better.
REFUSED = ("ansible_private_key", "ansible_ssh_private_key", "ansible_private_key_passphrase",
           "ansible_ssh_private_key_passphrase")  # fmt: skip


@dataclass(frozen=True)
class ConnectionDefaults:
    """What the command line says; variables of a host come before it."""

    user: str | None = None
    private_key: str | None = None
    password: str | None = field(default=None, repr=False)
    become_password: str | None = field(default=None, repr=False)
    timeout: float = 10.0
    host_key_checking: str = "yes"
    connection: str = "ssh"
    become: bool = False
    become_user: str | None = None
    become_method: str = "sudo"
    extra_ssh_arguments: str = ""


Lookup = Callable[[str], Any]
Number = TypeVar("Number", int, float)


def first(lookup: Lookup, *names: str) -> Any:
    """The rendered value of the first of these names that has one."""
    for name in names:
        value = lookup(name)
        if value is not missing and value is not None:
            return value
    return None


def target_of(host: str, lookup: Lookup, task: Task, play: Play, defaults: ConnectionDefaults) -> Target:
    """The way to a host. Raises InventoryError for values that cannot be."""
    given = [*(first(lookup, name) for name in ARGUMENTS), defaults.extra_ssh_arguments]
    options, rest = ssh_options(" ".join(str(value) for value in given if value), host)
    _refuse_keys(host, lookup)
    if provider := first(lookup, "ansible_ssh_pkcs11_provider"):
        rest += ["-o", f"PKCS11Provider={provider}"]
    address = str(first(lookup, *ADDRESS) or host)
    check_name(address, "host")
    port = first(lookup, *PORT) or task.port or play.port or options.pop("port", None)
    user = first(lookup, *USER) or task.remote_user or play.remote_user
    known = options.pop("userknownhostsfile", None)
    jump = options.pop("proxyjump", None)
    return Target(
        name=host,
        address=address,
        connection=str(
            first(lookup, "ansible_connection") or task.connection or play.connection or defaults.connection
        ),
        port=_number(int, port, "ansible_port", host),
        user=_text(user) or options.pop("user", None) or defaults.user,
        password=_text(first(lookup, *LOGIN_PASSWORDS)) or defaults.password,
        private_key=_text(first(lookup, *KEY_FILE))
        or options.pop("identityfile", None)
        or defaults.private_key,
        known_hosts=tuple(shlex.split(known)) if known else (),
        host_key_checking=_checking(lookup, options, defaults),
        jump=tuple(jump.split(",")) if jump and jump.lower() != "none" else (),
        options=options,
        extra_arguments=tuple(rest),
        timeout=_number(float, first(lookup, *TIMEOUT), "ansible_timeout", host) or defaults.timeout,
        retries=_number(int, first(lookup, "ansible_ssh_retries"), "ansible_ssh_retries", host) or 0,
        program=_program(lookup),
        interpreter=_interpreter(lookup),
    )


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _number(kind: type[Number], value: Any, name: str, host: str) -> Number | None:
    try:
        return kind(value) if value else None
    except (TypeError, ValueError) as problem:
        raise InventoryError(f"{host}: {name} is not a number: {value!r}") from problem


def _program(lookup: Lookup) -> str | None:
    """The ssh program, where another than the usual one is wanted."""
    value = _text(first(lookup, "ansible_ssh_executable"))
    return None if value == "ssh" else value


def _refuse_keys(host: str, lookup: Lookup) -> None:
    for name in REFUSED:
        if first(lookup, name):
            hint = "add the key to ssh-agent, or name its file with ansible_ssh_private_key_file"
            raise InventoryError(f"{host}: {name} is not supported", hint=hint)


def _interpreter(lookup: Lookup) -> str | None:
    value = _text(first(lookup, "ansible_python_interpreter"))
    return None if value is None or value.startswith("auto") else value


def _checking(lookup: Lookup, options: Mapping[str, str], defaults: ConnectionDefaults) -> str:
    """yes, accept-new or no: of the variables, the ssh options, the environment, the command line."""
    variable = first(lookup, *CHECKING)
    if variable is not None:
        return "yes" if to_bool(variable) else "no"
    option = options.get("stricthostkeychecking", "").lower()
    if option:
        return {"no": "no", "off": "no", "accept-new": "accept-new"}.get(option, "yes")
    environment = os.environ.get("ANSIBLE_HOST_KEY_CHECKING")
    if environment is not None and environment.lower() in ("false", "no", "0"):
        return "no"
    return defaults.host_key_checking


def ssh_options(text: str, host: str) -> tuple[dict[str, str], list[str]]:
    """`-o Name=value`, -J, -p, -i, -l of ssh arguments by lower-case name; what is left needs the ssh program."""
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise InventoryError(f"{host}: cannot read the ssh arguments {text!r}: {problem}") from problem
    found: dict[str, str] = {}
    rest: list[str] = []
    flags = {"-J": "proxyjump", "-p": "port", "-i": "identityfile", "-l": "user"}
    while words:
        word = words.pop(0)
        flag, value = word[:2], word[2:]
        if flag in ("-o", *flags) and not value and words:
            value = words.pop(0)
        if flag == "-o":
            name, _, setting = value.partition("=") if "=" in value else value.partition(" ")
            if name.strip().lower() in KNOWN_OPTIONS:
                found.setdefault(name.strip().lower(), setting.strip())
            else:
                rest += ["-o", value]
        elif flag in flags:
            found.setdefault(flags[flag], value)
        elif word not in ("-C", "-q", "-T"):
            rest.append(word)
    return found, rest


def escalation_of(
    host: str, lookup: Lookup, task: Task, render: Callable[[Any], Any], defaults: ConnectionDefaults
) -> Escalation | None:
    """Whom a task becomes, or None. Variables come before keywords, keywords before the command line."""
    enabled = first(lookup, "ansible_become")
    if enabled is None:
        enabled = render(task.become.enabled) if task.become.enabled is not None else defaults.become
    try:
        if not to_bool(enabled):
            return None
    except ValueError as problem:
        raise InventoryError(f"{host}: become: {problem}") from problem
    method = first(lookup, "ansible_become_method") or render(task.become.method) or defaults.become_method
    method = str(method).rpartition(".")[2]
    own = f"ansible_{method}"
    user = first(lookup, f"{own}_user", "ansible_become_user") or render(task.become.user)
    user = str(user or defaults.become_user or "root")
    check_name(user, "user")
    flags = first(lookup, f"{own}_flags", "ansible_become_flags")
    return Escalation(
        user=user,
        method=method,
        flags=_text(flags if flags is not None else render(task.become.flags)),
        password=_text(first(lookup, f"{own}_pass", *BECOME_PASSWORDS) or defaults.become_password),
        program=_text(first(lookup, f"{own}_exe", "ansible_become_exe")),
    )


def current_user() -> str:
    return getpass.getuser()
