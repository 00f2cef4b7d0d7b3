"""The loopback server and the delaying proxy, used as their users use them: through SSH and through sockets."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from opsplay.errors import LabError
from opsplay.lab.delay import DelayProxy
from opsplay.lab.loopback import LoopbackSSHD, write_inventory
from opsplay.lab.loopback_fleet import LoopbackFleet
from opsplay.lab.processes import descendants, is_alive, wait_for

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")


def connect(server: LoopbackSSHD, *, port: int | None = None) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.load_host_keys(str(server.known_hosts))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.connect(
        server.address,
        port or server.port,
        server.user,
        key_filename=str(server.private_key),
        allow_agent=False,
        look_for_keys=False,
        timeout=10,
    )
    return client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSSHD]:
    with LoopbackSSHD(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def test_strict_connection_runs_commands_and_sftp(server: LoopbackSSHD, tmp_path: Path) -> None:
    with connect(server) as client:
        _, stdout, _ = client.exec_command("id -un")
        assert stdout.read().decode().strip() == server.user
        with client.open_sftp() as sftp, sftp.open(str(tmp_path / "sent"), "w") as file:
            file.write("over SFTP")
    assert (tmp_path / "sent").read_text() == "over SFTP"
    assert stat.S_IMODE(server.private_key.stat().st_mode) == 0o600


def test_openssh_finds_the_key_at_any_loopback_address(server: LoopbackSSHD) -> None:
    for address in ("127.0.0.1", "127.9.9.9"):
        search = ["ssh-keygen", "-F", f"[{address}]:{server.port}", "-f", str(server.known_hosts)]
        assert b"ssh-ed25519" in subprocess.run(search, capture_output=True, check=False).stdout


def test_stop_ends_the_server_and_its_sessions(tmp_path: Path) -> None:
    server = LoopbackSSHD(tmp_path)
    server.start()
    pid = server.pid
    assert pid
    with connect(server) as client:
        client.exec_command("sleep 600")
        assert wait_for(lambda: len(descendants(pid)) >= 2, 5)
        processes = [pid, *descendants(pid)]
        server.stop()
    assert not [process for process in processes if is_alive(process)]
    with pytest.raises(OSError):
        socket.create_connection((server.address, server.port), 1).close()


def test_a_server_started_again_is_the_same_host(tmp_path: Path) -> None:
    server = LoopbackSSHD(tmp_path / "one")
    with server:
        port = server.port
    again = LoopbackSSHD(tmp_path / "one", port=port)
    with again, connect(again):
        pass
    other = LoopbackSSHD(tmp_path / "two", port=port)
    with other:
        other.known_hosts.write_text(server.known_hosts.read_text())
        with pytest.raises(paramiko.BadHostKeyException):
            connect(other)


def test_the_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from opsplay.lab.loopback import LoopbackSSHD\n"
        "server = LoopbackSSHD(Path(sys.argv[1])); server.start(); print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert wait_for(lambda: not is_alive(int(killed.stdout)), 5)


def test_a_taken_port_is_an_error_with_sshd_s_words(server: LoopbackSSHD, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=f"{server.port}.*Address already in use"):
        LoopbackSSHD(tmp_path, port=server.port).start()


def test_a_missing_sshd_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(LabError, match="openssh-server"):
        LoopbackSSHD(tmp_path).start()


def test_inventory_has_groups_and_connection_variables(server: LoopbackSSHD, tmp_path: Path) -> None:
    names = write_inventory(tmp_path / "hosts.ini", server, 4, variables={"workdir": "/tmp/x"})
    text = (tmp_path / "hosts.ini").read_text()
    assert names == ["h0001", "h0002", "h0003", "h0004"]
    assert "[db]\nh0003 ansible_host=127.0.0.1\n" in text
    assert f"ansible_port={server.port}\n" in text
    assert "workdir=/tmp/x\n" in text


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it receives."""

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()


def test_the_proxy_delays_every_exchange(echo: tuple[str, int]) -> None:
    with DelayProxy(echo, round_trip=0.2) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
        for _ in range(2):
            start = time.monotonic()
            client.sendall(b"ping")
            assert client.recv(4) == b"ping"
            assert 0.19 < time.monotonic() - start < 2.0  # the upper bound forgives a busy machine


def test_the_proxy_does_not_limit_bandwidth_and_passes_the_end_on(echo: tuple[str, int]) -> None:
    sent = os.urandom(1 << 20) * 8

    def send(client: socket.socket) -> None:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)

    with DelayProxy(echo, round_trip=0.2) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
        start = time.monotonic()
        threading.Thread(target=send, args=(client,), daemon=True).start()
        received = b"".join(iter(lambda: client.recv(1 << 16), b""))
        elapsed = time.monotonic() - start
    assert received == sent
    assert elapsed < 10  # 128 pieces one after the other would take 25 s


def test_ssh_through_the_proxy(server: LoopbackSSHD) -> None:
    with DelayProxy((server.address, server.port), round_trip=0.02) as proxy:
        server.trust([server.address], port=proxy.port)
        with connect(server, port=proxy.port) as client:
            _, stdout, _ = client.exec_command("echo there")
            assert stdout.read() == b"there\n"


@as_root
def test_a_fleet_answers_everywhere_and_leaves_nothing(tmp_path: Path) -> None:
    with LoopbackFleet(records=tmp_path) as fleet:
        write_inventory(fleet.directory / "hosts.ini", fleet.server, 300)
        login = ["ssh", "-o", f"UserKnownHostsFile={fleet.server.known_hosts}", "-i", str(fleet.server.private_key)]
        command = fleet.command([*login, f"{fleet.name}@127.1.1.51", "sudo -n id -un"])
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "root\n"
    assert_gone(fleet.name, fleet.directory, tmp_path)


@as_root
def test_the_next_fleet_sweeps_what_a_killed_one_left(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from opsplay.lab.loopback_fleet import LoopbackFleet\n"
        "fleet = LoopbackFleet(records=Path(sys.argv[1])); fleet.open()\n"
        "print(fleet.name, fleet.directory, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False)
    name, directory = killed.stdout.split()
    assert Path(directory).exists()
    with LoopbackFleet(records=tmp_path):
        pass
    assert_gone(name, Path(directory), tmp_path)


def assert_gone(name: str, directory: Path, records: Path) -> None:
    assert not directory.exists()
    assert not Path("/run/netns", name).exists()
    assert not Path("/etc/sudoers.d", name).exists()
    assert name not in Path("/etc/passwd").read_text()
    assert list(records.iterdir()) == []
