"""Host patterns and limits; expected values were tried with ansible-core 2.19."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.errors import InventoryError
from opsplay.inventory.model import Inventory
from opsplay.inventory.patterns import limit, select
from tests.unit.test_inventory import read

HOSTS = """solo
[web]
web1
web2
web10
www.a.example
[db]
db1
db2
[dc1]
web1
db1
[dc2]
web2
db2
[prod:children]
dc1
[v6]
2001:db8::1
[empty]
"""
PATTERNS = [
    ("all", "solo web1 web2 web10 www.a.example db1 db2 2001:db8::1"), ("web", "web1 web2 web10 www.a.example"),
    ("web:db", "web1 web2 web10 www.a.example db1 db2"), ("web,db", "web1 web2 web10 www.a.example db1 db2"),
    ("web:&dc1", "web1"), ("&dc1:web", "web1"), ("web:!dc1", "web2 web10 www.a.example"),
    ("!dc1:web", "web2 web10 www.a.example"), ("web:db:&dc1:!db1", "web1"), ("!db1:&dc1:db:web", "web1"),
    ("!web", "solo db1 db2 2001:db8::1"), ("&web", "web1 web2 web10 www.a.example"), ("all:!web:!db", "solo 2001:db8::1"),
    ("web*", "web1 web2 web10 www.a.example"), ("*.example", "www.a.example"), ("w?b1", "web1"), ("db*:!*1", "db2"),
    ("~web\\d+", "web1 web2 web10"), ("~(web|db)1$", "web1 db1"), ("~web1$:db1", "web1 db1"),
    ("~(?:web|db)1$:db2", "web1 db1 db2"), ("web:!~.*1", "web2 www.a.example"),
    ("web[0]", "web1"), ("web[-1]", "www.a.example"), ("web[0:1]", "web1 web2"), ("web[1-2]", "web2 web10"),
    ("web[1:]", "web2 web10 www.a.example"), ("db[5]", ""), ("web[0]:db[0]", "web1 db1"), ("web:!web[0]", "web2 web10 www.a.example"),
    ("all[0]", "solo"), ("[w]eb1", "web1"), ("web1,web2", "web1 web2"), ("web1 , web2", "web1 web2"), ("web2:web1:web2", "web2 web1"),
    ("2001:db8::1", "2001:db8::1"), ("2001:db8::1,web1", "2001:db8::1 web1"),
    ("all,!2001:db8::1,!web", "solo db1 db2"),
    ("prod", "web1 db1"), ("prod:&db", "db1"), ("empty", ""), ("nope", ""), ("web1:nope", "web1"), ("ungrouped", "solo"),
    ("!all", ""), ("dc2:dc1", "web2 db2 web1 db1"), ("web::db1:", "web1 web2 web10 www.a.example db1"),
    ("localhost", "localhost"), ("localhost,web1", "localhost web1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(["web1", "db:!db1"], "web1 db2"), (["web1", ["db1", ["web2"]]], "web1 db1 web2"), ([], ""), ([[], []], ""), ("", "")],
)
def test_lists_of_patterns(pattern: str, expected: str, tmp_path: Path) -> None:
    """An empty one is nobody, not everybody."""
    assert select(pattern, read(tmp_path, {"hosts": HOSTS})) == expected.split()


@pytest.mark.parametrize(("pattern", "expected"), PATTERNS)
def test_patterns(pattern: str, expected: str, tmp_path: Path) -> None:
    assert select(pattern, read(tmp_path, {"hosts": HOSTS})) == expected.split()


def test_a_list_of_patterns_is_one_pattern(tmp_path: Path) -> None:
    inventory = read(tmp_path, {"hosts": HOSTS})
    assert select(["web", "!dc1", "db1"], inventory) == select("web:!dc1:db1", inventory)


TERMS = st.lists(
    st.sampled_from(["web", "db", "dc1", "&dc1", "&web", "!dc2", "!web1", "web1", "db*"]), min_size=1, max_size=5
)


@given(TERMS, st.randoms())
def test_the_order_of_terms_does_not_change_the_hosts(
    tmp_path_factory: pytest.TempPathFactory, terms: list[str], random: Any
) -> None:
    inventory = read(tmp_path_factory.mktemp("hosts"), {"hosts": HOSTS})
    shuffled = random.sample(terms, len(terms))
    assert (
        set(select(":".join(terms), inventory)) == set(select(":".join(shuffled), inventory)) == slow(terms, inventory)
    )


def slow(terms: list[str], inventory: Inventory) -> set[str]:
    """Union of the plain terms (all hosts when there are none), cut by each & and less each !."""

    def hosts(term: str) -> set[str]:
        return set(select(term, inventory))

    plain_terms = [term for term in terms if term[0] not in "&!"] or ["all"]
    found = set().union(*map(hosts, plain_terms))
    for term in terms:
        if term[0] == "&":
            found &= hosts(term[1:])
        elif term[0] == "!":
            found -= hosts(term[1:])
    return found


def test_limits(tmp_path: Path) -> None:
    inventory = read(tmp_path, {"hosts": HOSTS, "failed": "web1\ndb2\n"})
    assert limit("web:!dc1", inventory) == {"web2", "web10", "www.a.example"}
    assert limit(f"@{tmp_path}/failed", inventory) == {"web1", "db2"}
    assert limit(f"@{tmp_path}/failed,solo", inventory) == {"web1", "db2", "solo"}
    for wrong, message in (
        ("wbe1", "did you mean 'web1'"),
        (f"@{tmp_path}/none", "No such file"),
        ("~(", "bad regular"),
    ):
        with pytest.raises(InventoryError, match=message):
            limit(wrong, inventory)
