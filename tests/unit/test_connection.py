"""What each variable of a connection does, or that it is passed over on purpose; names as in Ansible's documentation."""

from __future__ import annotations

from typing import Any

import pytest

from opsplay.errors import ConnectionFailed, InventoryError, Location
from opsplay.model import Become, Play, Task
from opsplay.run.connection import ConnectionDefaults, escalation_of, target_of
from opsplay.session.bootstrap import Escalation, escalate
from opsplay.templating.environment import missing
from opsplay.transport.base import Connection, Target
from opsplay.transport.connect import Connector
from opsplay.transport.openssh import program_and_options

AT = Location("play.yml", 1, 1)
PLAY = Play(AT, "all")
NO_KEYWORDS = Become()


def target(values: dict[str, Any], play: Play = PLAY, defaults: ConnectionDefaults | None = None) -> Target:
    chosen = defaults or ConnectionDefaults()
    return target_of("h", lambda name: values.get(name, missing), Task("ping", AT), play, chosen)


def become(values: dict[str, Any], keywords: Become = NO_KEYWORDS) -> Escalation | None:
    task, chosen = Task("ping", AT, become=keywords), ConnectionDefaults()
    return escalation_of("h", lambda name: values.get(name, missing), task, lambda value: value, chosen)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"name": "h", "address": "h", "connection": "ssh", "port": None, "user": None, "host_key_checking": "yes",
              "timeout": 10.0, "retries": 0, "program": None, "extra_arguments": (), "jump": (), "interpreter": None}),
        ({"ansible_host": "a"}, {"address": "a"}),
        ({"ansible_host": "a", "ansible_ssh_host": "b"}, {"address": "b"}),
        ({"ansible_port": "2222"}, {"port": 2222}),
        ({"ansible_port": 1, "ansible_ssh_port": 2}, {"port": 2}),
        ({"ansible_user": "a"}, {"user": "a"}),
        ({"ansible_user": "a", "ansible_ssh_user": "b"}, {"user": "b"}),
        ({"ansible_password": "a"}, {"password": "a"}),
        ({"ansible_password": "a", "ansible_ssh_pass": "b"}, {"password": "b"}),
        ({"ansible_ssh_pass": "b", "ansible_ssh_password": "c"}, {"password": "c"}),
        ({"ansible_private_key_file": "a"}, {"private_key": "a"}),
        ({"ansible_private_key_file": "a", "ansible_ssh_private_key_file": "b"}, {"private_key": "b"}),
        ({"ansible_connection": "local"}, {"connection": "local"}),
        ({"ansible_host_key_checking": False}, {"host_key_checking": "no"}),
        ({"ansible_host_key_checking": False, "ansible_ssh_host_key_checking": "yes"}, {"host_key_checking": "yes"}),
        ({"ansible_timeout": 5}, {"timeout": 5.0}),
        ({"ansible_timeout": 5, "ansible_ssh_timeout": "7"}, {"timeout": 7.0}),
        ({"ansible_ssh_retries": "3"}, {"retries": 3}),
        ({"ansible_ssh_executable": "/opt/bin/ssh"}, {"program": "/opt/bin/ssh"}),
        ({"ansible_ssh_executable": "ssh"}, {"program": None}),
        ({"ansible_ssh_common_args": "-J a,b@c:2"}, {"jump": ("a", "b@c:2")}),
        ({"ansible_ssh_common_args": "-o ProxyJump=a"}, {"jump": ("a",)}),
        ({"ansible_ssh_args": "-o ForwardAgent=yes"}, {"extra_arguments": ("-o", "ForwardAgent=yes")}),
        ({"ansible_ssh_args": "-C -o ControlMaster=auto"}, {"options": {"controlmaster": "auto"}, "extra_arguments": ()}),
        ({"ansible_ssh_args": "-p 1", "ansible_ssh_common_args": "-p 2", "ansible_ssh_extra_args": "-p 3"}, {"port": 1}),
        ({"ansible_ssh_extra_args": "-p 3 -l me", "ansible_port": 4}, {"port": 4, "user": "me"}),
        ({"ansible_ssh_extra_args": "-o StrictHostKeyChecking=no"}, {"host_key_checking": "no"}),
        ({"ansible_ssh_extra_args": "-o UserKnownHostsFile='a b'"}, {"known_hosts": ("a", "b")}),
        ({"ansible_ssh_pkcs11_provider": "/p.so"}, {"extra_arguments": ("-o", "PKCS11Provider=/p.so")}),
        ({"ansible_python_interpreter": "/usr/bin/python3.9"}, {"interpreter": "/usr/bin/python3.9"}),
        ({"ansible_python_interpreter": "auto_silent"}, {"interpreter": None}),
    ],
)  # fmt: skip
def test_the_way_to_a_host(values: dict[str, Any], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_HOST_KEY_CHECKING", raising=False)
    found = target(values)
    assert {name: getattr(found, name) for name in expected} == expected


# They are about programs, files and modes of working that opsplay has no use for.
IGNORED = (
    "control_path", "control_path_dir", "pipelining", "ssh_pipelining", "ssh_password_mechanism",
    "scp_executable", "scp_extra_args", "sftp_batch_mode", "sftp_executable", "sftp_extra_args",
    "ssh_transfer_method", "sshpass_prompt", "ssh_use_tty", "ssh_verbosity", "remote_tmp", "async_dir",
    "admin_users", "common_remote_group", "system_tmpdirs", "shell_type", "shell_executable",
    "shell_allow_world_readable_temp", "module_compression", "sudo_chdir", "su_prompt_l10n",
)  # fmt: skip


@pytest.mark.parametrize("name", IGNORED)
def test_what_is_passed_over(name: str) -> None:
    values = {f"ansible_{name}": "x"}
    assert target(values) == target({})
    assert become({**values, "ansible_become": True}) == Escalation()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ansible_port": "x"}, "h: ansible_port is not a number: 'x'"),
        ({"ansible_ssh_retries": "many"}, "h: ansible_ssh_retries is not a number: 'many'"),
        ({"ansible_host": "-oProxyCommand=x"}, "'-oProxyCommand=x' cannot be the name of a host"),
        ({"ansible_ssh_private_key": "---"}, "h: ansible_ssh_private_key is not supported; add the key to ssh-agent"),
        ({"ansible_private_key_passphrase": "x"}, "h: ansible_private_key_passphrase is not supported"),
        ({"ansible_ssh_args": "-o 'x"}, "h: cannot read the ssh arguments"),
    ],
)
def test_what_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InventoryError) as refused:
        target(values)
    assert str(refused.value).startswith(message)


def test_variables_come_before_keywords_and_these_before_the_command_line() -> None:
    play = Play(AT, "all", remote_user="play", port=5, connection="local")
    defaults = ConnectionDefaults(user="line", connection="openssh", timeout=3, extra_ssh_arguments="-p 9")
    assert (target({}, play, defaults).user, target({}, play, defaults).port) == ("play", 5)
    assert (target({}, defaults=defaults).user, target({}, defaults=defaults).port) == ("line", 9)
    assert target({"ansible_user": "v"}, play, defaults).user == "v"
    assert target({"ansible_connection": "ssh"}, play, defaults).connection == "ssh"


@pytest.mark.parametrize(
    ("values", "keywords", "expected"),
    [
        ({}, Become(), None),
        ({"ansible_become": "yes"}, Become(), Escalation()),
        ({"ansible_become": False}, Become(enabled=True), None),
        ({}, Become(enabled=True, user="k", method="su", flags="-f"), Escalation("k", "su", "-f")),
        ({"ansible_become_user": "v"}, Become(enabled=True, user="k"), Escalation("v")),
        ({"ansible_become_method": "community.general.doas"}, Become(enabled=True), Escalation(method="doas")),
        ({"ansible_become_flags": "-E"}, Become(enabled=True, flags="-H"), Escalation(flags="-E")),
        ({"ansible_become_password": "a"}, Become(enabled=True), Escalation(password="a")),
        ({"ansible_become_password": "a", "ansible_become_pass": "b"}, Become(enabled=True), Escalation(password="b")),
        ({"ansible_become_pass": "b", "ansible_sudo_pass": "c"}, Become(enabled=True), Escalation(password="c")),
        ({"ansible_become_exe": "/bin/x"}, Become(enabled=True), Escalation(program="/bin/x")),
        ({"ansible_become_exe": "/bin/x", "ansible_sudo_exe": "/bin/y"}, Become(enabled=True), Escalation(program="/bin/y")),
        ({"ansible_become_user": "a", "ansible_sudo_user": "b", "ansible_sudo_flags": "-n"}, Become(enabled=True),
         Escalation("b", flags="-n")),
        ({"ansible_become_user": "a", "ansible_su_user": "b"}, Become(enabled=True), Escalation("a")),
        ({"ansible_su_user": "b", "ansible_su_flags": "-l", "ansible_su_pass": "p", "ansible_su_exe": "/su"},
         Become(enabled=True, method="su"), Escalation("b", "su", "-l", "p", "/su")),
    ],
)  # fmt: skip
def test_becoming(values: dict[str, Any], keywords: Become, expected: Escalation | None) -> None:
    assert become(values, keywords) == expected


@pytest.mark.parametrize("method", ["sudo", "su", "doas"])
def test_the_program_to_become_with(method: str) -> None:
    assert escalate(Escalation(method=method), "prompt", ["true"])[0] == method
    assert escalate(Escalation(method=method, program="/opt/it"), "prompt", ["true"])[0] == "/opt/it"


def test_the_ssh_program_and_its_attempts() -> None:
    words = program_and_options(Target("h", "h", retries=2, program="/opt/ssh"))
    assert words[0] == "/opt/ssh"
    assert "ConnectionAttempts=3" in words


@pytest.mark.parametrize(("retries", "failures", "attempts"), [(0, 0, 1), (0, 1, 1), (2, 1, 2), (2, 2, 3), (1, 9, 2)])
def test_attempts(retries: int, failures: int, attempts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("opsplay.transport.connect.time.sleep", pauses.append)
    made: list[Target] = []

    class Failing(Connector):
        def _attempt(self, target: Target) -> Connection:
            made.append(target)
            if len(made) <= failures:
                raise ConnectionFailed("refused")
            return super()._attempt(target)

    here = Target("h", "h", connection="local", retries=retries)
    if failures > retries:
        with pytest.raises(ConnectionFailed):
            Failing().connect(here)
    else:
        Failing().connect(here).close()
    assert len(made) == attempts
    assert pauses == [0, 1, 3][: attempts - 1]
