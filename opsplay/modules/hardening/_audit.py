"""What the checks of an audit are made of: they look, each for itself, and none of them changes anything."""

from __future__ import annotations

import itertools
import os
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.process import Completed
from opsplay.agent.spec import Params

SEVERITIES = ("info", "low", "medium", "high", "critical")
OK, FAIL, UNKNOWN, SKIPPED, ACCEPTED = "ok", "fail", "unknown", "skipped", "accepted"
# A report names so many of a kind, and counts the rest.
SHOWN = 30
# No program that a check asks may take longer (s), however much time its section has left.
PROGRAM_SECONDS = 30.0
# A file is read in pieces of so many bytes, and no more than so many of them.
PIECE, MOST_PIECES = 64 << 10, 64


class Answer:
    """What a check gives: OK or FAIL, and what was found, a text or a list of texts."""

    __slots__ = ("status", "found")

    def __init__(self, status: str, found: Any) -> None:
        self.status = status
        self.found = found


class Unknown(Exception):
    """What a check asks for cannot be found out; the message says why."""


class Skip(Exception):
    """A check does not concern this host; the message says why."""


class Check:
    """One item of the report. `probe` gives OK or FAIL with what was found, or raises Unknown or Skip."""

    __slots__ = ("id", "severity", "title", "wanted", "remedy", "probe")

    def __init__(
        self, id: str, severity: str, title: str, wanted: str, remedy: str, probe: Callable[["Look"], Answer]
    ) -> None:
        self.id = id
        self.severity = severity
        self.title = title
        self.wanted = wanted
        self.remedy = remedy
        self.probe = probe


class Look:
    """A section's view of the host as it is, for a limited time. Also in a preview it sees what is really there."""

    def __init__(self, host: Host, params: Params, cache: Dict[str, Any]) -> None:
        self.host = host
        self.params = params
        self.deadline = time.monotonic() + params.timeout
        self.cache = cache

    def tick(self) -> None:
        """To be called now and then in long loops. Raises Unknown when the section's time is over."""
        if time.monotonic() > self.deadline:
            raise Unknown("this took longer than the %d seconds that a section has" % self.params.timeout)

    def root(self) -> None:
        """Raises Unknown unless this is root."""
        if os.geteuid() != 0:
            raise Unknown("only root may look at this")

    def run(self, *argv: str) -> Completed:
        """What a program says, in plain English. Raises Unknown when there is no such program, or it takes too long."""
        self.tick()
        program = self.host.which(argv[0])
        if program is None:
            raise Unknown("%s is not installed" % argv[0])
        seconds = min(PROGRAM_SECONDS, max(0.1, self.deadline - time.monotonic()))
        done = self.host.query([program] + list(argv[1:]), timeout=seconds, env={"LC_ALL": "C"})
        if done.timed_out:
            raise Unknown("%s did not end within %d seconds" % (argv[0], seconds))
        return done

    def said(self, *argv: str) -> str:
        """A program's output. Raises Unknown when it ends with anything but 0."""
        done = self.run(*argv)
        if done.rc != 0:
            raise Unknown("%s: %s" % (" ".join(argv[:2]), first_line(done.stderr or done.stdout) or "rc %d" % done.rc))
        return done.stdout

    def text(self, path: str) -> Optional[str]:
        """A file's text, None where there is none. Raises Unknown when it may not be read."""
        try:
            # In pieces: the kernel's own files do not like to be asked for more than they have.
            with open(path, "rb") as file:
                return b"".join(itertools.islice(iter(lambda: file.read(PIECE), b""), MOST_PIECES)).decode(
                    "utf-8", "replace"
                )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            return None
        except OSError as problem:
            raise Unknown("%s: %s" % (path, problem.strerror))

    def names(self, folder: str) -> List[str]:
        """What a folder holds, as full paths, sorted; nothing where there is none. Raises Unknown."""
        try:
            return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as problem:
            raise Unknown("%s: %s" % (folder, problem.strerror))

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What several checks need, found out once. A failure is remembered, too."""
        if name not in self.cache:
            try:
                self.cache[name] = (make(), None)
            except (Unknown, Skip) as problem:
                self.cache[name] = (None, problem)
        found, reason = self.cache[name]
        if reason is not None:
            raise reason
        return found

    def is_active(self, unit: str) -> bool:
        return self.run("systemctl", "is-active", "--quiet", unit).rc == 0

    def is_enabled(self, unit: str) -> bool:
        return self.run("systemctl", "is-enabled", "--quiet", unit).rc == 0

    def container(self) -> str:
        """The kind of container that this host is; empty for a machine with a kernel of its own."""
        return str(self.once("container", self._container))

    def _container(self) -> str:
        if self.host.which("systemd-detect-virt") is None:
            return ""
        kind = self.run("systemd-detect-virt", "--container").stdout.strip()
        return "" if kind == "none" else kind


def verdict(good: bool, found: Any) -> Answer:
    return Answer(OK if good else FAIL, found)


def none_of(bad: List[str], good: str) -> Answer:
    """Fails with the list of what is wrong; `good` is said when there is nothing."""
    return Answer(FAIL, bad) if bad else Answer(OK, good)


def first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def lines_of(text: str) -> Iterator[str]:
    """The lines that are neither empty nor comments."""
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            yield line


def age_in_days(moment: float) -> float:
    return max(0.0, (time.time() - moment) / 86400)
