"""An agent over a pipe of this machine: lanes side by side, dropped calls, and what a session does about silence."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsplay.agent.spec import validate
from opsplay.errors import ConnectionLost
from opsplay.lab.loopback import LoopbackSSHD
from opsplay.modules.commands import command
from opsplay.modules.system import ping
from opsplay.session import bootstrap
from opsplay.session.blobs import BlobStore
from opsplay.session.session import Call, Session
from opsplay.transport.base import Target
from opsplay.transport.connect import Connector
from opsplay.transport.local import LocalConnection

PING = "opsplay.modules.system.ping"
COMMAND = "opsplay.modules.commands.command"


@pytest.fixture
def session() -> Iterator[Session]:
    connection = LocalConnection(Target("here", "here"))
    running = Session.start("here", connection, blobs=BlobStore())
    yield running
    running.close()
    connection.close()


def run(line: str, on_fail: str = "stop", window: int = 0) -> Call:
    params = validate(command.PARAMS, {"_raw_params": line})
    return Call(COMMAND, [params], {"on_fail": on_fail, "window": window})


def test_lanes_work_side_by_side(session: Session) -> None:
    began = time.monotonic()
    for lane in (1, 2, 3):
        session.call(run("sleep 3"), lane)
    session.call(Call(PING, [validate(ping.PARAMS, {})], {"on_fail": "stop", "window": 0}), 0)
    assert session.receive(0).results[0][1]["ping"] == "pong"
    assert time.monotonic() - began < 2.9, "the main lane does not wait for the others"
    for lane in (1, 2, 3):
        assert session.receive(lane).results[0][1]["rc"] == 0
    assert time.monotonic() - began < 8, "three lanes sleep at the same time"


def test_a_sign_of_life_before_the_first_call_comes_behind_the_code_of_the_agent(session: Session) -> None:
    session.beat()
    session.call(run("true"))
    assert session.receive().results[0][1]["rc"] == 0


def test_an_agent_that_is_never_sent_its_code_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CODE_WITHIN", 1)
    connection = LocalConnection(Target("here", "here"))
    waiting = Session.start("here", connection, blobs=BlobStore())
    time.sleep(1.5)
    with pytest.raises(ConnectionLost):
        waiting.call(run("true"))
        waiting.receive()
    waiting.close()


def test_an_agent_that_has_its_code_outlives_that_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CODE_WITHIN", 1)
    running = Session.start("here", LocalConnection(Target("here", "here")), blobs=BlobStore())
    running.call(run("sleep 1.5"))
    assert running.receive().results[0][1]["rc"] == 0
    running.close()


def test_calls_behind_a_failed_one_are_dropped_until_the_next_window(session: Session) -> None:
    session.call(run("false"))
    session.call(run("true"))
    session.call(run("true", window=1))
    assert session.receive().results[0][1]["failed"]
    assert session.receive().dropped
    assert session.receive().results[0][1]["rc"] == 0


def test_calls_behind_a_failure_that_does_not_matter_go_on(session: Session) -> None:
    session.call(run("false", on_fail="continue"))
    session.call(run("true"))
    assert session.receive().results[0][1]["failed"]
    assert session.receive().results[0][1]["rc"] == 0


def test_a_cancelled_call_ends_and_the_agent_goes_on(session: Session) -> None:
    number = session.call(run("sleep 60", on_fail="continue"))
    session.flush()
    time.sleep(0.5)
    session.cancel(number)
    result = session.receive().results[0][1]
    assert result["failed"] and result["cancelled"]
    session.call(run("true"))
    assert session.receive().results[0][1]["rc"] == 0


@pytest.mark.skipif(shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin") is None, reason="there is no sshd")
def test_a_second_agent_opens_a_connection_where_a_session_is_all_that_is_allowed(tmp_path: Path) -> None:
    with LoopbackSSHD(tmp_path, extra_config={"MaxSessions": "1"}) as server:
        key, known = str(server.private_key), str(server.known_hosts)
        login = {"port": server.port, "user": server.user, "private_key": key, "known_hosts": (known,)}
        target = Target("here", server.address, **login)
        connection = Connector().connect(target)
        agents = [Session.start("here", connection, blobs=BlobStore()) for _ in range(2)]
        for agent in agents:
            agent.call(run("true"))
        assert [agent.receive().results[0][1]["rc"] for agent in agents] == [0, 0]
        for agent in agents:
            agent.close()
        connection.close()
