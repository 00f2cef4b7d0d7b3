"""A TCP proxy that delays every byte and drops none: what a run costs in round trips can be counted through it.

The delay goes by the clock of each piece, so bandwidth is not limited. TCP's own handshake is not delayed.

    python -m opsplay.lab.delay --listen 127.0.0.1:2222 --to 127.0.0.1:22 --round-trip 0.1

says `ready PORT` when it listens, and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from concurrent.futures import Future
from types import TracebackType

from opsplay.errors import LabError

_PIECE = 65536
_PIECES_UNDER_WAY = 2048  # 128 MiB a direction; then the sender waits
_START_SECONDS = 10.0


class DelayProxy:
    """Forwards connections at `address`:`port` (0: a free one) to `target`, half of `round_trip` seconds late each way.

    A context manager that serves from a thread of its own.
    """

    def __init__(
        self, target: tuple[str, int], *, round_trip: float, address: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.address = address
        self.port = port
        self._target = target
        self._delay = round_trip / 2
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> DelayProxy:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Return when the proxy listens. Raises LabError when it cannot."""
        ready: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="delay", daemon=True)
        self._thread.start()
        try:
            self.port = ready.result(_START_SECONDS)
        except OSError as error:
            self._thread.join()
            raise LabError(f"the delaying proxy cannot listen at {self.address}:{self.port}: {error}") from error

    def stop(self) -> None:
        """Cut every connection and end."""
        if self._loop and self._stop and self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def _serve(self, ready: Future[int]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await asyncio.start_server(self._forward, self.address, self.port)
        except OSError as error:
            ready.set_exception(error)
            return
        ready.set_result(int(server.sockets[0].getsockname()[1]))
        await self._stop.wait()
        # Not wait_closed: the connections end with the loop, which cancels their tasks.
        server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            writers.append(far_writer)
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        except (OSError, asyncio.CancelledError):  # one side has gone, or the proxy is to end: so does the other side
            pass
        finally:
            for end in writers:
                end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Move one direction's bytes, then its end of stream, each when its time has come."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES_UNDER_WAY)
        clock = asyncio.get_running_loop().time
        receiver = asyncio.create_task(self._receive(reader, pieces))
        try:
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(due - clock())
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        finally:
            receiver.cancel()

    async def _receive(self, reader: asyncio.StreamReader, pieces: asyncio.Queue[tuple[float, bytes]]) -> None:
        clock = asyncio.get_running_loop().time
        data = b"the first"
        while data:
            try:
                data = await reader.read(_PIECE)
            except OSError:
                data = b""  # a reset connection ends the stream as well
            await pieces.put((clock() + self._delay, data))


def main(arguments: list[str] | None = None) -> None:
    """Serve until standard input ends. Raises LabError when the proxy cannot listen."""
    parser = argparse.ArgumentParser(description="Forward TCP connections with a delay.")
    parser.add_argument("--listen", type=_endpoint, required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--to", type=_endpoint, required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--round-trip", type=float, required=True, metavar="SECONDS")
    wanted = parser.parse_args(arguments)
    address, port = wanted.listen
    with DelayProxy(wanted.to, round_trip=wanted.round_trip, address=address, port=port) as proxy:
        print(f"ready {proxy.port}", flush=True)
        sys.stdin.read()


def _endpoint(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


if __name__ == "__main__":
    main()
