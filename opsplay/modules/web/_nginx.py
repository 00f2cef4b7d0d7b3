"""nginx: whether a configuration holds, tried on a copy, and reloads that are proven to have come into force."""

from __future__ import annotations

import os
import stat as stat_bits
import time
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent import files
from opsplay.agent.host import Host

ROOT = "/etc/nginx"
UNIT = "nginx"
SECONDS = 30
# A master tries five times, half a second apart, to bind an address before it keeps its old configuration.
RELOAD_SECONDS = 6.0
# Larger files in its folder are no configuration; more entries are no configuration of one host.
FILE_LIMIT, ENTRIES_MOST = 1 << 20, 20000
# What `nginx -t` makes where it is not there yet.
MADE = (
    "pid|lock_file|error_log|access_log|(?:proxy|fastcgi|uwsgi|scgi)_cache_path|"
    "(?:client_body|proxy|fastcgi|uwsgi|scgi)_temp_path"
)
LOG = "/var/log/nginx/error.log"


class Fault:
    """Why nginx refuses a configuration: its words, and the file and the line where it says so."""

    __slots__ = ("words", "path", "line")

    def __init__(self, words: str, path: str = "", line: int = 0) -> None:
        self.words = words
        self.path = path
        self.line = line

    def __str__(self) -> str:
        return "%s in %s:%d" % (self.words, self.path, self.line) if self.path else self.words


class Copy:
    """A copy of /etc/nginx in a private folder, as it would be after a change. A context; it goes at the end.

    Files that need no other text are links to the real ones. What nginx would make while it tests (logs, caches, its
    pid file) is made in the private folder as well, so that a preview leaves no trace.
    """

    def __init__(self, host: Host, overlay: Dict[str, Any]) -> None:
        self.host = host
        self.overlay = overlay
        # In the file system that goes with the boot.
        self.folder = host.temporary.folder("/run" if os.access("/run", os.W_OK) else "/tmp")
        self.root = self.folder + "/nginx"
        self.names_pid = False
        self._count = 0

    def __enter__(self) -> "Copy":
        try:
            self._directory(ROOT)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: Any) -> None:
        self.host.temporary.discard(self.folder)

    def test(self) -> Tuple[Optional[Fault], List[str]]:
        """What nginx refuses, None when it accepts all; and its warnings."""
        words = ["-c", self.root + "/nginx.conf"]
        if not self.names_pid:
            words += ["-g", "pid %s/nginx.pid;" % self.folder]
        done = query(self.host, words)
        text = (done.stderr + done.stdout).replace(self.root, ROOT).replace(self.folder + "/made", "")
        return (None if done.rc == 0 else fault(text or done.error)), warnings(text)

    # --- how it is made ---

    def _directory(self, path: str) -> None:
        os.mkdir(self._place(path), 0o700)
        names = set(self.host.names(path)) if self.host.is_directory(path) else set()
        names.update(os.path.basename(each) for each in self.overlay if os.path.dirname(each) == path)
        for name in sorted(names):
            self._count += 1
            if self._count > ENTRIES_MOST:
                self.host.fail("%s holds more than %d files: is it really the configuration?" % (ROOT, ENTRIES_MOST))
            self._entry("%s/%s" % (path, name))

    def _entry(self, path: str) -> None:
        if path in self.overlay:
            kind, value = self.overlay[path]
            if kind == "file":
                self._file(path, value)
            elif kind == "link":
                self._link(path, value)
            return
        found = self.host.stat(path)
        target = self.host.link_target(path)
        if target is not None:
            self._link(path, target)
        elif found is not None and stat_bits.S_ISDIR(found.st_mode):
            self._directory(path)
        elif found is not None and stat_bits.S_ISREG(found.st_mode):
            self._file(path, self._content(path, found))

    def _link(self, path: str, target: str) -> None:
        target = os.path.normpath(os.path.join(os.path.dirname(path), target))
        if target.startswith(ROOT + "/"):
            os.symlink(self._place(target), self._place(path))
            return
        found = self.host.stat(target, follow=True)
        is_file = found is not None and stat_bits.S_ISREG(found.st_mode)
        self._file(path, self._content(target, found) if is_file else None, target)

    def _content(self, path: str, found: Any) -> Optional[bytes]:
        if found.st_size > FILE_LIMIT or not self.host.knows(path):
            return None
        try:
            return self.host.read(path)
        except OSError:
            return None

    def _file(self, path: str, content: Optional[bytes], target: str = "") -> None:
        """A file with other text where that is needed, otherwise a link to the real one."""
        target = target or path
        text = None if content is None else self._rewritten(content.decode("latin-1"))
        if text is None or content is None or (text.encode("latin-1") == content and self._is_there(path, content)):
            os.symlink(target, self._place(path))
            return
        fd = os.open(self._place(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(text.encode("latin-1"))

    def _is_there(self, path: str, content: bytes) -> bool:
        """Whether the real file holds this now: not when it is to be changed, or a preview would have changed it."""
        if path in self.overlay:
            return False
        return not self.host.check or (os.path.isfile(path) and files.read_whole(path) == content)

    def _place(self, path: str) -> str:
        return self.root + path[len(ROOT) :]

    def _rewritten(self, text: str) -> str:
        """The text with its includes led into the copy; no line is added or taken away."""
        import re

        text = re.sub(
            r"(\binclude\s+[\"']?)%s/" % re.escape(ROOT), lambda found: found.group(1) + self.root + "/", text
        )
        return re.sub(r"(?m)((?:^|[;{])\s*)(%s)(\s+[\"']?)(/[^\s;\"'$]+)" % MADE, self._moved, text)

    def _moved(self, found: Any) -> str:
        before, directive, space, path = found.groups()
        if directive == "pid":
            self.names_pid = True
        elif os.path.lexists(path) or not os.path.isdir(os.path.dirname(path)):
            return str(found.group(0))
        place = self.folder + "/made" + path
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        return "%s%s%s%s" % (before, directive, space, place)


# --- nginx itself ---


def query(host: Host, words: List[str]) -> Any:
    return host.query([str(host.which("nginx")), "-t"] + words, env={"LC_ALL": "C"}, timeout=SECONDS)


def test(host: Host) -> Optional[Fault]:
    """What nginx refuses of the configuration that is there; None when it accepts it."""
    done = query(host, [])
    return None if done.rc == 0 else fault(done.stderr + done.stdout or done.error)


def fault(text: str) -> Fault:
    """The first thing that nginx calls an error."""
    import re

    lines = [line for line in text.split("\n") if re.search(r"\[(emerg|alert|crit|error)\]", line)]
    words = re.sub(r"^.*?\[\w+\] (?:\d+#\d+: )?", "", lines[0]) if lines else text.strip().split("\n")[0]
    found = re.search(r"^(.*) in (/\S+):(\d+)$", words)
    return Fault(found.group(1), found.group(2), int(found.group(3))) if found else Fault(words)


def warnings(text: str) -> List[str]:
    import re

    return list(dict.fromkeys(re.findall(r"\[warn\] (?:\d+#\d+: )?(.+)", text)))


def status(host: Host) -> Dict[str, Any]:
    """What systemd says of nginx."""
    found: Dict[str, Any] = host.call("services.systemd", name=UNIT)["status"]
    return found


def reload(host: Host) -> bool:
    """Let nginx read its configuration again if it runs; returns whether it did.

    Its master says nothing to whoever asks for that: what it cannot use, such as an address that another program has,
    it only logs, and goes on as before. So a worker that was not there before is waited for. Raises ModuleFailed.
    """
    state = status(host)
    if state.get("ActiveState") != "active":
        return False
    if host.check:
        host.call("services.systemd", name=UNIT, state="reloaded")
        return True
    master = int(state.get("MainPID") or 0)
    before, log, size = workers(master), error_log(host), 0
    if os.path.exists(log):
        size = os.path.getsize(log)
    host.call("services.systemd", name=UNIT, state="reloaded")
    if master and not within(RELOAD_SECONDS, lambda: workers(master) - before):
        said = said_since(log, size) or "it has started no new worker within %d s" % RELOAD_SECONDS
        host.fail("nginx goes on with its old configuration: %s" % said)
    # For a moment old and new ones take connections side by side.
    within(RELOAD_SECONDS, lambda: not [pid for pid in workers(master) & before if accepts(pid)])
    return True


def within(seconds: float, condition: Any) -> bool:
    """Whether a condition comes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def workers(master: int) -> Any:
    """The children of the master process."""
    try:
        with open("/proc/%d/task/%d/children" % (master, master)) as file:
            return set(file.read().split())
    except OSError:
        return set()


def accepts(pid: str) -> bool:
    """Whether a worker takes new connections: one that only ends those it has says so in its title."""
    try:
        title = files.read_whole("/proc/%s/cmdline" % pid)
    except OSError:
        return False
    return b"worker process" in title and b"shutting down" not in title


def age(pid: str) -> float:
    """For how many seconds a process has run, 0 when it has ended."""
    try:
        started = int(files.read_whole("/proc/%s/stat" % pid).rpartition(b")")[2].split()[19])
        up = float(files.read_whole("/proc/uptime").split()[0])
    except (OSError, IndexError, ValueError):
        return 0.0
    return up - float(started) / os.sysconf("SC_CLK_TCK")


def error_log(host: Host) -> str:
    """Where the master logs."""
    import re

    try:
        text = host.read(ROOT + "/nginx.conf").decode("latin-1")
    except OSError:
        return LOG
    found = re.search(r"(?m)^\s*error_log\s+(/[^\s;]+)", text)
    return found.group(1) if found else LOG


def said_since(log: str, size: int) -> str:
    """The first error that was logged behind this place; empty when there is none."""
    try:
        with open(log, encoding="latin-1") as file:
            file.seek(size)
            text = file.read(64 << 10)
    except OSError:
        return ""
    found = fault(text)
    return str(found) if "[emerg]" in text else ""
