"""The lab through the doors of its users: the command line, and the Python API that other tests stand on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from opsplay.cli.lab import lab as command
from opsplay.errors import LabError
from opsplay.lab import HostSpec, Lab, LabHost, Power, apt, images, programs
from opsplay.lab.processes import is_alive, wait_for

NAME = f"pytest-{os.getpid()}"
PYTHONS = {"bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments)
    if isinstance(result.exception, LabError):
        raise result.exception
    return result


def ssh(lab: Lab, host: str, command: str, user: str = "root", stdin: str = "") -> subprocess.CompletedProcess[str]:
    options = ["-oBatchMode=yes", "-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={lab.known_hosts}"]
    target = f"{user}@{lab.hosts[host].address}"
    argv = ["ssh", "-i", str(lab.private_key), *options, target, command]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60)


def answers(host: LabHost) -> bool:
    try:
        socket.create_connection((host.address, 22), timeout=0.5).close()
    except OSError:
        return False
    return True


def traces(directory: Path, number: int) -> list[str]:
    """Whatever on this machine bears the name of a lab."""
    found = [line for line in Path("/proc/mounts").read_text().splitlines() if str(directory) in line]
    names = (f"ops{number}-", f"vb-ops{number}-", f"opslab{number}")
    found += [name for name in os.listdir("/sys/class/net") if name.startswith(names)]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(directory) in words or f"--machine=ops{number}-" in words:
            found.append(words.replace("\0", " "))
    found += [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"/ops{number}-" in path or f"-ops{number}-" in path]
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    found += [line for line in rules.splitlines() if f"opslab{number}" in line or f"_{number} {{" in line]
    return found + [str(path) for path in directory.parent.glob(f"*{directory.name}*")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One host of each release, made and removed by the command line; nothing of it may be left."""
    inventory = tmp_path_factory.mktemp("inventory")
    lab = Lab(NAME)
    hosts = [f"{release}1:{release}" for release in PYTHONS]
    try:
        result = invoke("up", *hosts, "--name", NAME, "--inventory", str(inventory))
        assert result.exit_code == 0, result.output
        number = int(lab.hosts["bookworm1"].address.split(".")[2])
        assert traces(lab.directory, number)
        yield lab
    finally:
        invoke("down", "--name", NAME)
    assert traces(lab.directory, number) == []
    assert list(inventory.iterdir()) == []


@pytest.mark.lab
@as_root
class TestHosts:
    @pytest.mark.parametrize("release", PYTHONS)
    def test_every_release_boots_and_can_be_logged_in_to(self, lab: Lab, release: str) -> None:
        done = ssh(lab, f"{release}1", "hostname; systemctl is-system-running; python3 -V; getent hosts bookworm1")
        name, state, python, known = done.stdout.splitlines()
        assert (name, state) == (f"{release}1", "running")
        assert python.startswith(f"Python {PYTHONS[release]}.")
        assert known.split() == [lab.hosts["bookworm1"].address, "bookworm1"]

    def test_accounts_have_the_rights_that_they_are_for(self, lab: Lab) -> None:
        host = "bookworm1"
        assert ssh(lab, host, "sudo -n id -u", user="admin").stdout == "0\n"
        assert ssh(lab, host, "sudo -n id -u", user="ops").returncode != 0
        assert ssh(lab, host, "sudo -S id -u", user="ops", stdin=lab.password + "\n").stdout == "0\n"
        assert ssh(lab, host, "echo $SHELL", user="plain").stdout == "/bin/sh\n"
        assert ssh(lab, host, "sudo -n id", user="plain").returncode != 0
        assert "passwordauthentication yes" in lab.hosts[host].run(["sshd", "-T"]).stdout
        for secret in (lab.private_key, lab.directory / "password"):
            assert secret.stat().st_mode & 0o777 == 0o600

    def test_apt_reaches_the_mirrors_through_the_bridge(self, lab: Lab) -> None:
        host = lab.hosts["bookworm1"]
        host.run("apt-get update -q && apt-get install -qy nginx", timeout=120)
        with socket.create_connection((host.address, 80), timeout=5) as connection:
            connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            assert b"200 OK" in connection.recv(100)

    def test_timers_tick(self, lab: Lab) -> None:
        host = lab.hosts["trixie1"]
        host.run("systemd-run --on-active=0.2 --timer-property=AccuracySec=10ms touch /var/lib/ticked")
        assert wait_for((host.root / "var/lib/ticked").exists, 5)

    def test_a_reboot_comes_back_with_a_new_boot_id(self, lab: Lab) -> None:
        host = lab.hosts["bullseye1"]
        before = host.boot_id()
        host.run("touch /var/lib/kept; ! test -e /run/lost; touch /run/lost")
        host.reboot()
        assert host.boot_id() != before
        host.run("test -e /var/lib/kept; ! test -e /run/lost")

    def test_a_host_that_powers_off_stays_off_until_it_is_booted_again(self, lab: Lab) -> None:
        host = lab.hosts["bullseye1"]
        host.run("systemctl poweroff", check=False)
        assert wait_for(lambda: host.power is Power.OFF, 20)
        with pytest.raises(LabError, match="does not run"):
            host.run("true")
        assert "off" in invoke("status", "--name", NAME).output
        lab.up()
        assert host.power is Power.RUNNING

    def test_its_network_cable_can_be_pulled(self, lab: Lab) -> None:
        host = lab.hosts["trixie1"]
        host.link(False)
        assert not answers(host)
        assert host.run("echo inside").stdout == "inside\n"
        host.link(True)
        assert wait_for(lambda: answers(host), 10)

    def test_what_a_command_does_is_bounded_and_seen_from_outside(self, lab: Lab) -> None:
        host = lab.hosts["trixie1"]
        host.run("systemd-run sleep 60")
        assert wait_for(lambda: any(argv[1:] == ["60"] and is_alive(pid) for pid, argv in host.processes()), 5)
        with pytest.raises(LabError, match="longer than 0.5 s"):
            host.run("sleep 61", timeout=0.5)
        assert not any(argv[1:] == ["61"] for _, argv in host.processes())
        with pytest.raises(LabError, match=r"failed \(3\): told"):
            host.run("echo told >&2; exit 3")

    @pytest.mark.parametrize("victims", [["supervisor"], ["nspawn"], ["supervisor", "nspawn", "leader"]])
    def test_a_host_whose_keepers_were_killed_is_booted_again(self, lab: Lab, victims: list[str]) -> None:
        host = lab.hosts["trixie1"]
        recorded = json.loads((host.machine.directory / "process.json").read_text())
        pids = {name: recorded[name][0] for name in ("supervisor", "nspawn")} | {"leader": host.machine.leader()}
        others = {name: other.machine.leader() for name, other in lab.hosts.items() if name != host.name}
        for victim in victims:
            os.kill(pids[victim], signal.SIGKILL)
        assert wait_for(lambda: host.power in (Power.ORPHANED, Power.FAILED), 5)
        lab.up()
        assert host.power is Power.RUNNING and answers(host)
        assert {name: lab.hosts[name].machine.leader() for name in others} == others

    def test_services_are_stopped_in_order_when_a_host_goes_down(self, lab: Lab) -> None:
        host = lab.hosts["trixie1"]
        host.run("systemd-run --unit=last --property=ExecStop='touch /var/lib/stopped' sleep 600")
        host.machine.halt(grace=10)
        assert (host.machine.directory / "upper/var/lib/stopped").exists()
        lab.up()

    def test_hosts_come_and_go_and_two_labs_stand_side_by_side(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with Lab(f"{NAME}-b") as other:
            invoke("up", "bookworm1", "web2", "--name", other.name)
            ours, theirs = lab.hosts["bookworm1"], other.hosts["bookworm1"]
            assert ours.address != theirs.address and answers(ours) and answers(theirs)
            path = tmp_path / "inventories" / other.name / "hosts.yml"
            everything = yaml.safe_load(path.read_text())["all"]
            assert everything["hosts"]["web2"] == {"ansible_host": other.hosts["web2"].address}
            assert set(everything["children"]) == {"debian_bookworm", "bookworm", "web"}

            before = theirs.machine.leader()
            subprocess.run(["chattr", "+i", theirs.root / "etc/motd"], check=True)
            invoke("down", "web2", "--name", other.name)
            assert "web2" not in theirs.run("cat /etc/hosts").stdout + path.read_text()
            assert theirs.machine.leader() == before
            path.write_text(path.read_text() + "# mine\n")
        assert path.exists(), "a changed inventory is not thrown away"
        assert answers(ours)

    def test_a_host_that_cannot_boot_says_why_and_goes(self) -> None:
        with Lab(f"{NAME}-c") as broken, pytest.raises(LabError, match="(?s)did not boot.*no-such-option"):
            broken.up({"web1": HostSpec(arguments=("--no-such-option",))})
        assert not broken.directory.exists()

    def test_half_of_a_lab_is_cleared_away(self) -> None:
        half = Lab(f"{NAME}-d")
        half.up({"web1": HostSpec(volumes=("/srv/data",))})
        assert half.hosts["web1"].run("stat -f -c %T / /srv/data").stdout.split()[0] == "overlayfs"
        assert half.hosts["web1"].run(["stat", "-f", "-c", "%T", "/srv/data"]).stdout != "overlayfs\n"
        number = int(half.hosts["web1"].address.split(".")[2])
        (half.directory / "lab.json").write_text("{ not whole")
        half.down()
        assert traces(half.directory, number) == []

    def test_the_ssh_command(self, lab: Lab) -> None:
        door = [sys.executable, "-c", "from opsplay.cli.lab import lab; lab()"]
        argv = [*door, "ssh", "bookworm1", "--name", NAME, "--user", "admin", "id", "-un"]
        assert subprocess.run(argv, capture_output=True, text=True, timeout=30).stdout == "admin\n"
        with pytest.raises(LabError, match="no host web9"):
            invoke("ssh", "web9", "--name", NAME)


@pytest.mark.lab
@as_root
def test_a_killed_build_leaves_nothing_that_counts(tmp_path: Path) -> None:
    image = images.Image("bookworm", "base")
    code = (
        f"from pathlib import Path; from opsplay.lab import images; images.ensure({image!r}, Path({str(tmp_path)!r}))"
    )
    code = code.replace("Image(", "images.Image(")
    builder = subprocess.Popen([sys.executable, "-c", code])
    unfinished = tmp_path / f".{image.key}.unfinished"
    try:
        assert wait_for((unfinished / "root/etc").exists, 60)
    finally:
        builder.kill()
        builder.wait()
    assert not (tmp_path / image.key).exists()
    assert wait_for(lambda: not any(str(tmp_path) in words for words in command_lines()), 5)

    class Enough(Exception):
        """The next build has begun, so it has swept."""

    def stop(_message: str) -> None:
        assert not unfinished.exists()
        raise Enough

    with pytest.raises(Enough):
        images.ensure(image, tmp_path, stop)
    assert list(tmp_path.iterdir()) == []


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().decode(errors="replace")
        except OSError:
            continue


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(LabError) as caught:
        action()
    return str(caught.value)


def test_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "lower-case" in refused(lambda: Lab("No Name"))
    assert "bullseye, bookworm, trixie" in refused(lambda: images.Image("jessie", "base"))
    assert "base, full" in refused(lambda: images.Image("bookworm", "huge"))
    assert "is not up" in refused(lambda: Lab("x", tmp_path).password)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in refused(lambda: Lab("x", tmp_path).up({"web1": HostSpec()}))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(programs, "SEARCH_PATH", str(tmp_path))
    assert "apt-get install" in (said := refused(lambda: Lab("x", tmp_path).down())) and "systemd-container" in said


def test_the_machines_own_mirrors_are_used(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb [arch=amd64] https://vendor.test/linux bookworm stable\n")
    debian = "Types: deb\n# near\nURIs: http://near.test/debian/\nSuites: trixie trixie-updates\nComponents: main\n"
    (tmp_path / "sources.list.d/debian.sources").write_text(debian)
    assert apt.sources("bullseye", tmp_path) == [
        "deb http://near.test/debian bullseye main",
        "deb http://near.test/debian bullseye-updates main",
        f"deb {apt.SECURITY_FALLBACK} bullseye-security main",
    ]


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from opsplay.cli.lab import lab; lab(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"opsplay.lab", "yaml", "cryptography", "rich", "subprocess"} & set(done.stdout.split())
