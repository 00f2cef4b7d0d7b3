"""Both SSH transports against real servers on loopback: keys, refusals, bastions, floods."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from opsplay.errors import AuthenticationFailed, ConnectionFailed, HostKeyError, UnreachableError
from opsplay.lab.loopback import LoopbackSSHD, free_port
from opsplay.transport.base import Connection, Stream, Target
from opsplay.transport.connect import Connector
from opsplay.transport.known_hosts import KnownHosts, entry_name

pytestmark = pytest.mark.skipif(
    shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin") is None, reason="there is no sshd"
)

Make = Callable[..., Target]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSSHD]:
    with LoopbackSSHD(tmp_path_factory.mktemp("host")) as running:
        yield running


@pytest.fixture(scope="module")
def bastion(tmp_path_factory: pytest.TempPathFactory, server: LoopbackSSHD) -> Iterator[LoopbackSSHD]:
    folder = tmp_path_factory.mktemp("bastion")
    for name in ("id_ed25519", "id_ed25519.pub"):
        shutil.copy(server.directory / name, folder / name)
    with LoopbackSSHD(folder) as running:
        yield running


@pytest.fixture
def target(server: LoopbackSSHD, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes targets of the server, each test with a file of known hosts of its own."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    known = tmp_path / "known_hosts"
    shutil.copy(server.known_hosts, known)

    def make(**fields: Any) -> Target:
        usual: dict[str, Any] = {
            "name": "host", "address": server.address, "port": server.port, "user": server.user,
            "private_key": str(server.private_key), "known_hosts": (str(known),),
        }  # fmt: skip
        return Target(**{**usual, **fields})

    return make


@pytest.fixture
def connector() -> Iterator[Connector]:
    found = Connector()
    yield found
    found.close()


def output(stream: Stream) -> bytes:
    parts = []
    while data := stream.receive(20):
        parts.append(data)
    return b"".join(parts)


def echo(connection: Connection) -> bytes:
    """What `cat` gives back of what it is sent."""
    stream = connection.open("head -c 5")
    stream.send(b"hello")
    found = output(stream)
    assert stream.finish() == 0
    stream.close()
    return found


@pytest.mark.parametrize("kind", ["ssh", "openssh", "local"])
def test_a_command_speaks_over_its_stream(kind: str, target: Make, connector: Connector) -> None:
    connection = connector.connect(target(connection=kind))
    try:
        assert echo(connection) == b"hello"
        stream = connection.open("echo out; echo err >&2; exit 3")
        assert output(stream) == b"out\n"
        assert stream.finish() == 3
        assert stream.errors() == "err\n"
        stream.close()
        waiting = connection.open("sleep 0.6")
        with pytest.raises(TimeoutError):
            waiting.receive(0.05)
        waiting.close()
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["ssh", "openssh", "local"])
def test_a_flood_on_standard_error_holds_nothing_up(kind: str, target: Make, connector: Connector) -> None:
    connection = connector.connect(target(connection=kind))
    try:
        stream = connection.open("head -c 12000000 /dev/zero | tr '\\0' x >&2; echo END >&2; echo done")
        assert output(stream) == b"done\n"
        assert stream.finish() == 0
        assert stream.errors().endswith("xxxEND\n")
        stream.close()
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["ssh", "local"])
def test_much_goes_both_ways_at_once(kind: str, target: Make, connector: Connector) -> None:
    connection = connector.connect(target(connection=kind))
    data = bytes(range(256)) * 16384
    try:
        stream = connection.open("cat")
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(stream.send, data)
            found = b""
            while len(found) < len(data):
                found += stream.receive(20)
            sending.result()
        assert found == data
        stream.close()
    finally:
        connection.close()


# --- host keys ---


def test_an_unknown_key_is_refused_with_its_fingerprint_and_the_remedy(
    server: LoopbackSSHD, target: Make, connector: Connector, tmp_path: Path
) -> None:
    (tmp_path / "known_hosts").write_text("")
    with pytest.raises(HostKeyError) as refused:
        connector.connect(target())
    said = str(refused.value)
    assert f"the host key of [127.0.0.1]:{server.port} is not known: ssh-ed25519 SHA256:" in said
    assert "--accept-new-host-keys" in said and str(tmp_path / "known_hosts") in said
    assert (tmp_path / "known_hosts").read_text() == ""


def test_a_changed_key_is_refused_even_where_new_ones_are_accepted(
    server: LoopbackSSHD, bastion: LoopbackSSHD, target: Make, connector: Connector, tmp_path: Path
) -> None:
    other = (bastion.directory / "host_key.pub").read_text().split()
    name = entry_name(server.address, server.port)
    for number, kind in enumerate((other[0], "ecdsa-sha2-nistp256")):
        path = tmp_path / f"changed{number}"
        path.write_text(f"{name} {kind} {other[1] if kind == other[0] else ecdsa_key()}\n")
        for checking in ("yes", "accept-new"):
            with pytest.raises(HostKeyError) as refused:
                connector.connect(target(known_hosts=(str(path),), host_key_checking=checking))
            assert "has CHANGED" in str(refused.value)
            assert f"ssh-keygen -f {path} -R '{name}'" in str(refused.value)


def ecdsa_key() -> str:
    import base64

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    data = point.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).split()[1]
    return base64.b64encode(base64.b64decode(data)).decode()


def test_a_new_key_can_be_accepted_and_is_remembered(
    server: LoopbackSSHD, target: Make, connector: Connector, tmp_path: Path
) -> None:
    path = tmp_path / "new"
    asking = target(known_hosts=(str(path),), host_key_checking="accept-new")
    connector.connect(asking).close()
    assert KnownHosts.load(path).lookup(entry_name(server.address, server.port))
    before = path.read_text()
    connector.connect(asking).close()
    connector.connect(target(known_hosts=(str(path),))).close()
    assert path.read_text() == before


def test_a_revoked_key_is_refused_although_it_is_known(
    server: LoopbackSSHD, target: Make, connector: Connector, tmp_path: Path
) -> None:
    path = tmp_path / "revoked"
    key = " ".join((server.directory / "host_key.pub").read_text().split()[:2])
    path.write_text(f"{server.known_hosts.read_text()}@revoked * {key}\n")
    for checking in ("yes", "accept-new", "no"):
        with pytest.raises(HostKeyError, match="is marked as revoked"):
            connector.connect(target(known_hosts=(str(path),), host_key_checking=checking))


def test_no_checking_is_what_it_says(target: Make, connector: Connector, tmp_path: Path) -> None:
    path = tmp_path / "none"
    connector.connect(target(known_hosts=(str(path),), host_key_checking="no")).close()
    assert not path.exists()


# --- what else goes wrong ---


def test_a_wrong_key_is_no_connection_failure(target: Make, connector: Connector, bastion: LoopbackSSHD) -> None:
    wrong = bastion.directory / "host_key"
    with pytest.raises(AuthenticationFailed, match=r"^host \(.*@127.0.0.1:\d+\): authentication failed"):
        connector.connect(target(private_key=str(wrong)))
    with pytest.raises(AuthenticationFailed, match="the private key /none cannot be used"):
        connector.connect(target(private_key="/none"))


def test_where_nobody_listens_or_answers(target: Make, connector: Connector) -> None:
    with pytest.raises(ConnectionFailed, match="refused"):
        connector.connect(target(port=free_port("127.0.0.1")))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ConnectionFailed):
            connector.connect(target(port=silent.getsockname()[1], timeout=1.0))
    with pytest.raises(ConnectionFailed, match="the name does not resolve"):
        connector.connect(target(address="nope.invalid"))


@pytest.mark.parametrize("fields", [{"port": 1}, {"private_key": "/none"}, {"known_hosts": ("/dev/null",)}])
def test_the_ssh_program_s_refusals_end_the_stream(fields: Any, target: Make, connector: Connector) -> None:
    connection = connector.connect(target(connection="openssh", **fields))
    try:
        stream = connection.open("echo hello")
        assert output(stream) == b""
        assert stream.finish() == 255
        assert stream.errors()
    finally:
        connection.close()


# --- bastions ---


def test_hosts_behind_one_bastion_share_its_connection(
    server: LoopbackSSHD, bastion: LoopbackSSHD, target: Make, connector: Connector, tmp_path: Path
) -> None:
    both = tmp_path / "both"
    both.write_text(server.known_hosts.read_text() + bastion.known_hosts.read_text())
    jump = (f"{bastion.user}@{bastion.address}:{bastion.port}",)
    before = bastion.log.read_text().count("Accepted publickey")
    targets = [target(name=f"host{number}", jump=jump, known_hosts=(str(both),)) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        connections = list(pool.map(connector.connect, targets))
        assert list(pool.map(echo, connections)) == [b"hello"] * 4
    assert bastion.log.read_text().count("Accepted publickey") == before + 1
    for connection in connections:
        connection.close()


def test_an_unknown_bastion_is_refused_by_its_name(bastion: LoopbackSSHD, target: Make, connector: Connector) -> None:
    with pytest.raises(UnreachableError, match=rf"host key of \[127.0.0.1\]:{bastion.port} is not known"):
        connector.connect(target(jump=(f"{bastion.user}@{bastion.address}:{bastion.port}",)))
