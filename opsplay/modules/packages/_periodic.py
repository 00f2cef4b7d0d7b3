"""What apt does by itself: a file of settings, tried on a copy of all the others."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host

FOLDER = "/etc/apt/apt.conf.d"
SECONDS = 60
DRY_RUN_SECONDS = 300
U = "Unattended-Upgrade::"
P = "APT::Periodic::"
# What an origin in a word stands for; for security, the archive's name from Debian 11 on, and that of older ones.
DEBIAN = {
    "security": ["origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
                 "origin=Debian,codename=${distro_codename},label=Debian-Security"],
    "stable": ["origin=Debian,codename=${distro_codename},label=Debian"],
    "updates": ["origin=Debian,codename=${distro_codename}-updates"],
    "backports": ["origin=Debian Backports,codename=${distro_codename}-backports"],
}  # fmt: skip
UBUNTU = {
    "security": ["origin=Ubuntu,archive=${distro_codename}-security",
                 "origin=UbuntuESM,archive=${distro_codename}-infra-security",
                 "origin=UbuntuESMApps,archive=${distro_codename}-apps-security"],
    "stable": ["origin=Ubuntu,archive=${distro_codename}"],
    "updates": ["origin=Ubuntu,archive=${distro_codename}-updates"],
    "backports": ["origin=Ubuntu,archive=${distro_codename}-backports"],
}  # fmt: skip
MATCHERS = ("o", "origin", "l", "label", "a", "suite", "archive", "c", "component", "site", "n", "codename")


def patterns(host: Host, origins: List[str]) -> List[str]:
    """The patterns of unattended-upgrades for origins in a word; patterns stay as they are."""
    release = host.read("/etc/os-release").decode("utf-8", "replace") if host.exists("/etc/os-release") else ""
    words = UBUNTU if "ID=ubuntu" in release.split() else DEBIAN
    found: List[str] = []
    for origin in origins:
        found += [origin] if "=" in origin else words[origin]
    return list(dict.fromkeys(found))


def text_of(settings: List[Tuple[str, Any]]) -> str:
    """The file. Lists begin anew: apt would add to what files before this one say."""
    lines = ["// Managed by opsplay: changes made here are lost."]
    for key, value in settings:
        if isinstance(value, list):
            lines.append("#clear %s;" % key)
            lines.append("%s {" % key)
            lines += ['    "%s";' % one for one in value]
            lines.append("};")
        else:
            lines.append('%s "%s";' % (key, value))
    return "\n".join(lines) + "\n"


class Trial:
    """Copies of apt's settings, with one file changed, that programs take for the real ones."""

    def __init__(self, host: Host, path: str, text: str) -> None:
        self.host = host
        self.folder = host.temporary.folder("/run")
        self.parts = self.folder + "/parts"
        os.mkdir(self.parts, 0o755)
        os.chmod(self.folder, 0o755)
        self.name = os.path.basename(path)
        names = set(host.names(FOLDER)) if host.is_directory(FOLDER) else set()
        for name in names | {self.name}:
            source = os.path.join(FOLDER, name)
            if name != self.name and (host.is_directory(source) or not host.knows(source)):
                continue
            with open(os.path.join(self.parts, name), "wb") as file:
                file.write(text.encode("utf-8") if name == self.name else host.read(source))
        self.config = self.folder + "/apt.conf"
        with open(self.config, "w") as file:
            file.write('Dir::Etc::parts "%s";\n' % self.parts)

    def run(self, argv: List[str], seconds: int = SECONDS) -> Any:
        return self.host.query(argv, timeout=seconds, env={"APT_CONFIG": self.config, "LC_ALL": "C"})

    def plain(self, text: str) -> str:
        return text.replace(self.parts, FOLDER).replace("E: ", "").strip()

    def effective(self) -> Dict[str, List[str]]:
        """Every setting with its values. Fails when apt cannot read the files."""
        done = self.run(["apt-config", "dump"])
        if done.rc != 0:
            self.host.fail("apt cannot read these settings: %s" % self.plain(done.stderr))
        return parsed(done.stdout)

    def setters(self, key: str) -> List[str]:
        """The files behind this one that speak of a setting."""
        found = []
        for name in sorted(name for name in os.listdir(self.parts) if name > self.name):
            with open(os.path.join(self.parts, name), "rb") as file:
                if key.encode() in file.read():
                    found.append(os.path.join(FOLDER, name))
        return found

    def discard(self) -> None:
        self.host.temporary.discard(self.folder)


def parsed(text: str) -> Dict[str, List[str]]:
    """apt-config's dump: `Name "value";`, or `Name:: "value";` for each member of a list."""
    found: Dict[str, List[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        value = value.strip().rstrip(";")[1:-1]
        if key.endswith("::"):
            found.setdefault(key[:-2], [])
            found[key[:-2]] = [one for one in found[key[:-2]] if one] + [value]
        else:
            found[key] = [value]
    return found


def objection(trial: Trial, settings: List[Tuple[str, Any]]) -> str:
    """Which setting another file overrules; empty when all of them count."""
    effective = trial.effective()
    for key, value in settings:
        wanted = value if isinstance(value, list) else [str(value)]
        found = [one for one in effective.get(key, []) if one]
        if found != [one for one in wanted if one]:
            places = ", ".join(trial.setters(key)) or "another file"
            return "%s would be %s, not %s, for %s comes after %s" % (
                key, found or "empty", wanted, places, os.path.join(FOLDER, trial.name))  # fmt: skip
    return ""


def dry_run(trial: Trial) -> str:
    """What unattended-upgrades itself says against the settings; empty when it has nothing, or cannot be asked now."""
    program = trial.host.which("unattended-upgrade")
    if program is None:
        return ""
    done = trial.run([program, "--dry-run", "--verbose"], DRY_RUN_SECONDS)
    said = (done.stdout + done.stderr).strip()
    if done.timed_out or "lock" in said.lower() and done.rc != 0:
        trial.host.warn("unattended-upgrades was not tried with these settings: another program holds apt's lock")
        return ""
    return said.splitlines()[-1] if done.rc != 0 and said else ""
