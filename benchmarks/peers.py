"""The tools that are compared: how each is called for the same work, and how it says what it changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import opsplay
from opsplay.errors import LabError
from opsplay.lab.loopback import LoopbackSSHD, host_address, write_inventory

HERE = Path(__file__).resolve().parent
WORKLOAD = HERE / "workload"
FORKS = 50
PROFILES = {"plain": "site.yml", "become": "site_become.yml"}
_REQUIREMENTS = HERE / "requirements-peers.txt"
_HOME = Path("~/.cache/opsplay/bench-peers").expanduser()


@dataclass(frozen=True)
class Job:
    """One first and second run of a tool: on how many hosts, how, with whose programs, in a directory of its own."""

    directory: Path
    hosts: int
    profile: str
    peers_venv: Path

    @property
    def inventory(self) -> Path:
        """The inventory for all but pyinfra."""
        return self.directory / "hosts.ini"

    @property
    def pyinfra_inventory(self) -> Path:
        """The same hosts, as pyinfra wants them."""
        return self.directory / "hosts.py"

    @property
    def workdir(self) -> Path:
        """Where the hosts' files go, a directory for each."""
        return self.directory / "work"

    @property
    def home(self) -> Path:
        """The home directory that the tool sees on the control side."""
        return self.directory / "home"

    @property
    def remote_tmp(self) -> Path:
        """A directory on the hosts' side that every account may write to."""
        return self.directory / "tmp"

    @property
    def playbook(self) -> str:
        """The profile's playbook, relative to the workload's directory."""
        return PROFILES[self.profile]


@dataclass(frozen=True)
class Peer:
    """A tool: its command line, the environment it gets besides the common one, and its count of changes."""

    name: str
    command: Callable[[Job], list[str]]
    environment: Callable[[Job], Mapping[str, str]]
    changes: Callable[[str, Job], int]

    def environment_of(self, job: Job) -> dict[str, str]:
        """The whole environment: nothing of the caller's except the search path."""
        path = os.environ.get("PATH", os.defpath)
        return {"HOME": str(job.home), "PATH": path, "LC_ALL": "C.UTF-8", **self.environment(job)}


def opsplay_program() -> list[str]:
    """The opsplay of the Python that runs this."""
    installed = Path(sys.executable).parent / "opsplay"
    if installed.exists():
        return [str(installed)]
    return [sys.executable, "-c", "import sys; from opsplay.cli import main; sys.exit(main())"]


def opsplay_command(job: Job) -> list[str]:
    """The run that is measured; with --list-hosts it is opsplay's start-up."""
    return [*opsplay_program(), "run", "-i", str(job.inventory), job.playbook, "--forks", str(FORKS)]


def _opsplay_environment(job: Job) -> dict[str, str]:
    # A checkout that is not installed is found as well.
    return {"PYTHONPATH": str(Path(opsplay.__file__).resolve().parents[1])}


def _ansible_command(job: Job) -> list[str]:
    return [str(job.peers_venv / "bin/ansible-playbook"), "-i", str(job.inventory), job.playbook]


def _pyinfra_command(job: Job) -> list[str]:
    program = [str(job.peers_venv / "bin/pyinfra"), "-y", "--parallel", str(FORKS)]
    become = ["--sudo"] if job.profile == "become" else []
    return [*program, *become, str(job.pyinfra_inventory), "deploy.py"]


def _ansible_environment(job: Job) -> dict[str, str]:
    return {
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_NOCOLOR": "True",
        # The hosts share this machine's file system, and root's home in it shall stay as it is.
        "ANSIBLE_REMOTE_TMP": str(job.remote_tmp),
    }


def _mitogen_environment(job: Job) -> dict[str, str]:
    strategies = next(job.peers_venv.glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy"), None)
    if strategies is None:
        raise LabError(f"no Mitogen in {job.peers_venv}", hint="leave --peers-venv out to have one made")
    return {
        **_ansible_environment(job),
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(strategies),
    }


def _recap_changes(output: str, job: Job) -> int:
    hosts = re.findall(r"^h\d+ .*\bchanged=(\d+)", output, re.MULTILINE)
    if len(hosts) != job.hosts:
        raise LabError(f"the recap tells of {len(hosts)} hosts, not {job.hosts}:\n{output[-2000:]}")
    return sum(map(int, hosts))


def _pyinfra_changes(output: str, job: Job) -> int:
    total = re.search(r"Grand total +\d+ +(\d+|-) ", output)
    if total is None:
        raise LabError(f"pyinfra printed no total:\n{output[-2000:]}")
    # deploy.py says why two commands and two calls count in every run.
    return int(total[1].replace("-", "0")) - 4 * job.hosts


PEERS = {
    peer.name: peer
    for peer in (
        Peer("opsplay", opsplay_command, _opsplay_environment, _recap_changes),
        Peer("pyinfra", _pyinfra_command, lambda job: {}, _pyinfra_changes),
        Peer("mitogen", _ansible_command, _mitogen_environment, _recap_changes),
        Peer("ansible", _ansible_command, _ansible_environment, _recap_changes),
    )
}


def prepare(job: Job, server: LoopbackSSHD, *, port: int) -> None:
    """Make a job's directories and inventories; the hosts are those behind `server`, reached through `port`."""
    job.workdir.mkdir()
    shutil.chown(job.workdir, server.user, server.user)
    job.home.mkdir()
    job.remote_tmp.mkdir()
    job.remote_tmp.chmod(0o1777)
    names = write_inventory(job.inventory, server, job.hosts, port=port, variables={"workdir": str(job.workdir)})
    groups: dict[str, list[tuple[str, dict[str, object]]]] = {"web": [], "db": []}
    for at, name in enumerate(names):
        data: dict[str, object] = {
            "ssh_hostname": host_address(server, at + 1),
            "ssh_port": port,
            "ssh_user": server.user,
            "ssh_key": str(server.private_key),
            "ssh_known_hosts_file": str(server.known_hosts),
            "ssh_strict_host_key_checking": "yes",
            "workdir": str(job.workdir),
        }
        groups["db" if at % 3 == 2 else "web"].append((name, data))
    job.pyinfra_inventory.write_text(f"web = {groups['web']!r}\ndb = {groups['db']!r}\nfleet = web + db\n")


def install_peers() -> Path:
    """The peers' own virtual environment, made or renewed when its requirements are not those it was made from."""
    wanted = _REQUIREMENTS.read_text()
    stamp = _HOME / "requirements-peers.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return _HOME
    print(f"installing the peers into {_HOME} ...", file=sys.stderr)
    pip = [str(_HOME / "bin/python"), "-m", "pip", "install", "--quiet", "--requirement", str(_REQUIREMENTS)]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_HOME)], check=True, timeout=300)
        subprocess.run(pip, check=True, timeout=900)
    except (OSError, subprocess.SubprocessError) as error:
        raise LabError(
            f"the peers cannot be installed: {error}", hint="give --peers-venv, or --peers opsplay"
        ) from error
    stamp.write_text(wanted)
    return _HOME
