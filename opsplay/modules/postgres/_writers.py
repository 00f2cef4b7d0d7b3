"""The systemd units that write to a database: stopped for a while, and started again whatever happens."""

from __future__ import annotations

from typing import Any, List

from opsplay.agent.host import Host


class Writers:
    """`with Writers(host, units) as writers: writers.stop() …`: those that ran run again at the end."""

    def __init__(self, host: Host, units: List[str], start: bool = True) -> None:
        self._host = host
        self._units = [unit if "." in unit else unit + ".service" for unit in units]
        self._start = start
        self.stopped: List[str] = []

    def __enter__(self) -> "Writers":
        if self._units and self._host.which("systemctl") is None:
            self._host.fail("writers are given, but there is no systemctl on this host")
        for unit in self._units:
            state = self._show(unit)
            if "LoadState=not-found" in state:
                self._host.fail("the writer %s is no unit of this host; nothing was touched" % unit)
        return self

    def stop(self) -> None:
        """Stop those that run; one that would start again by itself is stopped, too. Fails when one goes on."""
        for unit in self._units:
            if "ActiveState=inactive" in self._show(unit) or "ActiveState=failed" in self._show(unit):
                continue
            self.stopped.append(unit)
            self._host.note("running\n", "stopped, and started afterwards\n" if self._start else "stopped\n", unit)
            self._host.progress("stopping %s" % unit)
            self._host.must_run(["systemctl", "stop", unit], foreseen=True, timeout=180)

    def __exit__(self, kind: Any, problem: Any, trace: Any) -> None:
        failed = []
        for unit in reversed(self.stopped) if self._start or kind is not None else []:
            if self._host.check:
                continue
            done = self._host.query(["systemctl", "start", unit], timeout=180)
            if done.rc != 0:
                failed.append("%s: %s" % (unit, done.stderr.strip() or done.error or "exit code %d" % done.rc))
        if failed and kind is None:
            self._host.fail("the restore is done, but a writer did not start: %s" % "; ".join(failed))
        for text in failed:
            self._host.warn("a writer did not start again: %s" % text)

    def _show(self, unit: str) -> str:
        argv = ["systemctl", "show", "--property=LoadState,ActiveState", "--", unit]
        done = self._host.query(argv, timeout=30)
        return str(done.stdout)
