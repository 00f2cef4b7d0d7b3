"""pg_table_restore on real servers: just the rows that are missing, and every constraint holds afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call, run_calls
from tests.modules import DEEP
from tests.modules.cases import one
from tests.modules.pg_backups import FOLDER, make_backup, sql
from tests.modules.test_pg_restore import phrase

MODULE = "postgres.pg_table_restore"
STAMP = "20261101T020000Z"
SCHEMA = """
CREATE SCHEMA shop; SET search_path = shop;
CREATE TYPE state AS ENUM ('new', 'paid');
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL UNIQUE, about json);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int NOT NULL REFERENCES customers
  ON DELETE CASCADE, total numeric, state state DEFAULT 'new', twice numeric GENERATED ALWAYS AS (total * 2) STORED);
CREATE TABLE log (id int PRIMARY KEY, at date NOT NULL) ;
CREATE TABLE parts (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
INSERT INTO parts SELECT n, date '2026-01-01' + n FROM generate_series(1, 300) n;
INSERT INTO customers (name, about) SELECT 'customer ' || n, '{"a": 1}' FROM generate_series(1, 100) n;
INSERT INTO orders (customer, total) SELECT 1 + n % 100, n FROM generate_series(1, 20000) n;
CREATE FUNCTION nope() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''a trigger fired''; END';
CREATE TRIGGER careful BEFORE INSERT OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION nope();
"""


@pytest.fixture(scope="module", params=DEEP)
def server(full: Callable[[str], LabHost], request: pytest.FixtureRequest) -> Iterator[LabHost]:
    host: LabHost = full(request.param)
    host.run("systemctl start 'postgresql@*' postgresql; rm -rf /srv/backups", timeout=60)
    drop(host)
    sql(host, "CREATE DATABASE shop")
    sql(host, SCHEMA, "shop")
    make_backup(host, "shop", "20261030T020000Z", "plain")
    make_backup(host, "shop", STAMP)
    sql(host, "CREATE DATABASE shop_first TEMPLATE shop")
    yield host
    drop(host)


def drop(host: LabHost) -> None:
    sql(host, "DROP DATABASE IF EXISTS shop WITH (FORCE)")
    sql(host, "DROP DATABASE IF EXISTS shop_first WITH (FORCE)")


@pytest.fixture
def shop(server: LabHost) -> LabHost:
    """100 of 20,000 orders are lost, 10 were changed since the backup, one was added."""
    sql(server, "DROP DATABASE IF EXISTS shop WITH (FORCE)")
    sql(server, "CREATE DATABASE shop TEMPLATE shop_first")
    sql(server, "SET search_path = shop; SET session_replication_role = replica;"
                " DELETE FROM orders WHERE id BETWEEN 501 AND 600; UPDATE orders SET total = -1 WHERE id <= 10;"
                " INSERT INTO orders (customer, total) VALUES (1, 5)", "shop")  # fmt: skip
    return server


def params(host: LabHost, **more: Any) -> dict[str, Any]:
    return {"src": f"{FOLDER}/shop/{STAMP}", "db": "shop", "tables": ["shop.orders"], **more}


def facts(host: LabHost) -> str:
    return sql(host, "SELECT count(*), sum(total), sum(twice), sum(id), count(*) FILTER (WHERE total = -1)"
                     " FROM shop.orders", "shop")  # fmt: skip


def call(host: LabHost, check: bool = False, **more: Any) -> dict[str, Any]:
    return one(host, Call(MODULE, params(host, **more), check=check))


@pytest.mark.parametrize("stamp", [STAMP, "20261030T020000Z"], ids=["custom", "plain"])
def test_exactly_the_lost_rows_come_back(shop: LabHost, stamp: str) -> None:
    """COPY of the whole table would end at the first key that is there, with nothing imported and rc 0."""
    before = facts(shop)
    src = f"{FOLDER}/shop/{stamp}"
    preview = call(shop, check=True, src=src)
    assert facts(shop) == before
    result, again = run_calls(shop, [Call(MODULE, params(shop, src=src))] * 2)
    assert not result.get("failed"), result["msg"]
    counts = {"inserted": 100, "updated": 0, "deleted": 0, "different": 10, "conflicting": 0}
    assert result["tables"] == preview["tables"] == {"shop.orders": counts}
    assert result["diff"] == preview["diff"] and result["changed"] and preview["changed"]
    assert not again["changed"] and again["tables"]["shop.orders"]["inserted"] == 0
    assert facts(shop).startswith("20001|") and facts(shop).endswith("|10")
    assert sql(shop, "SELECT min(id), max(id), count(DISTINCT total) FROM shop.orders WHERE id BETWEEN 501 AND 600",
               "shop") == "501|600|100"  # fmt: skip
    left = shop.run("find /var/tmp /tmp /run -name '.opsplay-*'; pgrep -fa '[p]ostgres -D /var/tmp' || true").stdout
    assert left == ""


def test_upsert_sets_back_what_differs(shop: LabHost) -> None:
    refused = call(shop, mode="upsert")
    assert 'to do it, give confirm: "upsert shop.orders in shop on ' in refused["msg"]
    result = call(shop, mode="upsert", confirm=phrase(shop, "upsert shop.orders in shop"))
    assert not result.get("failed"), result["msg"]
    found = result["tables"]["shop.orders"]
    assert (found["inserted"], found["updated"]) == (100, 10)
    assert facts(shop).startswith("20001|") and facts(shop).endswith("|0")
    assert sql(shop, f"SELECT count(*), count(*) FILTER (WHERE total = -1) FROM {found['salvage']}", "shop") == "19901|10"


def test_replace_is_one_transaction_with_a_copy(shop: LabHost) -> None:
    given: dict[str, Any] = {"mode": "replace", "confirm": phrase(shop, "replace shop.orders in shop")}
    result, again = run_calls(shop, [Call(MODULE, params(shop, **given))] * 2)
    assert not result.get("failed"), result["msg"]
    found = result["tables"]["shop.orders"]
    assert (found["inserted"], found["deleted"]) == (20000, 19901) and not again["changed"]
    assert facts(shop).startswith("20000|") and facts(shop).endswith("|0")
    assert sql(shop, f"SELECT count(*) FROM {found['salvage']}", "shop") == "19901"
    # The next number is one that nobody has.
    sql(shop, "SET session_replication_role = replica; INSERT INTO shop.orders (customer) VALUES (1)", "shop")
    assert int(sql(shop, "SELECT max(id) FROM shop.orders", "shop")) > 20000


def test_a_part_and_several_tables(shop: LabHost) -> None:
    sql(shop, "SET session_replication_role = replica; DELETE FROM shop.customers WHERE id <= 5;"
              " DELETE FROM shop.parts", "shop")  # fmt: skip
    result = call(shop, tables=["shop.orders", "shop.customers", "shop.parts"], where="id < 551")
    counts = {name: found["inserted"] for name, found in result["tables"].items()}
    assert counts == {"shop.orders": 50, "shop.customers": 5, "shop.parts": 300}
    sequence = "SELECT nextval('shop.customers_id_seq')"
    assert sql(shop, sequence, "shop") == "101"


def test_foreign_keys_are_kept(shop: LabHost) -> None:
    """The orders' customers are gone as well: orders alone are refused, both come back."""
    sql(shop, "ALTER TABLE shop.orders DISABLE TRIGGER careful; DELETE FROM shop.customers WHERE id = 7", "shop")
    before = facts(shop)
    result = call(shop)
    assert "foreign keys would not hold: 200 rows of shop.orders have nothing in shop.customers (orders_customer_fkey)" \
        in result["msg"]  # fmt: skip
    assert facts(shop) == before
    result = call(shop, tables=["shop.orders", "shop.customers"])
    assert result["tables"]["shop.customers"]["inserted"] == 1, result
    assert facts(shop).startswith("20001|")


def test_a_unique_value_taken_meanwhile(shop: LabHost) -> None:
    sql(shop, "ALTER TABLE shop.orders DISABLE TRIGGER careful; DELETE FROM shop.customers WHERE id IN (8, 9);"
              "INSERT INTO shop.customers (name) VALUES ('customer 9')", "shop")  # fmt: skip
    result = call(shop, tables=["shop.customers"])
    found = result["tables"]["shop.customers"]
    assert (found["inserted"], found["conflicting"]) == (1, 1)
    assert "1 rows of the backup were left out: another row has a unique value of theirs" in result["warnings"][0]


REFUSED = {
    "no such table": ({"tables": ["shop.none"]}, "there is no table shop.none in the database"),
    "no name": ({"tables": ["a b c"]}, "is no table"),
    "no such column": ({"key": ["none"]}, "the table shop.orders has no column none; nothing was touched"),
    "more than a condition": ({"where": "true; DROP TABLE x"}, "holds a backslash or a semicolon"),
    "a condition that is none": ({"where": "none = 1"}, 'column "none" does not exist'),
    "not in the dump": ({"tables": ["later"]}, "there is no table public.later in /srv/backups/shop/"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(shop: LabHost, name: str) -> None:
    given, message = REFUSED[name]
    sql(shop, "CREATE TABLE later (id int PRIMARY KEY)", "shop")
    before = facts(shop)
    result = call(shop, **given)
    assert result.get("failed") and message in result["msg"], result
    assert facts(shop) == before
    left = shop.run("find /var/tmp /tmp /run -name '.opsplay-*'; pgrep -fa '[p]ostgres -D /var/tmp' || true").stdout
    assert left == ""
