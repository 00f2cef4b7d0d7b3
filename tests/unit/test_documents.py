"""YAML as the user wrote it: values, places, and mistakes with their remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from opsplay.documents.values import Mapping, Sequence, Template, place_of, plain, trust
from opsplay.documents.yaml import load, parse
from opsplay.errors import DocumentError, Location


def one(text: str) -> Any:
    return parse(text, "f.yml")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [x, 2.5, true, null, ~]\n", {"a": 1, "b": ["x", 2.5, True, None, None]}),
        ("yes", True), ("off", False), ("'yes'", "yes"), ("0644", 420), ("'0644'", "0644"), ("0o644", "0o644"),
        ("1_000", 1000), ("0x1f", 31), ("1e3", "1e3"), ("1.0e+3", 1000.0), (".inf", float("inf")), ("12:30", 750),
        ("2020-01-02", "2020-01-02"), ("2020-01-02 03:04:05", "2020-01-02 03:04:05"), ("''", ""), ("a: ", {"a": None}),
        ("!!str 5", "5"), ("!!int '5'", 5), ("!!binary aGk=", b"hi"), ("!unsafe '{{ x }}'", "{{ x }}"),
        ("|\n  a\n  b\n", "a\nb\n"), (">-\n  a\n  b\n", "a b"), ("{1: a, true: b}", None),
        ("base: &b {x: 1, y: 2}\nc:\n  <<: *b\n  y: 3\n", {"base": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}}),
        ("c:\n  y: 3\n  <<: {x: 1, y: 2}\n", {"c": {"y": 3, "x": 1}}),
        ("<<: [{x: 1}, {x: 2, y: 2}]\nz: 0\n", {"z": 0, "x": 1, "y": 2}),
        ("a: &l [1]\nb: *l\n", {"a": [1], "b": [1]}),
        ("!!set {a, b}", {"a": None, "b": None}),
        ('a: "x\x85y"\nb: "x\\Ny"\nc: "x\u2028y"', {"a": "x y", "b": "x\x85y", "c": "x\u2028y"}),
        ("a: &a {x: 1, z: 1}\nb: &b {x: 2, y: 2}\nc: {w: 0, <<: [*a, *b], z: 3}\n",
         {"a": {"x": 1, "z": 1}, "b": {"x": 2, "y": 2}, "c": {"x": 1, "y": 2, "z": 3, "w": 0}}),
    ],
)  # fmt: skip
def test_values(text: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(DocumentError, match="duplicate key"):
            one(text)
    else:
        found = one(text)
        assert found == expected
        assert plain(found) == expected


def test_what_is_merged_comes_first() -> None:
    """As with PyYAML since 6.0.4, and so in loops over a dictionary's items."""
    text = "a: &a {x: 1, z: 1}\nb: &b {x: 2, y: 2}\nc: {w: 0, <<: [*a, *b], z: 3}\n"
    assert one(text)["c"] == yaml.safe_load(text)["c"]
    assert list(one(text)["c"].items()) == [("x", 1), ("z", 3), ("y", 2), ("w", 0)]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        # A "next line" is a line break, which PyYAML writes into a text as it is and reads, as it should, as a blank.
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85")),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc<é: ", max_size=3), inner, max_size=3),
    )
)
def test_what_pyyaml_writes_is_read_back(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert plain(one(text)) == yaml.safe_load(text) == value


def test_every_value_knows_its_place() -> None:
    document = one("- hosts: all\n  tasks:\n    - copy:\n        src: 'a'\n      when: [x, \"y\"]\n")
    play = document[0]
    assert isinstance(document, Sequence)
    assert isinstance(play, Mapping)
    assert (play.at.line, play.at.column) == (1, 3)
    assert str(play.key_at["tasks"]) == "f.yml:2:3"
    task = play["tasks"][0]
    assert str(play["tasks"].item_at[0]) == "f.yml:3:7"
    assert str(task.key_at["when"]) == "f.yml:5:7"
    assert str(task["copy"]["src"].at) == "f.yml:4:14"
    assert [str(place) for place in task["when"].item_at] == ["f.yml:5:14", "f.yml:5:17"]
    assert str(place_of(5, Location("f.yml", 9))) == "f.yml:9"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"f.yml:3:1: duplicate key 'a'; the first is at f.yml:1:1"),
        ("a: {{ x }}\n", r"f.yml:1:5: a mapping cannot be a key; a value that starts with {{ must be quoted"),
        ("a: {{ x }} y\n", r'f.yml:1:\d+: not YAML: .*; quote a value that starts with {{, as in key: "{{ value }}"'),
        (
            "- name: a: b\n",
            r"f.yml:1:10: not YAML: mapping values .*; quote a value that holds a colon followed by a space",
        ),
        ("a:\n\tb: 1\n", r"f.yml:2:1: not YAML: found character .*; YAML does not allow tabs for indentation"),
        ("a: !nope x\n", r"f.yml:1:4: unknown YAML tag !nope"),
        ("a: !nope [x]\n", r"f.yml:1:4: unknown YAML tag !nope"),
        ("a: !nope {x: 1}\n", r"f.yml:1:4: unknown YAML tag !nope"),
        ("a: !vault |\n  $ANSIBLE\n", r"f.yml:1:4: a vault begins with \$ANSIBLE_VAULT;1.1;AES256"),
        ("a: !!int x\n", r"f.yml:1:4: not a value: .*"),
        ("<<: 5\n", r"f.yml:1:5: << needs a mapping to merge"),
        ("[a]: 1\n", r"f.yml:1:1: a mapping cannot be a key; .*"),
        ("a: &x [*x]\n", r"f.yml: values are nested too deeply, or one contains itself"),
        ("a: *nope\n", r"f.yml:1:4: not YAML: found undefined alias.*"),
        ("a: 'x\n", r"f.yml:2:1: not YAML: found unexpected end of stream"),
        ("a: \x00", r"f.yml.*: not YAML: .*"),
        ("a: [1, 2\n", r"f.yml:2:1: not YAML: .*"),
        ("a: @x\n", r"f.yml:1:4: not YAML: found character .*that cannot start any token"),
    ],
)
def test_mistakes_have_a_place_and_a_remedy(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as refused:
        parse(text, "f.yml")
    assert re.fullmatch(message, str(refused.value), re.DOTALL)


def test_several_documents() -> None:
    assert parse("--- a\n--- b\n", "f") == ["a", "b"]
    assert parse("", "f") == []
    assert parse("# only a comment\n", "f") == []


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "f.yml"
    for content, expected in ((b"", None), (b"a: 1\n", {"a": 1}), ("é: ü\n".encode(), {"é": "ü"})):
        path.write_bytes(content)
        assert load(path) == expected
    for content, message in ((b"--- a\n--- b\n", "several documents"), (b"\xff\xfe\xff", "it is not UTF-8 text")):
        path.write_bytes(content)
        with pytest.raises(DocumentError, match=message):
            load(path)
    with pytest.raises(DocumentError, match="cannot read the file: No such file"):
        load(tmp_path / "none.yml")


def test_only_the_user_s_strings_are_templates() -> None:
    document = one("a: text\nb: ['{{ x }}', !unsafe '{{ y }}']\n5: x\n")
    assert [type(value) for value in (document["a"], *document["b"])] == [Template, Template, str]
    assert {type(key) for key in document} == {str, int}
    assert type(plain(document)["a"]) is str
    assert [type(value) for value in trust({"a": ["x", 1]})["a"]] == [Template, int]
