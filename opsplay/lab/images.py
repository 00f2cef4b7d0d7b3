"""Images: root file systems of Debian releases, built once by mmdebstrap and shared by all hosts of all labs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from opsplay.errors import LabError
from opsplay.lab import apt
from opsplay.lab.overlay import mounts_below, remove_tree, unmount_below
from opsplay.lab.programs import SEARCH_PATH, call
from opsplay.lab.state import Progress, cache_home, locked, replace_file, silent

_BASE = """
    apt-utils ca-certificates cron curl dbus e2fsprogs iproute2 iputils-ping kmod less libpam-systemd netbase
    openssh-server procps python3 python3-apt rsync sudo systemd systemd-sysv tzdata
"""
_FULL = f"""{_BASE}
    acl age auditd certbot chrony fail2ban gnupg iptables logrotate nftables nginx openssl postgresql python3-psycopg2
    redis-server rsyslog ufw
"""
PACKAGES: Mapping[str, Sequence[str]] = {"base": _BASE.split(), "full": _FULL.split()}

# Free space that a build needs, in bytes: the tree, the downloads, and room for the hosts.
_SPACE = {"base": 1 << 30, "full": 3 << 30}
_BUILD_SECONDS = 900.0
_UNREACHABLE = re.compile(
    r"(?:Could not resolve|Could not connect|Unable to connect|Connection timed out|"
    r"Temporary failure resolving|Network is unreachable|Connection failed)[^\n]*"
)

# Run in the new tree. Host keys, the machine id and passwords are each host's own; timers that run apt would hold
# dpkg's lock when a playbook wants it; the kernel lets only one audit daemon in, and not from a container.
_CUSTOMISE = """
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
rm -f /etc/ssh/ssh_host_* /etc/apt/apt.conf.d/99mmdebstrap
: > /etc/machine-id
echo localhost > /etc/hostname
update-ca-certificates
systemctl enable systemd-networkd.service ssh.service
systemctl disable apt-daily.timer apt-daily-upgrade.timer
systemctl mask console-getty.service
for unit in auditd audit-rules; do
    if test -e /lib/systemd/system/$unit.service; then systemctl disable $unit.service; fi
done
for account in admin ops; do useradd --create-home --shell /bin/bash $account; done
useradd --create-home --shell /bin/sh plain
usermod --append --groups sudo ops
echo 'admin ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin
chmod 0440 /etc/sudoers.d/admin
"""


@dataclass(frozen=True)
class Image:
    """A root file system to be: a Debian release with the packages of `base` or `full`."""

    release: str
    name: str

    def __post_init__(self) -> None:
        if self.release not in apt.RELEASES:
            raise LabError(f"unknown release {self.release!r}", hint=f"one of {', '.join(apt.RELEASES)}")
        if self.name not in PACKAGES:
            raise LabError(f"unknown image {self.name!r}", hint=f"one of {', '.join(PACKAGES)}")

    @property
    def key(self) -> str:
        """The name of its directory: release, image, and a hash of all that decides what is in it."""
        parts = [self.release, PACKAGES[self.name], apt.sources(self.release), apt.certificates(), _CUSTOMISE]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return f"{self.release}-{self.name}-{digest[:12]}"


def ensure(image: Image, cache: Path | None = None, progress: Progress = silent) -> Path:
    """The directory of a finished image, built first when it is missing (15 to 75 s).

    Raises LabError when the disk is too full, the mirror cannot be reached, or the build fails.
    """
    cache = cache or cache_home()
    tree = cache / image.key
    if tree.is_dir():
        return tree
    what = f"the image {image.key}"
    with locked(cache / f".{image.key}.lock", what, seconds=_BUILD_SECONDS, progress=progress) as lock:
        # What another command has built meanwhile, or left half built.
        if tree.is_dir():
            return tree
        _check_space(image, cache)
        unfinished = cache / f".{image.key}.unfinished"
        _discard(unfinished)
        try:
            whole = _build(image, unfinished, lock, progress)
            # The name says that the image is whole, so its content has to reach the disk before its name does.
            call(["sync", "--file-system", str(whole)], timeout=120)
            whole.rename(tree)
        finally:
            _discard(unfinished)
    return tree


def _check_space(image: Image, cache: Path) -> None:
    free = shutil.disk_usage(cache).free
    if free < _SPACE[image.name]:
        raise LabError(
            f"{cache} has {free >> 20} MiB free, and the image {image.name} needs {_SPACE[image.name] >> 20} MiB",
            hint="free some space, or set XDG_CACHE_HOME to a larger disk",
        )


def _discard(tree: Path) -> None:
    if mounts_below(tree):
        unmount_below(tree)
    remove_tree(tree)


def _build(image: Image, directory: Path, lock: int, progress: Progress) -> Path:
    progress(f"building the image {image.release} {image.name}")
    tree, scratch = directory / "root", directory / "tmp"
    for path in (tree, scratch):
        path.mkdir(parents=True)
    # apt downloads as a user of its own, who has to get there.
    scratch.chmod(0o1777)
    argv = ["mmdebstrap", "--mode=root", "--variant=apt", "--format=directory"]
    argv += [f"--aptopt={line}" for line in apt.configuration()]
    argv += [f"--include={','.join(PACKAGES[image.name])}", image.release, str(tree), "-"]
    _run_mmdebstrap(argv, "\n".join(apt.sources(image.release)) + "\n", lock, scratch, progress)
    for name, text in apt.certificates().items():
        replace_file(tree / "usr/local/share/ca-certificates" / name, text)
    call(["chroot", str(tree), "/bin/sh", "-euc", _CUSTOMISE], timeout=120)
    return tree


def _run_mmdebstrap(argv: Sequence[str], sources: str, lock: int, scratch: Path, progress: Progress) -> None:
    environment = {**os.environ, "PATH": SEARCH_PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TMPDIR": str(scratch)}
    environment["DEBIAN_FRONTEND"] = "noninteractive"
    # In a pid namespace that dies with this process nothing of a killed build goes on writing. The lock is inherited,
    # so that it is held until that has happened.
    with subprocess.Popen(
        ["setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child=KILL", *argv],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        env=environment, pass_fds=[lock],
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stderr is not None
        alarm = Timer(_BUILD_SECONDS, process.kill)
        alarm.start()
        said: deque[str] = deque(maxlen=40)
        try:
            process.stdin.write(sources)
            process.stdin.close()
            for line in process.stderr:
                said.append(line)
                if line.startswith("I: "):
                    progress(f"  {line[3:].strip()}")
        except BaseException:
            process.kill()
            raise
        finally:
            alarm.cancel()
    if process.returncode:
        _explain("".join(said))


def _explain(output: str) -> None:
    if found := _UNREACHABLE.search(output):
        raise LabError(
            f"the package mirror cannot be reached: {found[0].strip()}",
            hint="check the network, and the mirror and proxy in this machine's apt configuration",
        )
    raise LabError(f"mmdebstrap failed:\n{output}")
