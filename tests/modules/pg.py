"""Asking a lab host's PostgreSQL what a module has done, past the module."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from opsplay.lab import LabHost
from tests.lab.remote_module import Call, run_calls


def sql(host: LabHost, text: str, database: str = "postgres") -> str:
    """Run SQL as the superuser; what psql prints, unaligned."""
    argv = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", database]
    return host.run(argv, stdin=text).stdout.strip()


def calls(host: LabHost, module: str, table: Sequence[Mapping[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """Run a module with each row's parameters, in one process; the results."""
    return run_calls(host, [Call(module, params, **options) for params in table])


def refusals(host: LabHost, module: str, table: Sequence[tuple[Mapping[str, Any], str]]) -> None:
    """Each row's parameters are refused with its words, in a preview and in a real run."""
    for check in (True, False):
        results = calls(host, module, [params for params, _ in table], check=check)
        for (params, words), result in zip(table, results, strict=True):
            assert result.get("failed") and words in result["msg"], (params, result)


def session(host: LabHost, name: str, statements: str, database: str = "postgres", until: str = "true") -> int:
    """Open a session of that name (application_name) which says these statements and stays; its backend's pid.

    It is there when `until`, a condition on its row of pg_stat_activity, holds. End it with `end_sessions`.
    """
    script = f'(echo "{statements}"; exec sleep 600) | PGAPPNAME={name} exec psql -XAtq {database}'
    host.run(
        ["systemd-run", "--quiet", "--collect", f"--unit=pgsession-{name}", "-p", "User=postgres", "sh", "-c", script]
    )
    look = f"SELECT pid FROM pg_stat_activity WHERE application_name = '{name}' AND {until}"
    deadline = time.monotonic() + 20
    while not (found := sql(host, look)):
        assert time.monotonic() < deadline, f"the session {name} did not come: {statements}"
        time.sleep(0.1)
    return int(found)


def end_sessions(host: LabHost) -> None:
    """End all sessions that `session` has opened, and wait until the server knows."""
    host.run("systemctl stop 'pgsession-*'")
    look = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 20
    while sql(host, look) != "0":
        assert time.monotonic() < deadline, "sessions stay"
        time.sleep(0.1)
