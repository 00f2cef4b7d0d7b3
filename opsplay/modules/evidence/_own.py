"""What this agent finds out by itself, from the kernel: programs of a host that was broken into may lie."""

from __future__ import annotations

import os
import stat
import time
from typing import Any, Dict, Iterator, List

from opsplay.agent.host import Host

KERNEL_FILES = {
    "modules": ("/proc/modules",),
    "mounts": ("/proc/self/mountinfo", "/proc/swaps"),
    "net": ("/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6", "/proc/net/raw", "/proc/net/packet",
            "/proc/net/unix", "/proc/net/arp", "/proc/net/route"),
    "memory": ("/proc/meminfo", "/proc/loadavg", "/proc/uptime"),
    "system": ("/proc/version", "/proc/cmdline", "/proc/cpuinfo", "/proc/sys/kernel/tainted", "/etc/os-release",
               "/etc/machine-id", "/proc/sys/kernel/random/boot_id"),
}  # fmt: skip
PASSED_OVER = ("/proc", "/sys", "/dev")
MOST_ENTRIES = 3000000
LARGEST_PROGRAM = 64 << 20


def pieces(host: Host, what: str, params: Dict[str, Any]) -> Iterator[bytes]:
    """The content of an item."""
    if what in KERNEL_FILES:
        return kernel_files(what)
    if what in ("changed", "set_id"):
        return files(what, params["days"])
    found = {"processes": processes, "open_files": open_files, "deleted": deleted}.get(what)
    if what == "environments":
        return lines(environments(params["environments"]))
    return docker(host) if found is None else lines(found())


def lines(rows: Iterator[Dict[str, Any]]) -> Iterator[bytes]:
    import json

    for row in rows:
        yield json.dumps(row, sort_keys=True).encode("utf-8", "replace") + b"\n"


def kernel_files(what: str) -> Iterator[bytes]:
    for path in KERNEL_FILES[what]:
        yield ("==> %s\n" % path).encode() + read(path) + b"\n"


def read(path: str) -> bytes:
    """A file of the kernel's, read in pieces; why it cannot be read, where that is so."""
    try:
        with open(path, "rb") as file:
            return b"".join(iter(lambda: file.read(65536), b""))
    except OSError as problem:
        return ("(%s)" % problem.strerror).encode()


# --- processes ---


def pids() -> List[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20).decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def processes() -> Iterator[Dict[str, Any]]:
    """Every process with its program, also where the file is gone, and the program's hash, read through the kernel."""
    ticks = os.sysconf("SC_CLK_TCK")
    booted = next(
        (float(line.split()[1]) for line in text("/proc/stat").splitlines() if line.startswith("btime ")), 0.0
    )
    hashes: Dict[Any, str] = {}
    for pid in pids():
        folder = "/proc/%d" % pid
        fields = text(folder + "/stat").rpartition(")")[2].split()
        if len(fields) < 20:
            continue
        status = dict(line.partition(":")[::2] for line in text(folder + "/status").splitlines())
        yield {
            "pid": pid, "ppid": int(fields[1]), "name": status.get("Name", "").strip(), "state": fields[0],
            "uids": status.get("Uid", "").split(), "gids": status.get("Gid", "").split(),
            "started": moment(booted + int(fields[19]) / float(ticks)),
            "command": [shown(word) for word in text(folder + "/cmdline").split("\0") if word],
            "program": shown(link(folder + "/exe")), "folder": shown(link(folder + "/cwd")),
            "root": shown(link(folder + "/root")), "sha256": program_hash(folder + "/exe", hashes),
            "group": text(folder + "/cgroup").strip(), "capabilities": status.get("CapEff", "").strip(),
        }  # fmt: skip


def shown(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def program_hash(path: str, known: Dict[Any, str]) -> str:
    """A running program's SHA-256, each file's once; empty where it may not be read or is very large."""
    import hashlib

    try:
        found = os.stat(path)
        place = (found.st_dev, found.st_ino)
        if place not in known and found.st_size <= LARGEST_PROGRAM:
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                for piece in iter(lambda: file.read(1 << 20), b""):
                    digest.update(piece)
            known[place] = digest.hexdigest()
        return known.get(place, "")
    except OSError:
        return ""


def open_files() -> Iterator[Dict[str, Any]]:
    """Everything that processes have open, and the files that they have mapped."""
    for pid in pids():
        folder = "/proc/%d/fd" % pid
        try:
            numbers = sorted(os.listdir(folder), key=int)
        except OSError:
            continue
        for number in numbers:
            target = link("%s/%s" % (folder, number))
            if target:
                yield {"pid": pid, "fd": int(number), "target": shown(target)}
        mapped = {line.split(None, 5)[5] for line in text("/proc/%d/maps" % pid).splitlines() if line.count("/")
                  and len(line.split(None, 5)) > 5}  # fmt: skip
        for target in sorted(mapped):
            yield {"pid": pid, "mapped": shown(target)}


def deleted() -> Iterator[Dict[str, Any]]:
    """What is open, runs or is mapped although its file was removed."""
    for pid in pids():
        program = link("/proc/%d/exe" % pid)
        if program.endswith(" (deleted)"):
            yield {"pid": pid, "program": shown(program)}
    for row in open_files():
        target = row.get("target") or row["mapped"]
        if target.endswith(" (deleted)") and not target.startswith(("/memfd:", "/dev/zero")) or "/memfd:" in target:
            yield row


def environments(wanted: List[str]) -> Iterator[Dict[str, Any]]:
    """The environments of processes by number, or by a part of the command line."""
    for pid in pids():
        command = text("/proc/%d/cmdline" % pid).replace("\0", " ")
        if str(pid) in wanted or any(one and not one.isdigit() and one in command for one in wanted):
            variables = [shown(entry) for entry in text("/proc/%d/environ" % pid).split("\0") if entry]
            yield {"pid": pid, "command": shown(command.strip()), "environment": variables}


# --- files ---


def files(what: str, days: int) -> Iterator[bytes]:
    """Files that changed within some days, or that lend power: times of change, mode, owner, size, path."""
    since, seen = time.time() - days * 86400, 0
    pending = ["/"]
    yield b"changed\tmodified\tmode\tuid\tgid\tsize\tpath\n"
    while pending:
        try:
            entries = sorted(os.scandir(pending.pop()), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            is_folder = stat.S_ISDIR(info.st_mode)
            if is_folder and entry.path not in PASSED_OVER:
                pending.append(entry.path)
            recent = max(info.st_mtime, info.st_ctime) >= since and not is_folder
            lends = stat.S_ISREG(info.st_mode) and bool(info.st_mode & 0o6000)
            if recent if what == "changed" else lends:
                yield row_of(entry.path, info)
        if seen > MOST_ENTRIES:
            yield b"(there are more files: the search has ended here)\n"
            return


def row_of(path: str, info: Any) -> bytes:
    mode = "%04o" % stat.S_IMODE(info.st_mode)
    name = shown(path).replace("\t", "\\t").replace("\n", "\\n")
    row = (moment(info.st_ctime), moment(info.st_mtime), mode, info.st_uid, info.st_gid, info.st_size, name)
    return ("\t".join(str(field) for field in row) + "\n").encode("utf-8", "replace")


# --- containers ---


def docker(host: Host) -> Iterator[bytes]:
    """What Docker says of every container, images' names included."""
    names = host.query(["docker", "ps", "--all", "--quiet", "--no-trunc"], timeout=30).stdout.split()
    yield host.query(["docker", "inspect"] + names, timeout=60).out if names else b"[]\n"
