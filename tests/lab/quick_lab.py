"""Debian's archive, told of in short: apt thinks about sixty thousand packages for a second or two of processor time at
each call, and tests call it hundreds of times. Hosts of a QuickLab are told only of what the tests install, and of what
that needs; the packages themselves come from where they always do. Debian 11 has the whole archive."""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from opsplay.lab import HostSpec, Lab, LabHost
from opsplay.lab.apt import sources
from opsplay.lab.fleet import BOOT_SECONDS
from opsplay.lab.state import Progress, state_home
from opsplay.lab.supervisor import start_time
from tests import CACHE

# What the tests install by name; what these depend on and recommend comes with them.
NAMES = """
    acct acl age aide aide-common alembic apache2 apt-listchanges auditd bc bind9 bind9-dnsutils ca-certificates
    certbot chrony coreutils cowsay cracklib-runtime cron curl debconf-utils debian-goodies debsums fail2ban figlet
    git gpg hello jq libnginx-mod-mail libpam-pwquality libpam-tmpdir locales logrotate nftables nginx nginx-light
    nmap openssh-client openssl pebble pgbackrest postgresql python3-certbot-nginx python3-debian python3-pip
    python3-psycopg2 python3-systemd python3-venv redis redis-server rsync rsyslog sl strace sudo sysstat tree tzdata
    ufw unattended-upgrades virtualenv zstd
"""
# Once, apt 2.2 waited for ever for packages of a list of mirrors.
_WHOLE = ("bullseye",)
_MARK = "process-of-the-tests"
_PLACE = "var/lib/small-archive"
_HEAD = r"^(?:Origin|Label|Suite|Version|Codename|Date|Architectures|Components|Description): .*"


class QuickLab(Lab):
    """A lab of this process. Its hosts are told of the archive in short; their lists are empty as on any fresh host."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"{prefix}-{os.getpid()}")

    def up(
        self,
        specs: Mapping[str, HostSpec] | None = None,
        progress: Progress | None = None,
        seconds: float = BOOT_SECONDS,
    ) -> dict[str, LabHost]:
        hosts = super().up(specs, progress, seconds)
        (self.directory / _MARK).write_text(f"{os.getpid()} {start_time(os.getpid())}")
        for host in hosts.values():
            if host.release not in _WHOLE and not (host.root / _PLACE).exists():
                _shorten(host)
        return hosts


def sweep() -> None:
    """Remove the labs of test runs that were killed."""
    for mark in state_home().glob(f"*/{_MARK}"):
        pid, began = map(int, mark.read_text().split())
        if start_time(pid) != began:
            Lab(mark.parent.name).down()


def _shorten(host: LabHost) -> None:
    shutil.copytree(_made(host), host.root / _PLACE)
    lines = []
    for number, line in enumerate(sources(host.release)):
        _, uri, suite, component = line.split()
        # apt-transport-mirror(1): the lists are here, and the packages there, where no such suite is.
        both = f"file:/{_PLACE}/{number}/\ttype:index\n{uri}/\ttype:deb\n"
        (host.root / _PLACE / f"mirrors-{number}").write_text(both)
        lines.append(f"deb [trusted=yes] mirror+file:/{_PLACE}/mirrors-{number} {suite}/small {component}\n")
    (host.root / "etc/apt/sources.list").write_text("".join(lines))


def _made(host: LabHost) -> Path:
    """The lists of a release in short, made once a day with the help of the first host of it."""
    digest = hashlib.sha256(" ".join([NAMES, *sources(host.release)]).encode()).hexdigest()[:12]
    folder = CACHE / f"archive/{host.release}-{datetime.date.today()}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{host.release}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in folder.parent.glob(f"{host.release}-*"):
                shutil.rmtree(old)
            _make(host, folder.with_name(f".{folder.name}"))
            folder.with_name(f".{folder.name}").rename(folder)
    return folder


def _make(host: LabHost, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    host.run("apt-get update -qq", timeout=120)
    lists = host.root / "var/lib/apt/lists"
    suites = [line.split()[2] for line in sources(host.release)]
    whole = [next(lists.glob(f"*_dists_{suite}_main_binary-*_Packages")).read_text().split("\n\n") for suite in suites]
    there = host.run("dpkg-query -W -f '${Package}\\n'").stdout.split()
    wanted = _needed([*NAMES.split(), *there], [stanza for stanzas in whole for stanza in stanzas])
    architecture = host.run("dpkg --print-architecture").stdout.strip()
    for number, (suite, stanzas) in enumerate(zip(suites, whole, strict=True)):
        short = "\n\n".join(stanza for stanza in stanzas if _field("Package", stanza) in wanted) + "\n"
        place, name = folder / f"{number}/dists/{suite}/small", f"main/binary-{architecture}/Packages"
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(short)
        signed = next(lists.glob(f"*_dists_{suite}_InRelease")).read_text()
        head = "".join(f"{found}\n" for found in re.findall(_HEAD, signed, re.MULTILINE))
        digest = hashlib.sha256(short.encode()).hexdigest()
        (place / "Release").write_text(f"{head}SHA256:\n {digest} {len(short.encode())} {name}\n")
    host.run("rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin")


def _needed(names: Iterable[str], stanzas: list[str]) -> set[str]:
    """The names, what they depend on and recommend, and so on; of a name that several provide, all of these."""
    by_name: dict[str, list[str]] = {}
    providers: dict[str, list[str]] = {}
    for stanza in stanzas:
        name = _field("Package", stanza)
        by_name.setdefault(name, []).append(stanza)
        for provided in _names(_field("Provides", stanza).replace(",", "|")):
            providers.setdefault(provided, []).append(name)
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for stanza in by_name.get(name, ()):
            for field in ("Pre-Depends", "Depends", "Recommends"):
                for group in _field(field, stanza).split(","):
                    left += _choice(group, by_name, providers)
    return found


def _choice(group: str, by_name: dict[str, list[str]], providers: dict[str, list[str]]) -> list[str]:
    """What apt would take of alternatives, the first that there is: the package itself, else those that provide it."""
    for name in _names(group):
        if name in by_name:
            return [name]
        if name in providers:
            return providers[name]
    return []


def _names(group: str) -> list[str]:
    """The names of alternatives, without versions and architectures."""
    return [word.split()[0].partition(":")[0] for word in group.split("|") if word.strip()]


def _field(name: str, stanza: str) -> str:
    found = re.search(rf"^{name}: (.*)$", stanza, re.MULTILINE)
    return found[1] if found else ""
