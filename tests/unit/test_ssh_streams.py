"""A channel of Paramiko whose connection ends at an unlucky moment: within a message that says goodbye."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import paramiko
import pytest

from opsplay.errors import ConnectionLost
from opsplay.transport.ssh import ChannelStream


class Everybody(paramiko.ServerInterface):
    """Lets everybody in, and opens what is asked for."""

    def check_auth_none(self, username: str) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


@pytest.fixture
def channel() -> Iterator[paramiko.Channel]:
    """A channel to a server of this process, whose connection has ended and where nobody has noticed yet."""
    near, far = socket.socketpair()
    server, client = paramiko.Transport(far), paramiko.Transport(near)
    server.add_server_key(paramiko.ECDSAKey.generate())
    server.start_server(threading.Event(), Everybody())
    client.start_client(timeout=10)
    client.auth_none("somebody")
    opened = client.open_session(timeout=10)
    client.packetizer.close()
    assert not opened.closed
    yield opened
    client.close()
    server.close()


def test_a_stream_ends_without_a_word(channel: paramiko.Channel) -> None:
    ChannelStream(channel, "web1").close()


def test_an_exit_status_that_does_not_come_is_a_lost_connection(channel: paramiko.Channel) -> None:
    with pytest.raises(ConnectionLost, match="web1: the connection was lost"):
        ChannelStream(channel, "web1").finish()
