"""Wait until a port, a file or a text in one of them is there or gone, or simply for some time."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Optional
from typing import List as ListOf

from opsplay.agent import files
from opsplay.agent.host import Host
from opsplay.agent.permissions import describe
from opsplay.agent.spec import Choice, Float, Int, List, Params, Path, Str
from opsplay.modules.network import _connections

PARAMS = {
    "host": Str(default="127.0.0.1", help="The server whose port is looked at, by name or address"),
    "port": Int(min=1, max=65535, help="The port"),
    "path": Path(help="The file, in place of a port; a link is followed"),
    "state": Choice(
        "absent", "drained", "present", "started", "stopped",
        default="started",
        help="started, present: it is there; stopped, absent: it is gone; drained: nobody is connected",
    ),  # fmt: skip
    "search_regex": Str(help="A text that the file, or what the port says, must hold; ^ and $ are the ends of lines"),
    "timeout": Int(min=0, default=300, help="Seconds after which it fails; without a port and a file just a pause"),
    "delay": Int(min=0, default=0, help="Seconds before the first look"),
    "sleep": Float(default=1, help="Seconds between two looks"),
    "connect_timeout": Int(min=1, default=5, help="Seconds that one attempt to connect may take"),
    "msg": Str(help="What a failure says in place of its own message"),
    "active_connection_states": List(
        of=Str(),
        default=["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "SYN_RECV", "SYN_SENT", "TIME_WAIT"],
        help="The states of TCP in which a connection counts for drained",
    ),
    "exclude_hosts": List(of=Str(), help="Peers whose connections do not count for drained"),
}
CHECK = "skipped"

GONE = ("absent", "stopped")


def run(host: Host, params: Params) -> Dict[str, Any]:
    refuse_contradictions(host, params)
    if host.check:
        return host.outcome(skipped=True, msg="nothing is waited for in a preview")
    return Waiting(host, params).run()


def refuse_contradictions(host: Host, params: Params) -> None:
    if params.port is not None and params.path is not None:
        host.fail("port and path parameter can not both be passed to wait_for", elapsed=0)
    if params.path is not None and params.state in ("stopped", "drained"):
        host.fail("state=%s should only be used for checking a port in the wait_for module" % params.state, elapsed=0)
    if params.exclude_hosts is not None and params.state != "drained":
        host.fail("exclude_hosts should only be with state=drained", elapsed=0)
    if params.state == "drained" and params.port is None:
        host.fail("state=drained needs a port", elapsed=0)
    unknown = set(params.active_connection_states) - set(_connections.STATES)
    if unknown:
        host.fail("active_connection_states: TCP has no state %s" % ", ".join(sorted(unknown)), elapsed=0)


class Waiting:
    """One run of the module: what is looked for, and until when."""

    def __init__(self, host: Host, params: Params) -> None:
        self.host = host
        self.params = params
        self.path = host.expand(params.path) if params.path is not None else None
        self.match: Any = None
        self.pattern: Any = None
        self.started = time.monotonic()
        if params.search_regex is not None:
            import re

            try:
                self.pattern = re.compile(params.search_regex.encode("utf-8", "surrogateescape"), re.MULTILINE)
            except re.error as problem:
                host.fail("search_regex is not a regular expression: %s" % problem, elapsed=0)

    def run(self) -> Dict[str, Any]:
        params = self.params
        if params.port is None and self.path is None:
            if params.state != "drained":
                self.pause(params.delay or params.timeout)
            return self.outcome()
        self.pause(params.delay)
        deadline = self.started + params.timeout
        wanted = params.state not in GONE
        while self.is_there() != wanted:
            left = deadline - time.monotonic()
            if left <= 0:
                self.host.fail(params.msg or self.complaint(), elapsed=self.elapsed())
            self.host.progress("waiting for " + self.what(), self.elapsed(), params.timeout)
            time.sleep(min(params.sleep, left))
        return self.outcome()

    def pause(self, seconds: float) -> None:
        """Sleep, and say how long already."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.host.progress("waiting", self.elapsed(), int(seconds))
            time.sleep(min(1.0, max(0.0, end - time.monotonic())))

    def is_there(self) -> bool:
        """Whether what is waited for is there; for drained, whether nobody is connected."""
        params = self.params
        if params.state == "drained":
            return not _connections.active(
                params.host, params.port, params.active_connection_states, params.exclude_hosts or ()
            )
        if self.path is not None:
            return self.found_in_file(self.path)
        return self.found_at_port()

    def found_in_file(self, path: str) -> bool:
        if self.pattern is None:
            return os.path.exists(path)
        try:
            self.match = self.pattern.search(files.read_whole(path))
        except OSError:
            return False
        return self.match is not None

    def found_at_port(self) -> bool:
        params = self.params
        # An attempt to connect does not outlast the time that is left.
        left = self.started + params.timeout - time.monotonic()
        with_limit = min(float(params.connect_timeout), max(left, 0.1))
        connection = _connections.connect(params.host, params.port, with_limit)
        if connection is None:
            return False
        try:
            if self.pattern is None or params.state in GONE:
                return True
            self.match = _connections.search(connection, self.pattern, time.monotonic() + max(left, 0.1))
            return self.match is not None
        finally:
            connection.close()

    def what(self) -> str:
        place = self.path if self.path is not None else "%s:%d" % (self.params.host, self.params.port)
        return "%s to be %s" % (place, self.params.state)

    def complaint(self) -> str:
        """The failure's message, in Ansible's words."""
        params = self.params
        place = "%s:%s" % (params.host, params.port)
        if params.state == "drained":
            return "Timeout when waiting for %s to drain" % place
        if params.state in GONE:
            return "Timeout when waiting for %s to %s." % (
                (place, "stop") if self.path is None else (self.path, "be absent")
            )
        if params.search_regex is not None:
            return "Timeout when waiting for search string %s in %s" % (params.search_regex, self.path or place)
        return "Timeout when waiting for %s" % (place if self.path is None else "file " + self.path)

    def elapsed(self) -> int:
        return int(time.monotonic() - self.started)

    def outcome(self) -> Dict[str, Any]:
        groups: ListOf[Optional[str]] = [text(group) for group in self.match.groups()] if self.match else []
        named = {name: text(group) for name, group in self.match.groupdict().items()} if self.match else {}
        shown: Dict[str, Any] = {"state": self.params.state}
        if self.path is not None:
            shown.update(describe(self.host, self.path))
        shown.update(port=self.params.port, path=self.path, search_regex=self.params.search_regex)
        return self.host.outcome(match_groups=groups, match_groupdict=named, elapsed=self.elapsed(), **shown)


def text(group: Optional[bytes]) -> Optional[str]:
    return None if group is None else group.decode("utf-8", "surrogateescape")
