"""The kinds of checks: those that other modules make, and the probes."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from opsplay.agent.host import Host
from opsplay.modules.health import _probes


def http(host: Host, given: Dict[str, Any]) -> Tuple[str, str]:
    """A web service, as the module http asks it."""
    found = host.call("health.http", **given)
    return _probes.OK, "%s in %.0f ms" % (found.get("status"), found.get("p95_ms", 0))


def certificate(host: Host, given: Dict[str, Any]) -> Tuple[str, str]:
    """A certificate as it is served, as the module tls_probe sees it."""
    found = host.call("tls.tls_probe", **given)
    return _probes.OK, "valid for %s more days" % found.get("days_left")


def postgres(host: Host, given: Dict[str, Any]) -> Tuple[str, str]:
    """A database that takes connections and answers, as the module pg_ready sees it."""
    found = host.call("postgres.pg_ready", **dict({"timeout": 0}, **given))
    return _probes.OK, str(found.get("version", "")).partition(" on ")[0]


def sql(host: Host, given: Dict[str, Any]) -> Tuple[str, str]:
    """A query whose result is as expected, as the module pg_query sees it, in a transaction that cannot write."""
    found = host.call("postgres.pg_query", **dict(given, readonly=True))
    return _probes.OK, "%s" % (found.get("value"),)


MODULES = {"http": http, "certificate": certificate, "postgres": postgres, "sql": sql}
KINDS = sorted(MODULES) + _probes.kinds()


def examine(host: Host, kind: str, given: Dict[str, Any]) -> Tuple[str, str]:
    """Status and a sentence. Raises ModuleFailed, ParameterError, OSError."""
    return MODULES[kind](host, given) if kind in MODULES else _probes.probe(host, kind, given)
