"""What of a backup reaches the disk, and when: a trace of its calls, and power cuts at any moment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call, command, request
from tests.modules.cases import one
from tests.modules.databases import age_key, drop_database, install, make_database

MODULE = "postgres.pg_backup"
DIR = "/srv/lasting"


@pytest.fixture(scope="module")
def server(full: Callable[[str], LabHost]) -> Iterator[LabHost]:
    host = full("bookworm")
    host.run("systemctl start postgresql@*; pg_lsclusters -h", timeout=60)
    make_database(host, "app")
    yield host
    drop_database(host, "app")
    host.run(f"rm -rf {DIR}")


def in_order(lines: list[str], wanted: list[str]) -> list[str]:
    """Those wanted parts that no line has behind the line of the part before."""
    rest = iter(lines)
    return [part for part in wanted if not any(part in line for line in rest)]


@pytest.mark.parametrize(("made", "file"), [("custom", "app.dump"), ("directory", "app.dir/toc.dat")])
def test_each_file_then_the_name_then_the_folder(server: LabHost, made: str, file: str) -> None:
    """Fsync of the dump, of the manifest, its signature, their folder; the rename; fsync of the parent; then `latest`."""
    install(server, "strace")
    calls = request([Call(MODULE, {"db": "app", "dir": DIR, "format": made})])
    trace = ["strace", "-f", "-y", "-e", "trace=fsync,rename,symlink", "-o", "/run/trace", *command()]
    result = json.loads(server.run(trace, stdin=calls, timeout=120).stdout)[0]
    assert not result.get("failed"), result
    lines = [line for line in server.run("cat /run/trace").stdout.splitlines() if " = 0" in line and DIR in line]
    hidden = next(line for line in lines if "rename(" in line).partition('rename("')[2].partition('"')[0]
    lines = [re.sub(r"fsync\(\d+", "fsync(", line) for line in lines]
    for name in (file, "manifest.json", "manifest.json.sig"):
        assert in_order(lines, [f"fsync(<{hidden}/{name}>)", f"fsync(<{hidden}>)"]) == [], lines
    wanted = [f"fsync(<{hidden}>)"]
    wanted += [f'rename("{hidden}", "{result["folder"]}")', f"fsync(<{DIR}/app>)"]
    wanted += [f'symlink("{result["stamp"]}", "{DIR}/app/.opsplay-', f'"{DIR}/app/latest")', f"fsync(<{DIR}/app>)"]
    assert in_order(lines, wanted) == [], lines


# Runs backups and stops the agent every few milliseconds: what the disk's file holds then is copied. Afterwards every
# copy is mounted, as after a power cut, and looked at.
CUTS = r"""
import glob, hashlib, json, os, random, signal, subprocess, sys, time
command, request, runs, most = json.loads(sys.argv[1]), sys.argv[2].encode(), 4, 250
work, disk, mounted = "/run/cuts", "/run/cuts/disk", sys.argv[3]

def call(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

def state(pid):
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(")")[2].split()[0]

def whole(folder):
    with open(folder + "/manifest.json") as file:
        entries = json.load(file)["files"]
    for entry in entries:
        with open(folder + "/" + entry["name"], "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == entry["sha256"], folder
    return len(entries) > 0

def look(mount, known):
    names = sorted(os.listdir(mount + "/app"))
    shown = [name for name in names if not name.startswith(".") and name != "latest"]
    assert all(whole(mount + "/app/" + name) for name in shown), names
    assert set(known) <= set(shown), (known, names)
    latest = os.readlink(mount + "/app/latest")
    assert latest in shown and latest >= max(known), (latest, names)
    if latest != shown[-1]:
        return "published"
    return "before" if shown == known else "done"

cuts, seen, started = [], {}, time.monotonic()
for number in range(runs):
    known = sorted(name for name in os.listdir(mounted + "/app") if name[0] == "2")
    job = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    job.stdin.write(request); job.stdin.close()
    while job.poll() is None and time.monotonic() < started + 150:
        time.sleep(random.random() * 0.02)
        if len(cuts) < most * (number + 1) / runs and job.poll() is None:
            job.send_signal(signal.SIGSTOP)
            while job.poll() is None and state(job.pid) not in "TZ":
                time.sleep(0.001)
            copy = "%s/cut-%d" % (work, len(cuts))
            call("cp", "--sparse=always", disk, copy)
            cuts.append((copy, known))
            job.send_signal(signal.SIGCONT)
    answer = json.loads(job.stdout.read())
    assert job.wait() == 0 and not answer[0].get("failed"), answer
    call("cp", "--sparse=always", disk, work + "/cut-end-%d" % number)
    cuts.append((work + "/cut-end-%d" % number, known))
    time.sleep(1)
os.makedirs(work + "/mnt", exist_ok=True)
for copy, known in cuts:
    call("mount", "-o", "loop", copy, work + "/mnt")
    try:
        found = look(work + "/mnt", known)
    finally:
        call("umount", work + "/mnt")
    seen[found] = seen.get(found, 0) + 1
    os.unlink(copy)
print(json.dumps(seen))
"""


def test_power_cuts(server: LabHost) -> None:
    """At any moment: the older backups are whole, `latest` leads to a whole one, nothing unfinished has a name."""
    _, public = age_key(server)
    server.run(
        "test -e /dev/loop-control || mknod /dev/loop-control c 10 237; for i in 0 1 2 3 4 5 6 7; do test -e /dev/loop$i ||"
        f" mknod /dev/loop$i b 7 $i; done; mkdir -p /run/cuts {DIR}; mount -t tmpfs -o size=6G tmpfs /run/cuts;"
        " truncate -s 24M /run/cuts/disk; mkfs.ext4 -q /run/cuts/disk;"
        f" rm -rf {DIR}/*; mount -o loop,commit=300 /run/cuts/disk {DIR}"
    )
    try:
        params = {"db": "app", "dir": DIR, "encrypt": {"recipients": [public]}}
        assert not one(server, Call(MODULE, params)).get("failed")
        server.run(f"sync -f {DIR}")
        run = ["python3", "-c", CUTS, json.dumps(command()), request([Call(MODULE, params)]), DIR]
        seen = json.loads(server.run(run, timeout=240).stdout.splitlines()[-1])
        print(seen)
        assert seen["before"] > 10 and seen["done"] >= 4, seen
    finally:
        server.run(f"umount {DIR}; umount -l /run/cuts", check=False)
