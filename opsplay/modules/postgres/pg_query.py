"""Run SQL in a database: all of it or nothing, values put in safely, its result checked, or exported as CSV.

Statements run in one transaction, which is rolled back when one of them fails or the result is not as expected. It
counts as changed when the statements have changed rows, or made or altered something; a query alone changes nothing. A
preview runs what only looks, in a transaction that cannot write, and says of anything else that it would run.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Int, Mode, Params, Path, Raw, Str
from opsplay.modules.postgres import _answers, _server, _statements
from opsplay.modules.postgres._connect import Connection, pretended, said
from opsplay.modules.postgres._psql import SqlError

PARAMS = dict(
    _server.CONNECTION,
    db=Str(default="postgres", aliases=["database", "login_db"], help="The database"),
    query=Str(required=True, aliases=["sql"], help="One statement or several, without commands of psql"),
    params=Raw(help="Values: a dictionary for %(name)s, a list for $1; they are quoted as SQL and never read as it"),
    readonly=Bool(default=False, help="Run it in a transaction that cannot write"),
    transaction=Bool(default=True, help="Run all in one transaction; false for CREATE INDEX CONCURRENTLY and the like"),
    expect=Raw(help="What the first value of the first row, or the list of all rows, must be; else nothing is kept"),
    expect_rows=Str(help='How many rows must come or be changed: "3", ">=1", "<=5"; else nothing is kept'),
    changed=Bool(help="Whether it counts as changed, where you know better"),
    export=Path(help="Write the rows of the query as CSV with a header to this file, readable for its owner only"),
    export_mode=Mode(default=0o600, help="The permissions of that file"),
    search_path=Str(help="The schemas in which names are looked up"),
    timeout=Int(default=600, min=1, help="Seconds that one statement may take"),
)  # fmt: skip
CHECK = "partial"
RESULTS = ("rows", "row_count", "value")
CONTROL = ("begin", "commit", "end", "rollback", "start", "savepoint", "release", "abort")
COMPARE = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "!=": lambda a, b: a != b,
    "=": lambda a, b: a == b,
}


def run(host: Host, params: Params) -> Dict[str, Any]:
    try:
        found = _statements.statements(params.query, params.params)
    except _statements.Malformed as problem:
        host.fail("query: %s" % problem)
    refuse(host, params, found)
    looks = all(_answers.only_looks(words) for words, _ in found)
    server = _server.find_server(host, params)
    if server is None or pretended(server, "database", params.db) or (host.check and not looks and not params.readonly):
        host.changed = bool(params.changed if params.changed is not None else not looks)
        host.unknown(*RESULTS)
        return host.outcome()
    if params.export:
        return export(host, server, params, found[0][1])
    with Connection(server, params.db, params.timeout + 10) as conn:
        try:
            answers, changed = ask(host, conn, params, found)
        except SqlError as problem:
            host.fail(conn.explain(problem) + hint(problem), sql_error=str(problem))
    host.changed = changed if params.changed is None else params.changed
    return host.outcome(**result(answers))


def refuse(host: Host, params: Params, found: List[Tuple[List[str], str]]) -> None:
    """What cannot work is said before anything runs."""
    for words, _ in found:
        if params.transaction and words[0] in CONTROL:
            host.fail("query: it is in a transaction already; leave %s out, or give transaction: false" % words[0])
        if words[0] == "copy" and {"stdin", "stdout"} & set(words):
            host.fail("query: COPY cannot go through here; use export, or a file on the server")
    if params.export and (len(found) != 1 or found[0][0][0] not in _answers.WRAPPED):
        host.fail("export needs one query that returns rows")
    if params.readonly and not params.transaction:
        host.fail("readonly is a property of the transaction; leave transaction: false out")
    if not params.transaction and (params.expect is not None or params.expect_rows):
        host.fail("without a transaction nothing can be taken back: test the result in a task of its own")


def ask(host: Host, conn: Connection, params: Params, found: List[Tuple[List[str], str]]) -> Any:
    """The statements' answers and whether anything was changed. Raises SqlError."""
    readonly = params.readonly or host.check
    conn.execute("SET statement_timeout = %d" % (params.timeout * 1000))
    if params.search_path:
        conn.execute("SELECT set_config('search_path', %s, false)" % _statements.value(params.search_path))
    if not params.transaction:
        answers = [_answers.ask(conn, words, sql) for words, sql in found]
        return answers, any(answer.changed for answer in answers)
    conn.execute("BEGIN READ ONLY" if readonly else "BEGIN")
    answers = [_answers.ask(conn, words, sql) for words, sql in found]
    written = conn.value("SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS written")
    compare(host, params, answers[-1])
    conn.execute("COMMIT")
    counted = all(words[0] in _statements.COUNTED or _answers.only_looks(words) for words, _ in found)
    # A sequence moves on for a row that was then not inserted: that alone is no change.
    modifying = any(words[0] in _statements.COUNTED for words, _ in found)
    return answers, written and (any(answer.changed for answer in answers) or not (counted and modifying))


def compare(host: Host, params: Params, answer: _answers.Answer) -> None:
    """Fail when the last statement did not give what was expected; the transaction is then not committed."""
    kept = "" if params.readonly else "; nothing was changed"
    if params.expect is not None:
        rows = answer.rows or []
        seen = rows if isinstance(params.expect, list) else first_value(rows)
        if not same(seen, params.expect):
            host.fail("the query gave %r, expected was %r%s" % (seen, params.expect, kept), rows=rows)
    if params.expect_rows:
        text = params.expect_rows.strip()
        sign = next((one for one in COMPARE if text.startswith(one)), "")
        number = text[len(sign) :].strip()
        if not number.isdigit():
            host.fail('expect_rows: %r is no number of rows such as "3" or ">=1"' % params.expect_rows)
        if not COMPARE[sign or "="](answer.count, int(number)):
            host.fail("the query gave %d rows, expected was %s%s" % (answer.count, text, kept), row_count=answer.count)


def same(seen: Any, wanted: Any) -> bool:
    """Whether two values are alike, whatever types YAML and the server gave them."""
    if isinstance(seen, list) and isinstance(wanted, list):
        return len(seen) == len(wanted) and all(same(one, other) for one, other in zip(seen, wanted))  # noqa: B905
    if isinstance(seen, dict) and isinstance(wanted, dict):
        return sorted(seen) == sorted(wanted) and all(same(seen[name], wanted[name]) for name in seen)
    if seen is None or isinstance(seen, bool) or isinstance(wanted, bool):
        return seen is wanted
    return seen == wanted or str(seen) == str(wanted)


def first_value(rows: List[Dict[str, Any]]) -> Any:
    return next(iter(rows[0].values()), None) if rows else None


def result(answers: List[_answers.Answer]) -> Dict[str, Any]:
    """The last statement's rows, as `rows`, and of each statement how many there were."""
    rows = answers[-1].rows or []
    counts = [answer.count for answer in answers]
    return {"rows": rows, "row_count": answers[-1].count, "row_counts": counts, "value": first_value(rows)}


def hint(problem: SqlError) -> str:
    text = str(problem)
    if "cannot run inside a transaction block" in text or "cannot be executed" in text:
        return "; give transaction: false"
    return "; nothing was changed" if "read-only transaction" in text else ""


def export(host: Host, server: _server.Server, params: Params, sql: str) -> Dict[str, Any]:
    """Write a query's rows to a file: whole or not at all, never in memory."""
    path = host.expand(params.export)
    script = "SET statement_timeout = %d;\nBEGIN READ ONLY;\n" % (params.timeout * 1000)
    if params.search_path:
        script += "SELECT set_config('search_path', %s, false) \\g /dev/null\n" % _statements.value(params.search_path)
    script += "COPY (%s\n) TO STDOUT WITH (FORMAT csv, HEADER);\nCOMMIT;\n" % sql
    if not host.is_directory(os.path.dirname(path)) and not host.check:
        host.fail("the folder %s does not exist; make it with the file module first" % os.path.dirname(path))
    with host.staged(path) as new:
        arguments = ["-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        options = {"stdin": script.encode("utf-8", "surrogateescape"), "watch": new.write}
        try:
            done = server.query("psql", *arguments, database=params.db, **options)
        except OSError as problem:
            host.fail("cannot write %s: %s" % (path, problem.strerror or problem), path=path)
        if done.rc != 0:
            reason = said(SqlError(done.stderr or done.error))
            where = (server.describe(), params.db, reason, path)
            host.fail("PostgreSQL %s, database %s: %s; %s was not written" % where)
        host.write(path, new, mode=params.export_mode)
        return host.outcome(path=path, size=new.size, sha256=new.sha256)
