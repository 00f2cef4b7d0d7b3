"""The frame codec: whatever the cuts and the noise, what goes in comes out."""

from __future__ import annotations

import json
import marshal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.agent import protocol

MARK = bytes(range(200, 216))
KINDS = st.sampled_from([protocol.HELLO, protocol.RESULT, protocol.PROGRESS, protocol.NEED, protocol.DATA])
MESSAGES = st.lists(
    st.tuples(KINDS, st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=200)), max_size=6
)
# Noise never holds the mark: it is 16 random bytes.
NOISE = st.binary(max_size=60).filter(lambda data: not set(data) & set(MARK))


def decode(chunks: list[bytes], mark: bytes = MARK) -> list[tuple[int, int, int, bytes]]:
    decoder = protocol.Decoder(mark)
    return [message for chunk in chunks for message in decoder.feed(chunk)]


@given(MESSAGES)
def test_cuts_at_every_byte(messages: list[tuple[int, int, int, bytes]]) -> None:
    stream = b"".join(protocol.pack(*message, MARK) for message in messages)
    assert decode([stream[place : place + 1] for place in range(len(stream))]) == messages
    for cut in range(0, len(stream), 7):
        assert decode([stream[:cut], stream[cut:]]) == messages


@given(MESSAGES, st.lists(NOISE, min_size=7, max_size=7), st.integers(1, 50))
def test_noise_between_frames(messages: list[Any], noise: list[bytes], step: int) -> None:
    stream = b"".join(noise[place] + protocol.pack(*message, MARK) for place, message in enumerate(messages))
    stream += noise[-1]
    chunks = [stream[place : place + step] for place in range(0, len(stream), step)]
    assert decode(chunks) == messages


def test_noise_is_kept_for_messages_up_to_a_limit() -> None:
    decoder = protocol.Decoder(MARK)
    list(decoder.feed(b"sudo: a password is required\n" + protocol.pack(protocol.HELLO, 0, 0, b"", MARK)))
    assert decoder.noise == b"sudo: a password is required\n"
    list(decoder.feed(b"x" * 100000))
    assert len(decoder.noise) <= decoder.NOISE_KEPT


def test_a_mark_within_a_payload_is_payload() -> None:
    message = (protocol.RESULT, 1, 2, b"a" + MARK + b"b" + MARK)
    assert decode([protocol.pack(*message, MARK)]) == [message]


@pytest.mark.parametrize("extra", [-1, 0, 1, protocol.FRAME_LIMIT, protocol.FRAME_LIMIT + 1])
def test_large_messages_are_split_and_put_together(extra: int) -> None:
    payload = b"0123456789abcdef" * ((protocol.FRAME_LIMIT + extra) // 16 + 1)
    payload = payload[: protocol.FRAME_LIMIT + extra]
    packed = protocol.pack(protocol.RESULT, 3, 4, payload, MARK)
    assert decode([packed]) == [(protocol.RESULT, 3, 4, payload)]
    step = 65536
    assert decode([packed[start : start + step] for start in range(0, len(packed), step)]) == [
        (protocol.RESULT, 3, 4, payload)
    ]


def test_small_frames_pass_between_the_parts_of_a_large_message() -> None:
    large = b"x" * (protocol.FRAME_LIMIT + 10)
    packed = protocol.pack(protocol.RESULT, 0, 1, large, MARK)
    first = len(MARK) + protocol.HEADER.size + protocol.FRAME_LIMIT
    beat = protocol.pack(protocol.BEAT, 0, 0, b"", MARK)
    other = protocol.pack(protocol.RESULT, 0, 2, b"small", MARK)
    progress = protocol.pack(protocol.PROGRESS, 0, 1, b"half", MARK)
    assert decode([packed[:first] + beat + other + progress + packed[first:]]) == [
        (protocol.BEAT, 0, 0, b""),
        (protocol.RESULT, 0, 2, b"small"),
        (protocol.PROGRESS, 0, 1, b"half"),
        (protocol.RESULT, 0, 1, large),
    ]


def test_limits() -> None:
    header = protocol.HEADER.pack(protocol.RESULT, 0, 0, protocol.FRAME_LIMIT + 1)
    with pytest.raises(protocol.FrameError, match="limit"):
        decode([MARK + header])
    with pytest.raises(protocol.FrameError, match="limit"):
        protocol.pack(protocol.RESULT, 0, 0, bytes(protocol.MESSAGE_LIMIT + 1))
    part = MARK + protocol.HEADER.pack(protocol.MORE, 0, 0, protocol.FRAME_LIMIT) + bytes(protocol.FRAME_LIMIT)
    with pytest.raises(protocol.FrameError, match="limit"):
        decode([part] * (protocol.MESSAGE_LIMIT // protocol.FRAME_LIMIT + 1))


def test_parts_of_many_messages_cannot_fill_the_memory() -> None:
    """A host that begins ever more messages and ends none is refused, too."""
    decoder = protocol.Decoder(MARK)
    body = bytes(protocol.FRAME_LIMIT)
    with pytest.raises(protocol.FrameError, match="limit"):
        for number in range(2 * protocol.MESSAGE_LIMIT // protocol.FRAME_LIMIT):
            list(decoder.feed(MARK + protocol.HEADER.pack(protocol.MORE, 0, number, len(body)) + body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(JSON)
def test_json_is_what_the_library_reads(value: Any) -> None:
    assert json.loads(protocol.encode_json(value)) == value


@given(st.binary())
def test_bytes_survive_as_text(data: bytes) -> None:
    assert json.loads(protocol.encode_json(data)).encode("utf-8", "surrogateescape") == data


def test_json_of_what_json_has_not() -> None:
    odd = {1: (1, 2), None: {3}, "nan": float("nan"), "inf": float("inf"), "object": protocol.FrameError("x")}
    assert json.loads(protocol.encode_json(odd)) == {
        "1": [1, 2],
        "None": [3],
        "nan": None,
        "inf": None,
        "object": "x",
    }


@given(JSON)
def test_calls_are_marshalled_in_a_version_that_old_pythons_read(value: Any) -> None:
    packed = protocol.pack_call(protocol.CALL, 1, 2, value)
    (message,) = decode([packed], b"")
    assert message[:3] == (protocol.CALL, 1, 2)
    assert marshal.loads(message[3]) == value
