"""pg_replication and pg_promote on real servers: a standby, its lag, a failover without two writers, the way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.postgres import _primary
from tests.lab.remote_module import Call, run_calls
from tests.modules import DEEP
from tests.modules.cases import one
from tests.modules.pg_backups import sql
from tests.modules.test_pg_pitr import VERSION
from tests.modules.test_pg_restore import phrase

REPLICATION, PROMOTE = "postgres.pg_replication", "postgres.pg_promote"
PORTS = {"left": 5481, "right": 5482}
SECRET = "p'w:\\x"


@pytest.fixture(scope="module", params=DEEP)
def server(full: Callable[[str], LabHost], request: pytest.FixtureRequest) -> Iterator[LabHost]:
    """Two clusters on a host of each release: the one is to follow the other."""
    host: LabHost = full(request.param)
    make(host)
    yield host
    drop(host)


def make(host: LabHost) -> None:
    """Both clusters as a package leaves them."""
    drop(host)
    for name, port in PORTS.items():
        host.run(f"pg_createcluster {VERSION[host.release]} {name} -p {port} --start >/dev/null", timeout=60)


def drop(host: LabHost) -> None:
    version = VERSION[host.release]
    for name in PORTS:
        host.run(f"rm -f /etc/systemd/system/postgresql@{version}-{name}.service /run/systemd/system/postgresql@{version}-{name}.service; systemctl daemon-reload;"
                 f"pg_dropcluster {version} {name} --stop; rm -rf /var/lib/postgresql/*/{name}_*", check=False, timeout=60)  # fmt: skip


def call(host: LabHost, module: str, name: str, **params: Any) -> dict[str, Any]:
    return one(host, Call(module, {"cluster": f"{VERSION[host.release]}/{name}", **params}))


def run(host: LabHost, name: str, text: str) -> str:
    return sql(host, text, port=PORTS[name])


def follow(host: LabHost, name: str, other: str, **more: Any) -> dict[str, Any]:
    deed = f"make {VERSION[host.release]}/{name} follow 127.0.0.1"
    given = {"role": "standby", "primary": "127.0.0.1", "primary_port": PORTS[other], "password": SECRET, "slot": name,
             "confirm": phrase(host, deed)}  # fmt: skip
    return call(host, REPLICATION, name, **{**given, **more})


def arrives(host: LabHost, name: str, query: str, wanted: str) -> None:
    deadline = time.monotonic() + 10
    while run(host, name, query) != wanted:
        assert time.monotonic() < deadline, run(host, name, query)
        time.sleep(0.1)


def test_from_a_server_alone_to_a_failover_and_back(server: LabHost) -> None:
    start(server)
    lag(server)
    refused(server)
    failover(server)
    rejoin(server)


def start(server: LabHost) -> None:
    primary: dict[str, Any] = {"cluster": f"{VERSION[server.release]}/left", "role": "primary", "password": SECRET,
                               "slot": "right", "allow": ["127.0.0.1/32"]}  # fmt: skip
    preview = one(server, Call(REPLICATION, primary, check=True))
    first, again = run_calls(server, [Call(REPLICATION, primary)] * 2)
    assert not first.get("failed"), first["msg"]
    assert preview["diff"] == first["diff"] and first["changed"] and not again["changed"], (preview, first)
    [wrong] = run_calls(server, [Call(REPLICATION, {**primary, "allow": ["nonsense/99"]})])
    assert "pg_hba.conf is as it was" in wrong["msg"]
    refused = follow(server, "right", "left", confirm=None, method="copy")
    assert 'to do it, give confirm: "make ' in refused["msg"]
    result = follow(server, "right", "left", method="copy")
    assert not result.get("failed"), result["msg"]
    assert result["receiver"] == "streaming" and (server.root / result["kept"].lstrip("/")).exists()
    assert not follow(server, "right", "left")["changed"]
    seen = server.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; stat -c %a:%U /etc/postgresql/*/right/replication.pgpass").stdout
    assert SECRET not in seen and "600:postgres" in seen


def lag(server: LabHost) -> None:
    """The old question, now() - pg_last_xact_replay_timestamp(), is NULL on a primary and grows on an idle standby."""
    run(server, "left", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
    arrives(server, "right", "SELECT n FROM t", "1")
    time.sleep(2)
    primary = call(server, REPLICATION, "left", role="check", standbys=1, max_seconds=1)
    standby = call(server, REPLICATION, "right", role="check", max_seconds=1)
    assert (primary["role"], primary["bytes"], primary["standbys"][0]["state"]) == ("primary", 0, "streaming"), primary
    assert primary["slots"][0]["active"] and primary["seconds"] < 1
    assert (standby["role"], standby["bytes"], standby["seconds"]) == ("standby", 0, 0), standby
    run(server, "right", "SELECT pg_wal_replay_pause()")
    run(server, "left", "INSERT INTO t VALUES (2)")
    time.sleep(2.5)
    behind = call(server, REPLICATION, "right", role="check", max_seconds=1)
    assert "its replay is paused; the lag is " in behind["msg"] and "s, the limit 1" in behind["msg"], behind
    missing = call(server, REPLICATION, "left", role="check", max_bytes=0)
    assert "bytes, the limit 0" in missing["msg"], missing
    assert call(server, REPLICATION, "left", role="check", standbys=2)["msg"].endswith("1 standbys stream, 2 should")


def refused(server: LabHost) -> None:
    """Promotion while the old primary takes writes, while replay is paused, without a confirmation."""
    running = call(server, PROMOTE, "right", confirm=promotion(server))
    assert "still takes writes; fence it first" in running["msg"] and "nothing was promoted" in running["msg"]
    fenced = call(server, REPLICATION, "left", role="fenced")
    assert fenced["lsn"].startswith("0/"), fenced
    assert not call(server, REPLICATION, "left", role="fenced")["changed"]
    started = server.run(f"systemctl start postgresql@{VERSION[server.release]}-left", check=False)
    assert started.returncode != 0 and "masked" in started.stderr
    paused = call(server, PROMOTE, "right", confirm=promotion(server))
    assert "is paused" in paused["msg"]
    run(server, "right", "SELECT pg_wal_replay_resume()")
    lost = call(server, PROMOTE, "right", confirm=promotion(server), fenced_lsn="7/0")
    assert "may be lost; nothing was promoted" in lost["msg"]
    unconfirmed = call(server, PROMOTE, "right", fenced_lsn=fenced["lsn"])
    assert 'to do it, give confirm: "promote ' in unconfirmed["msg"]
    assert run(server, "right", "SELECT pg_is_in_recovery()") == "t"


def promotion(server: LabHost) -> str:
    return phrase(server, f"promote {VERSION[server.release]}/right")


def failover(server: LabHost) -> None:
    fenced = call(server, REPLICATION, "left", role="fenced")
    params = {"cluster": f"{VERSION[server.release]}/right", "fenced_lsn": fenced["lsn"], "confirm": promotion(server)}
    preview = one(server, Call(PROMOTE, params, check=True))
    first, again = run_calls(server, [Call(PROMOTE, params)] * 2)
    assert not first.get("failed"), first["msg"]
    assert preview["diff"] == first["diff"] and (first["timeline"], first["lost_bytes"]) == (2, 0)
    assert not again["changed"] and again["timeline"] == 2
    assert run(server, "right", "INSERT INTO t VALUES (3); SELECT count(*) FROM t") == "3"


def rejoin(server: LabHost) -> None:
    """The old primary has a row that nobody else has; pg_rewind undoes it, and it follows the new one."""
    version = VERSION[server.release]
    call(server, REPLICATION, "right", role="primary", password=SECRET, slot="left", allow=["127.0.0.1/32"])
    server.run(f"pg_ctlcluster --skip-systemctl-redirect {version} left start", timeout=60)
    run(server, "left", "INSERT INTO t VALUES (4)")
    server.run(f"pg_ctlcluster --skip-systemctl-redirect {version} left stop -m fast", timeout=60)
    result = follow(server, "left", "right")
    assert not result.get("failed"), result["msg"]
    assert (result["method"], result["kept"]) == ("rewind", ""), result["warnings"]
    run(server, "right", "INSERT INTO t VALUES (5)")
    arrives(server, "left", "SELECT string_agg(n::text, ',' ORDER BY n) FROM t", "1,2,3,5")


WRITER = """n=0
while psql -XAtqc "INSERT INTO acknowledged VALUES ($n)" "port=%d dbname=postgres user=postgres host=/run/postgresql"; do
    echo $n; n=$((n + 1)); done
"""


def test_what_was_acknowledged_survives_a_dead_primary(server: LabHost) -> None:
    """Synchronous: the primary is killed under a writer; the promoted standby has every row that was answered."""
    version = VERSION[server.release]
    primary: dict[str, Any] = {"role": "primary", "password": SECRET, "slot": "right", "allow": ["127.0.0.1/32"]}
    make(server)
    early = call(server, REPLICATION, "left", **primary, synchronous=["right"])
    assert "the standby of slot right is not streaming: commits would wait for it" in early["msg"]
    assert not call(server, REPLICATION, "left", **primary).get("failed")
    assert not follow(server, "right", "left", method="copy").get("failed")
    first, again = (call(server, REPLICATION, "left", **primary, synchronous=["right"]) for _ in range(2))
    assert first["changed"] and not first["restarted"] and not again["changed"], (first, again)
    states = "SELECT sync_state FROM pg_stat_replication"
    arrives(server, "left", states, "quorum")
    run(server, "left", "CREATE TABLE acknowledged (n int)")
    server.run("cat > /run/writer.sh", stdin=WRITER % PORTS["left"])
    server.run("systemd-run --quiet --collect -p User=postgres -p StandardOutput=file:/run/acknowledged"
               " -p StandardError=null sh /run/writer.sh")
    server.run("until test $(wc -l < /run/acknowledged) -gt 100; do sleep 0.1; done", timeout=60)
    server.run(f"systemctl mask --runtime --quiet postgresql@{version}-left; pkill -9 -f '[l]eft -c config_file'; sleep 0.5")
    promoted = call(server, PROMOTE, "right", confirm=promotion(server))
    assert not promoted.get("failed"), promoted["msg"]
    answered = len(server.run("cat /run/acknowledged").stdout.split())
    count = run(server, "right", f"SELECT count(*) FROM acknowledged WHERE n < {answered}")
    assert int(count) == answered > 100


def test_a_new_primary_waits_for_nobody(server: LabHost) -> None:
    """A standby that would itself wait for a standby is promoted, and takes writes. It has the very end of the log."""
    make(server)
    primary: dict[str, Any] = {"role": "primary", "password": SECRET, "slot": "right", "allow": ["127.0.0.1/32"]}
    assert not call(server, REPLICATION, "left", **primary).get("failed")
    assert not follow(server, "right", "left", method="copy").get("failed")
    run(server, "right", "ALTER SYSTEM SET synchronous_standby_names = 'gone'")
    run(server, "right", "SELECT pg_reload_conf()")
    fenced = call(server, REPLICATION, "left", role="fenced")
    promoted = call(server, PROMOTE, "right", confirm=promotion(server), fenced_lsn=fenced["lsn"])
    assert not promoted.get("failed"), promoted["msg"]
    assert "was gone and is empty now" in str(promoted["warnings"])
    assert run(server, "right", "CREATE TABLE written (n int); SELECT 1") == "1"


def test_an_old_primary_that_cannot_follow_stays_fenced(server: LabHost) -> None:
    """Else it would take writes beside the new one: at once, or with the next boot."""
    version = VERSION[server.release]
    make(server)
    primary: dict[str, Any] = {"role": "primary", "password": SECRET, "slot": "left", "allow": ["127.0.0.1/32"]}
    assert not call(server, REPLICATION, "right", **primary).get("failed")
    call(server, REPLICATION, "left", role="fenced")

    def fenced() -> None:
        assert server.run(f"pg_lsclusters -h {version} left | awk '{{print $4}}'").stdout.strip() == "down"
        started = server.run(f"systemctl start postgresql@{version}-left", check=False)
        assert started.returncode != 0 and "masked" in started.stderr
        assert not server.run(f"ls /var/lib/postgresql/{version}/left/standby.signal", check=False).stdout

    refused = follow(server, "left", "right", password="another")
    assert "password authentication failed" in refused["msg"], refused
    fenced()
    # A standby needs no less than its primary has; that shows when the copy is started.
    server.run(f"echo 'max_connections = 200' > /etc/postgresql/{version}/right/conf.d/more.conf;"
               f"pg_ctlcluster {version} right restart", timeout=60)  # fmt: skip
    refused = follow(server, "left", "right", method="copy")
    assert "the copy does not come into service" in refused["msg"] and "insufficient parameter" in refused["msg"], refused
    fenced()
    server.run(f"rm /etc/postgresql/{version}/right/conf.d/more.conf; pg_ctlcluster {version} right restart", timeout=60)
    result = follow(server, "left", "right", method="copy")
    assert not result.get("failed") and result["receiver"] == "streaming", result
    assert not follow(server, "left", "right")["changed"]


def test_verifiers() -> None:
    verifier = ("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
                ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")  # fmt: skip
    # The example of RFC 7677: user, pencil.
    assert _primary.matches(verifier, "pencil") and not _primary.matches(verifier, "Pencil")
    assert not _primary.matches("md5abc", "x") and not _primary.matches("", "x")
