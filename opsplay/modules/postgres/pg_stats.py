"""How a server and a database are: connections, size, growth, long and slow queries, locks, dead rows, cache hits.

Nothing is changed. Each part has one number that `warn` and `critical` are compared with: connections, bloat, cache_hit
and growth in percent, size in bytes, long_queries and blockers as counts, slow_queries as the longest mean time in ms.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Float, Int, Params, Path, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf
from opsplay.modules.postgres import _durations, _measures, _server
from opsplay.modules.postgres._connect import Connection, pretended

PARTS: Dict[str, Callable[..., Any]] = {
    "connections": _measures.connections,
    "size": _measures.size,
    "long_queries": _measures.long_queries,
    "blockers": _measures.blockers,
    "bloat": _measures.bloat,
    "cache_hit": _measures.cache_hit,
    "growth": _measures.growth,
    "slow_queries": _measures.slow_queries,
}
UNITS = {"size": " bytes", "long_queries": "", "blockers": "", "slow_queries": " ms"}
PARAMS = dict(
    _server.CONNECTION,
    what=ListOf(
        of=Choice(*PARTS),
        default=["connections", "size", "long_queries", "blockers", "bloat", "cache_hit"],
        help="The parts to measure",
    ),
    db=Str(
        default="postgres", aliases=["login_db"], help="The database for size, bloat, cache_hit, growth, slow_queries"
    ),
    warn=DictOf(of=Float(), default={}, help="Where a part's number becomes a warning, e.g. connections: 80"),
    critical=DictOf(of=Float(), default={}, help="Where it becomes critical; of cache_hit lower is worse"),
    fail_on=Choice("never", "warning", "critical", default="critical", help="From where on the task fails"),
    older_than=Str(default="5m", help="What makes a query a long one"),
    trend_file=Path(help="Where growth keeps its measurements; a line is added at each run, which is no change"),
    min_calls=Int(default=1, min=1, help="Queries that ran less often are not slow ones"),
    top=Int(default=10, min=1, max=1000, help="How many tables or queries are named"),
    show_query=Bool(default=False, help="Return the texts of queries, which may hold personal data"),
)
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    for name in sorted(set(params.warn) | set(params.critical)):
        if name not in PARTS:
            host.fail("there is no part %s; there is %s" % (name, ", ".join(PARTS)))
    given = Params(params, seconds=_durations.parameter(host, "older_than", params.older_than))
    server = _server.find_server(host, params)
    if server is None or pretended(server, "database", params.db):
        host.unknown("status", "problems", *params.what)
        return host.outcome()
    found: Dict[str, Any] = {}
    numbers: Dict[str, float] = {}
    with Connection(server, params.db) as conn:
        for part in params.what:
            found[part], numbers[part] = PARTS[part](host, conn, given)
    status, problems = judge(params, numbers)
    for problem in problems:
        host.warn(problem)
    failing = {"never": (), "warning": ("warning", "critical"), "critical": ("critical",)}[params.fail_on]
    if status in failing:
        host.fail("; ".join(problems), status=status, problems=problems, **found)
    return host.outcome(status=status, problems=problems, **found)


def judge(params: Params, numbers: Dict[str, float]) -> Any:
    """ok, warning or critical, and why."""
    problems: List[str] = []
    status = "ok"
    for part, number in numbers.items():
        for level in ("critical", "warning"):
            limit = params[{"critical": "critical", "warning": "warn"}[level]].get(part)
            if limit is None or not (number <= limit if part == "cache_hit" else number >= limit):
                continue
            unit = UNITS.get(part, " %")
            problems.append("%s: %s is %.6g%s, the limit is %.6g%s" % (level, part, number, unit, limit, unit))
            status = "critical" if "critical" in (level, status) else "warning"
            break
    return status, problems
