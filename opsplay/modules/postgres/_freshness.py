"""How old the newest value of a column is: a backup may be whole, and be one of a service that takes nothing in."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host
from opsplay.modules.postgres._psql import Psql, SqlError
from opsplay.modules.postgres._snapshot import PATIENCE
from opsplay.modules.postgres._sql import identifier

# Hours since the newest value; none where there is no value at all.
AGE = "SELECT (extract(epoch FROM now() - max(%s)::timestamptz) / 3600)::float8 AS hours FROM %s"


def refuse(host: Host, params: Any) -> None:
    """Fail for columns that cannot be meant, and for a level that has no values to look at."""
    for name, hours in sorted(params.fresh.items()):
        if len(name.split(".")) not in (2, 3) or not all(name.split(".")):
            host.fail("fresh: %r is no column; write it as table.column or schema.table.column" % name)
        if hours <= 0:
            host.fail("fresh: %s: the hours must be more than 0" % name)
    if params.fresh and params.level != "restore":
        host.fail("fresh needs level restore: only there the values can be asked for")


def parts(name: str) -> Tuple[List[str], str]:
    """The table, with its schema, and the column."""
    words = name.split(".")
    return (["public"] if len(words) == 2 else []) + words[:-1], words[-1]


def stale(target: Any, fresh: Dict[str, float]) -> List[str]:
    """What is older than it may be, in words. `target` is the scratch server and its database."""
    found = []
    for name, most in sorted(fresh.items()):
        table, column = parts(name)
        try:
            with Psql(target[0], target[1], PATIENCE) as psql:
                psql.execute("SET timezone = 'UTC'")
                hours = psql.value(AGE % (identifier(column), identifier(*table)))
        except SqlError as problem:
            found.append("%s cannot be asked for its newest value: %s" % (name, problem))
            continue
        if hours is None:
            found.append("%s has no value at all" % name)
        elif float(hours) > most:
            found.append("the newest value of %s is %.1f hours old, more than %g" % (name, float(hours), most))
    return found
