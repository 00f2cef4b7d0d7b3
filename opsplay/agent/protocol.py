"""The frame codec, for both sides of the stream.

Control to agent: 11 bytes of header, then the payload; the stream is ours alone.
Agent to control: the session's random mark comes before each header, so that whatever login scripts or stray
children print between two frames is skipped, not misread.

Payloads to the agent are marshalled (version 2; the trusted direction). Payloads from the agent are JSON, or raw
bytes in blob frames: what a host sends is only ever parsed as data.
"""

from __future__ import annotations

import marshal
import struct
from typing import Any, Iterator, List, Optional, Tuple

VERSION = 1

# type, lane, id, length of the payload
HEADER = struct.Struct(">BHII")
MARK_LENGTH = 16

# A frame's payload. Larger messages are split (MORE frames), up to MESSAGE_LIMIT for the whole.
FRAME_LIMIT = 1 << 20
MESSAGE_LIMIT = 64 << 20
CHUNK = 256 << 10

# Seconds: how often each side says that it lives, and after how long a silence the other gives up.
BEAT_EVERY = 15
BEAT_DEAD = 90

# Frames to the agent
CALL, MODULE, BLOB, CANCEL, END = 1, 2, 3, 4, 5
# Frames from the agent
HELLO, RESULT, PROGRESS, NEED, DATA, DROPPED = 16, 17, 18, 19, 20, 21
# Both ways
BEAT, MORE = 32, 33


class FrameError(Exception):
    """What arrived is not a frame, or is larger than the protocol allows."""


def pack(kind: int, lane: int, number: int, payload: bytes, mark: bytes = b"") -> bytes:
    """One message as bytes: a single frame, or MORE frames that the last one completes."""
    if len(payload) <= FRAME_LIMIT:
        return mark + HEADER.pack(kind, lane, number, len(payload)) + payload
    if len(payload) > MESSAGE_LIMIT:
        raise FrameError("a message of %d bytes; the limit is %d" % (len(payload), MESSAGE_LIMIT))
    parts = [payload[start : start + FRAME_LIMIT] for start in range(0, len(payload), FRAME_LIMIT)]
    last = parts.pop()
    packed = [mark + HEADER.pack(MORE, lane, number, len(part)) + part for part in parts]
    return b"".join(packed) + mark + HEADER.pack(kind, lane, number, len(last)) + last


def pack_call(kind: int, lane: int, number: int, value: Any) -> bytes:
    """A message to the agent whose payload is a marshalled value."""
    return pack(kind, lane, number, marshal.dumps(value, 2))


class Decoder:
    """Turns a byte stream into messages: feed it what arrived, take the whole messages out.

    With a `mark`, bytes before a mark are noise: they are kept, up to a limit, for error messages.
    """

    NOISE_KEPT = 4096

    def __init__(self, mark: bytes = b"") -> None:
        self._buffer = bytearray()
        self._mark = mark
        self._parts: Any = {}
        self.noise = b""

    def feed(self, data: bytes) -> Iterator[Tuple[int, int, int, bytes]]:
        """Messages that are now whole, as (type, lane, id, payload). Raises FrameError."""
        self._buffer += data
        while True:
            message = self._next()
            if message is None:
                return
            kind, lane, number, payload = message
            if kind == MORE:
                self._collect(lane, number, payload)
                continue
            earlier = self._parts.pop((lane, number), None) if kind not in (BEAT, BLOB, DATA, PROGRESS) else None
            if earlier is not None:
                payload = b"".join(earlier) + payload
            yield kind, lane, number, payload

    def _collect(self, lane: int, number: int, payload: bytes) -> None:
        self._parts.setdefault((lane, number), []).append(payload)
        # The limit is for all unfinished messages together: a host cannot fill the memory with many of them.
        if sum(len(part) for parts in self._parts.values() for part in parts) > MESSAGE_LIMIT:
            raise FrameError("unfinished messages over the limit of %d bytes" % MESSAGE_LIMIT)

    def _next(self) -> Optional[Tuple[int, int, int, bytes]]:
        if self._mark and not self._skip_noise():
            return None
        start = len(self._mark)
        if len(self._buffer) < start + HEADER.size:
            return None
        kind, lane, number, length = HEADER.unpack_from(self._buffer, start)
        if length > FRAME_LIMIT:
            raise FrameError("a frame of %d bytes; the limit is %d" % (length, FRAME_LIMIT))
        end = start + HEADER.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[start + HEADER.size : end])
        del self._buffer[:end]
        return kind, lane, number, payload

    def _skip_noise(self) -> bool:
        """Whether the buffer now starts with a mark."""
        if self._buffer.startswith(self._mark):
            return True
        found = self._buffer.find(self._mark)
        # A mark may be cut in two by the end of what arrived: keep that much.
        cut = found if found >= 0 else max(0, len(self._buffer) - len(self._mark) + 1)
        self.noise = (self.noise + bytes(self._buffer[:cut]))[-self.NOISE_KEPT :]
        del self._buffer[:cut]
        return found >= 0


def encode_json(value: Any) -> bytes:
    """JSON of None, bool, int, float, str, bytes (as UTF-8), list, tuple and dict.

    The json module costs 7 to 17 ms of start-up because it imports re; `_json` has the one hard part.
    """
    try:
        from _json import encode_basestring_ascii as quote
    except ImportError:
        import json

        quote = json.dumps
    parts: List[str] = []
    _encode(value, parts.append, quote)
    return "".join(parts).encode("ascii")


def _encode(value: Any, out: Any, quote: Any) -> None:
    if value is None:
        out("null")
    elif value is True:
        out("true")
    elif value is False:
        out("false")
    elif isinstance(value, str):
        out(quote(value))
    elif isinstance(value, int):
        out(int.__repr__(value))
    elif isinstance(value, float):
        out(float.__repr__(value) if value - value == 0 else "null")
    elif isinstance(value, bytes):
        out(quote(value.decode("utf-8", "surrogateescape")))
    elif isinstance(value, dict):
        separator = "{"
        for key, item in value.items():
            out(separator + quote(key if isinstance(key, str) else str(key)) + ":")
            _encode(item, out, quote)
            separator = ","
        out("}" if separator == "," else "{}")
    elif isinstance(value, (list, tuple, set, frozenset)):
        separator = "["
        for item in value:
            out(separator)
            _encode(item, out, quote)
            separator = ","
        out("]" if separator == "," else "[]")
    else:
        out(quote(str(value)))
