"""What a playbook left on a host: files with owner, mode and content; packages, units, accounts."""

from __future__ import annotations

from collections.abc import MutableMapping

from opsplay.lab import LabHost

FOLDERS = ("/etc", "/srv", "/usr/local", "/home", "/opt", "/root", "/var/lib/heartbeat", "/var/www")

# What differs between two hosts by itself, or is how a tool works and not what it was asked for.
IGNORED = (
    "/etc/hostname", "/etc/hosts", "/etc/machine-id", "/etc/ssh/ssh_host_", "/etc/ld.so.cache", "/etc/systemd/network/",
    "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-", "/etc/.pwd.lock",
    "/root/.ansible", "/root/.opsplay", "/home/plain/.ansible", "/home/plain/.opsplay", "/home/admin/.ansible",
    "/root/.ssh", "/home/admin/.ssh", "/home/ops/.ssh", "/home/plain/.ssh", "/etc/shadow",
    "/var/lib/heartbeat/last", "/root/.cache", "/home/admin/.sudo_as_admin_successful",
)  # fmt: skip

# Units that come and go with a login.
PASSING = ("session-", "user@", "user-runtime-dir@", "systemd-tmpfiles-clean", "systemd-hostnamed",
           "systemd-networkd-wait-online")  # fmt: skip

FILES = r"""
find %s -xdev \( -type f -o -type l -o -type d \) -printf '%%p\t%%y\t%%u\t%%g\t%%m\t%%l\n' 2>/dev/null | sort
"""
# systemd takes most of a second to tell what is enabled: it is asked only when one of these has changed.
# What is generated is written anew by each daemon-reload, and a session is one of those who look.
UNIT_FILES = r"""
{ find /etc/systemd /lib/systemd /run/systemd/system /run/systemd/transient /etc/init.d \
    ! -type d ! -name 'session-*' -printf '%p %C@\n' 2>/dev/null
  find /run/systemd/generator* -printf '%p %l\n' 2>/dev/null; } | sort | sha256sum
"""
HASHES = "find %s -xdev -type f -exec sha256sum {} + 2>/dev/null"
UNITS = "systemctl list-unit-files --no-legend --plain | awk '{print $1, $2}' | sort"
COMMANDS = {
    "package": "dpkg-query -W -f '${Package} ${Version} ${Status}\\n' | sort",
    "running": "systemctl list-units --state=active --type=service --no-legend --plain | awk '{print $1, $4}' | sort",
    "user": "getent passwd | sort",
    "group": "getent group | sort",
    "password": "cut -d: -f1,2 /etc/shadow | sed 's/:\\$.*/:set/' | sort",
}


def snapshot(host: LabHost, units: MutableMapping[str, str]) -> dict[str, str]:
    """Everything by a name such as `file /etc/motd`; `units` keeps what systemd said of which state of its files."""
    folders = " ".join(FOLDERS)
    found: dict[str, str] = {}
    hashes = {}
    for line in host.run(HASHES % folders, check=False).stdout.splitlines():
        digest, _, path = line.partition("  ")
        hashes[path] = digest
    for line in host.run(FILES % folders, check=False).stdout.splitlines():
        path, _, facts = line.partition("\t")
        if not path.startswith(IGNORED):
            found[f"file {path}"] = f"{facts} {hashes.get(path, '')}"
    said = {kind: host.run(command).stdout for kind, command in COMMANDS.items()}
    state = f"{host.name} {host.run(UNIT_FILES).stdout}"
    if state not in units:
        units[state] = host.run(UNITS).stdout
    for kind, lines in {**said, "unit": units[state]}.items():
        for line in lines.splitlines():
            name, _, value = line.replace(":", " ", 1).partition(" ")
            if not name.startswith(PASSING):
                found[f"{kind} {name}"] = value
    return found


def differences(left: dict[str, str], right: dict[str, str]) -> list[str]:
    """What is not the same, a line each."""
    names = sorted(left.keys() | right.keys())
    return [
        f"{name}: {left.get(name, 'absent')!r} | {right.get(name, 'absent')!r}"
        for name in names
        if left.get(name) != right.get(name)
    ]
