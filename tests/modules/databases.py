"""PostgreSQL on lab hosts, as the tests of databases and backups use it."""

from __future__ import annotations

import json
from typing import Any

from opsplay.lab import LabHost

# Schemas, a partitioned table, inheritance, a large object, a table of an extension, and names that must be quoted.
SAMPLE = r"""
CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE SCHEMA "Odd ""schema";
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL, note text);
INSERT INTO customers (name, note) SELECT 'name ' || n, repeat(md5(n::text), 3) FROM generate_series(1, ROWS) n;
CREATE TABLE "Odd ""schema"."it's; a \table" (x int, y text);
INSERT INTO "Odd ""schema"."it's; a \table" VALUES (1, E'a\\b\nc'), (2, NULL);
CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO events SELECT '2025-06-01'::date + n, 'x' FROM generate_series(1, 400) n;
CREATE TABLE child () INHERITS (customers);
INSERT INTO child VALUES (0, 'child');
CREATE TABLE empty (x int);
SELECT lo_from_bytea(0, 'a large object');
"""


def sql(host: LabHost, text: str, database: str = "postgres") -> str:
    argv = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", database]
    return host.run(argv, stdin=text, timeout=120).stdout.strip()


def make_database(host: LabHost, name: str, rows: int = 2000, sample: str = SAMPLE) -> None:
    """A database of a role of its own, with the sample in it."""
    drop_database(host, name)
    sql(host, f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'pw-{name}'")
    sql(host, f'CREATE DATABASE "{name}" OWNER "{name}"')
    owned = f'SET ROLE "{name}"; ' if "EXTENSION" not in sample else ""
    sql(host, owned + sample.replace("ROWS", str(rows)), name)
    sql(host, f'ALTER TABLE customers OWNER TO "{name}"; GRANT SELECT ON customers TO "{name}"; ANALYZE', name)


def drop_database(host: LabHost, name: str) -> None:
    sql(host, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    sql(host, f'DROP ROLE IF EXISTS "{name}"')


def manifest(host: LabHost, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.run(f"cat '{folder}/manifest.json'").stdout)
    return found


def rows_of(data: dict[str, Any]) -> dict[str, int]:
    """Rows by table of a manifest."""
    return {f"{table['schema']}.{table['name']}": table["rows"] for table in data["database"]["tables"]}


def listing(host: LabHost, folder: str) -> list[str]:
    """Everything below a folder: mode, owner and path; times of folders' names are theirs."""
    return host.run(f"cd {folder} && find . -printf '%m %U %P %l\n' | sort -k3").stdout.splitlines()


AGE_KEY = "age-keygen 2>/dev/null"
GPG_KEY = """export GNUPGHOME=$(mktemp -d); gpg --batch --quiet --passphrase '' --quick-generate-key KEY default default 2>/dev/null
gpg --armor --export-secret-keys; echo =====; gpg --armor --export; gpgconf --kill all; rm -rf $GNUPGHOME"""


def age_key(host: LabHost) -> tuple[str, str]:
    """A private key and its public one."""
    private = host.run(AGE_KEY).stdout
    return private, private.partition("public key: ")[2].split()[0]


def gpg_key(host: LabHost, name: str = "backup@example.org") -> tuple[str, str]:
    private, _, public = host.run(GPG_KEY.replace("KEY", name), timeout=60).stdout.partition("=====\n")
    return private, public


def install(host: LabHost, program: str) -> None:
    """A Debian package of the program's name, if the host lacks it."""
    if not host.run(f"command -v {program}", check=False).stdout:
        host.run(f"apt-get -qq update && apt-get -qq install -y {program} >/dev/null", timeout=120)
