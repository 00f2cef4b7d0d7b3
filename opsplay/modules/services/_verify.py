"""Have systemd judge unit files before they are installed: in a folder of their own, under their right names."""

from __future__ import annotations

import os
from typing import Dict, List, Optional, Tuple

from opsplay.agent.host import Host
from opsplay.modules.services._units import FOLDERS

SYSTEM = "/etc/systemd/system"
SECONDS = 60
# systemd passes over what it does not understand; here that is an error. Whatever else it remarks is a warning.
_ERRORS = ("ignor", "refus", "fail", "invalid", "unknown", "missing", "unbalanced", "bad unit file", "fatal")
# What is missing on the host and may still come: a program, or another unit.
_ABSENT = ("is not executable", "not found", "not loaded")
ENVIRONMENT = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_LOG_COLOR": "0", "SYSTEMD_PAGER": ""}


class Verdict:
    """What systemd says of unit files: errors, what is not on the host (yet), and remarks."""

    __slots__ = ("errors", "absent", "remarks")

    def __init__(self) -> None:
        self.errors: List[str] = []
        self.absent: List[str] = []
        self.remarks: List[str] = []


def program(host: Host) -> str:
    found = host.which("systemd-analyze")
    if found is None:
        host.fail("systemd-analyze is not on this host, so that no unit can be checked; is it run by systemd?")
    return str(found)


def version(host: Host) -> int:
    """The number of this host's systemd, e.g. 252."""
    words = host.query([program(host), "--version"], env=ENVIRONMENT, timeout=SECONDS).stdout.split()
    digits = words[1].partition(".")[0].partition("~")[0] if len(words) > 1 else ""
    return int(digits) if digits.isdigit() else 0


def template_of(unit: str) -> str:
    """The template that an instance comes from; the unit itself when it is none."""
    return unit.partition("@")[0] + "@." + unit.rpartition(".")[2] if "@" in unit else unit


def fragment(host: Host, unit: str, folders: Tuple[str, ...] = FOLDERS) -> Optional[str]:
    """The path of a unit's own file (or its template's), without drop-ins; None when there is none."""
    for name in (unit, template_of(unit)):
        for folder in folders:
            path = "%s/%s" % (folder, name)
            if host.exists(path):
                return path
    return None


def refuse_wrong(host: Host, unit: str, files: Dict[str, str], starting: bool) -> None:
    """Fail with systemd's own words when `files` (text by name below /etc/systemd/system) do not make a good `unit`.

    What is not on the host yet is an error when the unit is to be started now, otherwise a warning.
    """
    verdict = judge(host, unit, files)
    coming = host.check and host.shadow.brings_unknown_files
    if starting and not coming:
        verdict.errors += verdict.absent
        verdict.absent = []
    if verdict.errors:
        host.fail("systemd would not take %s: %s" % (unit, "; ".join(verdict.errors)), name=unit)
    for line in verdict.remarks + ([] if coming else verdict.absent):
        host.warn(line)


def judge(host: Host, unit: str, files: Dict[str, str]) -> Verdict:
    """Let `systemd-analyze verify` read the files beside those of the host and of the preview so far."""
    folder = host.temporary.folder("/run")
    try:
        for name, text in dict(_coming(host), **files).items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
            os.chmod(path, 0o644)
        argv = [program(host), "verify", "--man=no", "%s/%s" % (folder, unit)]
        done = host.query(argv, env=ENVIRONMENT, timeout=SECONDS)
        if done.timed_out:
            host.fail("systemd-analyze verify took longer than %d s over %s" % (SECONDS, unit))
        return sorted_out(done.stderr + done.stdout, folder, unit, files)
    finally:
        host.temporary.discard(folder)


def _coming(host: Host) -> Dict[str, str]:
    """Units that earlier tasks of a preview would have made: a unit may need them."""
    found: Dict[str, str] = {}
    for path, node in host.shadow.paths.items() if host.check else ():
        if path.startswith(SYSTEM + "/") and node.kind == "file" and node.content is not None:
            found[path[len(SYSTEM) + 1 :]] = node.content.decode("utf-8", "surrogateescape")
    return found


def sorted_out(said: str, folder: str, unit: str, files: Dict[str, str]) -> Verdict:
    """What systemd said of these files; its remarks on other units of the host are left out."""
    verdict = Verdict()
    stem, suffix = unit.rpartition(".")[::2]
    # systemd tries a template with an instance of its own choosing.
    begin = stem if unit.startswith(stem.partition("@")[0] + "@.") else unit
    for line in said.replace(folder + "/./", folder + "/").split("\n"):
        line = line.strip()
        about = line[len("Unit ") :] if line.startswith("Unit ") else line
        ours = about.startswith(begin) and suffix in about.partition(" ")[0]
        if folder + "/" in line:
            name, number = _place(line, folder)
            if name not in files:
                continue
            line = line.replace(folder + "/", SYSTEM + "/")
            source = files[name].split("\n")
            if 0 < number <= len(source):
                line += " (`%s`)" % source[number - 1].strip()
        elif not ours:
            continue
        small = line.lower()
        if "bad unit file setting" in small and verdict.errors:
            # It has been said before what is bad.
            continue
        if any(word in small for word in _ABSENT):
            verdict.absent.append(line)
        elif any(word in small for word in _ERRORS):
            verdict.errors.append(line)
        else:
            verdict.remarks.append(line)
    return verdict


def _place(line: str, folder: str) -> Tuple[str, int]:
    """The file's name and the line's number in `FOLDER/NAME:NUMBER: …`."""
    rest = line.partition(folder + "/")[2]
    name, _, behind = rest.partition(":")
    number = behind.partition(":")[0]
    return name.split(" ")[0], int(number) if number.isdigit() else 0
