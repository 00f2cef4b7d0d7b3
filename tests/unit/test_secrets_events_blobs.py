"""Secrets that no event shows, events as lines of JSON, and contents by their hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay import events
from opsplay.agent.protocol import CHUNK
from opsplay.secrets import CENSORED, MASK, SHORTEST, Redactor, censor
from opsplay.session.blobs import INLINE_LIMIT, BlobStore

SECRETS = st.lists(
    st.text(st.characters(exclude_characters="*\r\n"), min_size=SHORTEST, max_size=12), min_size=1, max_size=4
)


@given(SECRETS, st.lists(st.integers(0, 3) | st.text(max_size=3), max_size=6))
def test_no_secret_is_left_in_any_structure(secrets: list[str], parts: list[int | str]) -> None:
    redactor = Redactor()
    for secret in secrets:
        redactor.register(secret)
    text = "".join(secrets[part % len(secrets)] if isinstance(part, int) else part for part in parts)
    cleaned = redactor.clean({text: [text, (text, 5)], "n": {"x": text}})
    assert not any(secret in redactor.text(text) for secret in secrets)
    assert cleaned == {
        redactor.text(text): [redactor.text(text), [redactor.text(text), 5]],
        "n": {"x": redactor.text(text)},
    }


def test_long_secrets_are_masked_before_their_parts() -> None:
    redactor = Redactor()
    for secret in ("pass", "password1", None, "", "abc", "line one\nline two\n"):
        redactor.register(secret)
    assert redactor.text("password1 pass abc") == f"{MASK} {MASK} abc"
    assert redactor.text("only line two") == f"only {MASK}"


def test_a_hidden_result_keeps_how_it_ended() -> None:
    assert censor({"stdout": "secret", "rc": 1, "failed": True}) == {"rc": 1, "failed": True, "censored": CENSORED}


def every_event() -> list[events.Event]:
    tally = events.HostTally("h", ok=1, reason="why")
    return [
        events.RunStarted("id", ("p.yml",), False, "user"), events.PlayStarted("p", ("h",)),
        events.TaskStarted("h", (1, 0), "t", "m", "p.yml:1"), events.ItemFinished("h", (1,), "t", "ok", "i", {"x": 1}),
        events.TaskFinished("h", (1,), "t", "m", "p.yml:1", "ok", {"é": {1, 2}}), events.TaskRetrying("h", (1,), "t", 1, 3),
        events.TaskProgress("h", "t", "text"), events.HandlersPending("h", ("n",)), events.Warned("m"),
        events.HostFinished("h"), tally, events.RunFinished(0, (tally,), 1.5),
    ]  # fmt: skip


def test_every_event_is_one_line_of_json() -> None:
    kinds = set()
    for event in every_event():
        line = event.to_json()
        found = json.loads(line)
        assert "\n" not in line and line.isascii()
        assert found["v"] == events.VERSION
        assert {field.name for field in dataclasses.fields(event)} <= set(found)
        kinds.add(found["event"])
    assert kinds == {kind.kind for kind in events.Event.__subclasses__()}
    assert json.loads(every_event()[-1].to_json())["tallies"][0]["reason"] == "why"


# --- contents ---


@given(st.binary(max_size=3000), st.integers(0, 3000), st.integers(0, 3000))
def test_a_range_of_a_content(tmp_path_factory: pytest.TempPathFactory, data: bytes, offset: int, length: int) -> None:
    store = BlobStore()
    path = tmp_path_factory.mktemp("blobs") / "f"
    path.write_bytes(data)
    for content in (store.from_bytes(data), store.from_file(str(path))):
        assert (content.sha256, content.sha1) == (hashlib.sha256(data).hexdigest(), hashlib.sha1(data).hexdigest())
        assert content.reference() == {"sha256": content.sha256, "size": len(data)}
        assert b"".join(store.read(content.sha256, offset, length)) == data[offset : offset + length]


def test_large_files_are_read_in_chunks_and_small_ones_ride_along(tmp_path: Path) -> None:
    store = BlobStore()
    large = bytes(range(256)) * (CHUNK // 256) * 2 + b"end"
    (tmp_path / "large").write_bytes(large)
    (tmp_path / "small").write_bytes(b"x" * INLINE_LIMIT)
    content = store.from_file(str(tmp_path / "large"))
    assert content.data is None
    chunks = list(store.read(content.sha256, 0, len(large)))
    assert max(map(len, chunks)) <= CHUNK and b"".join(chunks) == large
    assert store.from_file(str(tmp_path / "small")).data == b"x" * INLINE_LIMIT


def test_a_content_that_is_gone_is_an_empty_chunk(tmp_path: Path) -> None:
    store = BlobStore()
    assert list(store.read("0" * 64, 0, 5)) == [b""]
    path = tmp_path / "f"
    path.write_bytes(b"x" * (INLINE_LIMIT + 1))
    content = store.from_file(str(path))
    path.unlink()
    assert list(store.read(content.sha256, 0, 5)) == [b""]


def test_a_file_that_changed_is_hashed_again(tmp_path: Path) -> None:
    store = BlobStore()
    path = tmp_path / "f"
    path.write_bytes(b"one")
    first = store.from_file(str(path))
    path.write_bytes(b"three")
    assert store.from_file(str(path)).sha256 != first.sha256
