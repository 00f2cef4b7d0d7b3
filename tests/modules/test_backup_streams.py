"""Parts of a set that a program writes, and a program takes back: here a database, by pg_dump and psql."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call, run_calls
from tests.modules.cases import one
from tests.modules.databases import drop_database, make_database, manifest, sql
from tests.modules.test_backup_set import SET, Service

DIR = "/srv/t-streams"
BACK = "backup.stream_restore"
AS = ["runuser", "-u", "postgres", "--"]
DUMP, TAKE = [*AS, "pg_dump", "--clean", "--if-exists", "papers"], [*AS, "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "papers"]
COMPLETE = ["sh", "-c", "tail -n 5 | grep -q 'dump complete'"]
COUNT = "SELECT count(*) FROM ONLY customers"
PHRASE = "restore documents on full-bookworm"


@pytest.fixture(scope="module")
def papers(full: Callable[[str], LabHost]) -> Iterator[Service]:
    host = full("bookworm")
    make_database(host, "papers", rows=300)
    key = host.run("age-keygen 2>/dev/null").stdout
    yield Service(host, next(line.split()[-1] for line in key.split("\n") if "public" in line), key)
    drop_database(host, "papers")
    host.run(f"rm -rf {DIR} /srv/seen-by")


def given(papers: Service, **program: Any) -> dict[str, Any]:
    documents = {"argv": DUMP, "check": COMPLETE, **program}
    encrypt = {"method": "age", "recipients": [papers.recipient]}
    return {"name": "shop", "dir": DIR, "encrypt": encrypt, "programs": {"documents": documents}}


def back(papers: Service, **more: Any) -> dict[str, Any]:
    params = {"src": f"{DIR}/shop/latest", "part": "documents", "argv": TAKE, "key": papers.key, "confirm": PHRASE}
    return one(papers.host, Call(BACK, {**params, **more}))


@pytest.fixture
def made(papers: Service) -> Service:
    """One set, and a row that is lost since."""
    papers.host.run(f"rm -rf {DIR}")
    done = one(papers.host, Call(SET, given(papers)))
    assert not done.get("failed"), done["msg"]
    sql(papers.host, "DELETE FROM ONLY customers WHERE id = (SELECT max(id) FROM ONLY customers)", "papers")
    return papers


def test_what_a_program_wrote_is_given_back(made: Service) -> None:
    host = made.host
    [part] = manifest(host, f"{DIR}/shop/latest")["parts"]
    assert (part["kind"], part["program"]) == ("stream", "runuser")
    lost = int(sql(host, COUNT, "papers"))
    preview = one(host, Call(BACK, {"src": f"{DIR}/shop/latest", "part": "documents", "argv": TAKE, "key": made.key}, check=True))
    assert preview["changed"] and 'to do it, give confirm: "restore documents on ' in str(preview["warnings"])
    assert int(sql(host, COUNT, "papers")) == lost
    done = back(made)
    assert not done.get("failed"), done["msg"]
    assert done["changed"] and done["bytes"] > 1000
    assert int(sql(host, COUNT, "papers")) == lost + 1
    assert "COPY public" not in host.run(f"cat {DIR}/shop/latest/documents.stream.age", check=False).stdout


def stored(host: LabHost) -> list[str]:
    return host.run(f"ls -A {DIR}/shop").stdout.split()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ({"argv": [*AS, "pg_dump", "no-such-database"]}, 'database "no-such-database" does not exist'),
        ({"argv": ["true"], "check": []}, "true wrote nothing"),
        ({"argv": ["echo", "half of it"]}, "sh failed: "),
        ({"argv": ["no-such-program"]}, "no-such-program"),
    ],
    ids=["it fails", "it writes nothing", "the check is not content", "there is no such program"],
)
def test_a_program_that_fails_leaves_no_set(made: Service, program: dict[str, Any], said: str) -> None:
    before = stored(made.host)
    result = one(made.host, Call(SET, given(made, **program)))
    assert result["failed"] and said in result["msg"] and "latest and the older sets are as they were" in result["msg"]
    assert stored(made.host) == before


@pytest.mark.parametrize(
    ("harm", "more", "said"),
    [
        ("", {"confirm": ""}, 'to do it, give confirm: "restore documents on '),
        ("", {"part": "pictures"}, "has no part pictures that a program wrote; it has documents"),
        ("", {"key": ""}, "is encrypted by age; give its key"),
        ("", {"argv": ["no-such-program"]}, "there is no program no-such-program on this host"),
        ("", {"argv": ["false"]}, "documents was not restored, or not all of it: false "),
        ("", {"signed_by": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]}, "sign"),
        ("truncate -s -1 documents.stream.age", {}, "the set is refused: "),
        ("printf x | dd of=documents.stream.age bs=1 seek=400 conv=notrunc", {}, "the set is refused: "),
    ],
    ids=["unconfirmed", "another part", "no key", "no program", "it fails", "signed by nobody known", "cut off", "flipped"],
)
def test_what_is_not_given_back(made: Service, harm: str, more: dict[str, Any], said: str) -> None:
    before = sql(made.host, COUNT, "papers")
    made.host.run(f"cd {DIR}/shop/latest && {harm or 'true'}")
    result = back(made, **more)
    assert result["failed"] and said in result["msg"], result["msg"]
    assert sql(made.host, COUNT, "papers") == before


def test_the_environment_reaches_the_program_and_no_command_line(made: Service) -> None:
    show = ["sh", "-c", 'cat >/dev/null; printf %s "$WORD" > /srv/seen-by']
    [done] = run_calls(made.host, [Call(BACK, {
        "src": f"{DIR}/shop/latest", "part": "documents", "argv": show, "key": made.key, "confirm": PHRASE,
        "environment": {"WORD": "s3cret-word"},
    })])  # fmt: skip
    assert not done.get("failed"), done["msg"]
    assert made.host.run("cat /srv/seen-by").stdout == "s3cret-word" and "s3cret-word" not in str(done)
