"""Power cuts: a file system in a file, copied at many moments of a module's work, and mounted again from a copy.

Killing a host is no power cut, for its page cache lives on. Here all that writes is stopped, what the disk's file holds
is copied, and all goes on. A copy is what a disk holds after a cut: what was written and not synced is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsplay.lab import LabHost
from tests.lab.remote_module import FOLDER, Call, command, request
from tests.modules import SOAK

# bin/soak cuts the power so many times as often; the moments are others each time.
ROUNDS = 8 if SOAK else 1
MAKE = """set -e
test -e /dev/loop-control || mknod /dev/loop-control c 10 237
for i in 0 1 2 3 4 5 6 7; do test -e /dev/loop$i || mknod /dev/loop$i b 7 $i; done
mkdir -p {work} {mount}; mount -t tmpfs -o size=12G tmpfs {work}
truncate -s {size} {work}/disk; mkfs.ext4 -q {work}/disk; mount -o loop,commit=300 {work}/disk {mount}"""
# Stops its own process before and after each rename, so that a cut meets just that moment.
PAUSES = """
import os, signal, sys
sys.path.insert(0, "%s")
from opsplay.agent import exchange

def paused(call):
    def wrapped(*words):
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            return call(*words)
        finally:
            os.kill(os.getpid(), signal.SIGSTOP)
    return wrapped

os.rename, exchange.exchange = paused(os.rename), paused(exchange.exchange)
"""
CUTTER = r"""
import json, os, random, signal, subprocess, sys, time
given = json.load(sys.stdin)
counts, cuts = {}, []

def look(job):
    '''State and words of the job, of what it has started, and of all processes of the server's account.'''
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/stat" % name) as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
            with open("/proc/%s/cmdline" % name, "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace")
            found[int(name)] = (state, int(parent), os.stat("/proc/" + name).st_uid, words)
        except (OSError, ValueError):
            continue
    def belongs(pid):
        while pid in found:
            if pid == job:
                return True
            pid = found[pid][1]
        return False
    return {pid: told for pid, told in found.items() if told[2] == given["uid"] or belongs(pid)}

def freeze(job):
    began = time.monotonic()
    while True:
        awake = {pid: told[0] for pid, told in look(job).items() if told[0] not in "TtZX"}
        waited = time.monotonic() - began
        # One that has begun a child waits in D until that one, which is stopped, has come to its own program.
        if not awake or (waited > 0.5 and set(awake.values()) == {"D"}):
            return
        assert waited < 20, awake
        send(awake, signal.SIGSTOP)
        time.sleep(0.001)

def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass

def cut(phase, job):
    freeze(job)
    path = "%s/cut-%d" % (given["work"], len(cuts))
    for _ in range(20):
        subprocess.run(["cp", "--sparse=always", given["disk"], path], check=True)
        # The kernel may have written meanwhile: what is still the same now was all there at one moment.
        if subprocess.run(["cmp", "-s", given["disk"], path]).returncode == 0:
            break
    else:
        raise AssertionError("the disk is never at rest")
    cuts.append([phase, path])
    counts[phase] = counts.get(phase, 0) + 1
    send([pid for pid in look(job)], signal.SIGCONT)

def phase_of(found, stopped):
    if stopped:
        return "rename"
    words = [told[3] for told in found.values()]
    return next((name for word, name in given["phases"] if any(word in line for line in words)), "")

job = subprocess.Popen(given["command"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
job.stdin.write(given["request"].encode())
job.stdin.close()
last, due = "", 0.0
while job.poll() is None:
    found = look(job.pid)
    stopped = found.get(job.pid, "?")[0] == "T"
    phase = phase_of(found, stopped)
    now = time.monotonic()
    if phase != last and not stopped:
        last, due = phase, now
    wanted = counts.get(phase, 0) < given["most"].get(phase, 0)
    if wanted and (stopped or now >= due):
        cut(phase, job.pid)
        due = time.monotonic() + random.random() * 0.3
    elif stopped:
        os.kill(job.pid, signal.SIGCONT)
    time.sleep(0.001)
answer = json.loads(job.stdout.read())
cut("end", 0)
print(json.dumps({"cuts": cuts, "answer": answer[0]}))
"""


@dataclass(frozen=True)
class Cut:
    """What the disk held at one moment: in which phase that was, and the copy of the disk's file."""

    phase: str
    path: str


class Disk:
    """A file system of its own on a lab host, which power cuts are tried on. The writers' account is `account`."""

    def __init__(self, host: LabHost, mount: str, size: str = "512M", account: str = "postgres") -> None:
        self.host = host
        self.mount = mount
        self.work = mount + ".cuts"
        self._uid = int(host.run(["id", "-u", account]).stdout)
        host.run(MAKE.format(work=self.work, mount=mount, size=size), timeout=60)

    def close(self) -> None:
        self.host.run(f"umount -l {self.mount}; umount -l {self.work}; rm -rf {self.mount} {self.work}", check=False)

    def cuts(
        self, call: Call, most: Mapping[str, int], phases: Sequence[tuple[str, str]] = ()
    ) -> tuple[list[Cut], dict[str, Any]]:
        """Run a module, and cut the power at moments of it; the cuts, the last of them when it had ended, its result.

        `phases` are words of a command line and what is going on when such a program runs; else it is ''. `most` are so
        many cuts in each, 'rename' is before and behind each rename of the module itself.
        """
        self.host.run(f"sync -f {self.mount}")
        argv = command()
        argv[-1] = PAUSES % FOLDER + argv[-1]
        given = {"command": argv, "request": request([call]), "work": self.work, "disk": f"{self.work}/disk",
                 "uid": self._uid, "phases": list(phases), "most": dict(most)}  # fmt: skip
        done = self.host.run(["python3", "-c", CUTTER], stdin=json.dumps(given), timeout=400)
        found = json.loads(done.stdout.splitlines()[-1])
        return [Cut(*each) for each in found["cuts"]], found["answer"]

    def power_is_back(self, cut: Cut) -> None:
        """Mount what the disk held then in place of what it holds now: its journal is replayed, and it must be whole."""
        self.host.run(
            f"set -e; umount {self.mount}; mount -o loop {cut.path} {self.mount}; umount {self.mount};"
            f" e2fsck -fn {cut.path} >/dev/null; mount -o loop {cut.path} {self.mount}",
            timeout=60,
        )

    def forget(self, cut: Cut) -> None:
        """The file lives on while it is mounted."""
        self.host.run(["rm", cut.path])
