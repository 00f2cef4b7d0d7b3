"""Which variable wins: groups by depth, priority and name, and the files of group_vars and host_vars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.errors import OpsplayError
from tests.unit.test_inventory import read, variables


@pytest.mark.parametrize(
    ("text", "winner"),
    [
        ("[all:vars]\nx=all\n[g]\nh\n[g:vars]\nx=g\n", "g"),
        ("[g]\nh x=h\n[g:vars]\nx=g\n", "h"),
        ("[p:children]\nc\n[c]\nh\n[p:vars]\nx=p\n[c:vars]\nx=c\n[z]\nh\n[z:vars]\nx=z\n", "c"),
        ("[b]\nh\n[a]\nh\n[a:vars]\nx=a\n[b:vars]\nx=b\n", "b"),
        ("[b]\nh\n[a]\nh\n[a:vars]\nx=a\nansible_group_priority=10\n[b:vars]\nx=b\n", "a"),
        ("[a]\nh\n[a:vars]\nx=a\n[c:children]\na\n[c:vars]\nx=c\nansible_group_priority=50\n", "a"),
        ("[top:children]\nmid\nleaf\n[mid:children]\nleaf\n[leaf]\nh\n[top:vars]\nx=top\n[mid:vars]\nx=mid\n", "mid"),
        ("[a]\nh x=1st\n[b]\nh x=2nd\n", "2nd"),
    ],
)
def test_the_nearest_group_wins(text: str, winner: str, tmp_path: Path) -> None:
    assert variables(read(tmp_path, {"hosts": text}))["h"]["x"] == winner


# From weak to strong: what defines x, in the order of Ansible's list of precedence.
LAYERS = [
    ("inventory all", "hosts", "[all:vars]\nx=0\n"),
    ("inventory group", "hosts", "[g:vars]\nx=1\n"),
    ("inventory's group_vars/all", "group_vars/all.yml", "x: 2\n"),
    ("playbook's group_vars/all", "play/group_vars/all", "x: 3\n"),
    ("inventory's group_vars/g", "group_vars/g.yml", "x: 4\n"),
    ("playbook's group_vars/g", "play/group_vars/g.yaml", "x: 5\n"),
    ("inventory host", "hosts", "[g]\nh x=6\n"),
    ("inventory's host_vars", "host_vars/h.json", '{"x": 7}'),
    ("playbook's host_vars", "play/host_vars/h/x.yml", "x: 8\n"),
]


@given(st.sets(st.integers(0, len(LAYERS) - 1), min_size=1))
def test_precedence(tmp_path_factory: pytest.TempPathFactory, chosen: set[int]) -> None:
    folder = tmp_path_factory.mktemp("layers")
    files = {"hosts": "[g]\nh\n"}
    for number in sorted(chosen):
        _, name, text = LAYERS[number]
        files[name] = files.get(name, "") + text
    inventory = read(folder, files)
    assert variables(inventory, folder / "play")["h"]["x"] == max(chosen)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"group_vars/g": "a: 1\n", "group_vars/g.yml": "b: 1\n"}, {"a": 1}),
        ({"group_vars/g.yml": "a: 1\n", "group_vars/g.yaml": "b: 1\n"}, {"a": 1}),
        ({"group_vars/g/a.yml": "a: 1\n", "group_vars/g.yml": "b: 1\n"}, {"a": 1}),
        ({"group_vars/g/b.yml": "x: b\n", "group_vars/g/c/z.yml": "x: cz\n"}, {"x": "cz"}),
        ({"group_vars/g/b.yml": "x: b\n", "group_vars/g/a/z.yml": "x: az\n", "group_vars/g/c": "x: c\n"}, {"x": "c"}),
        ({"group_vars/g/b.yml": "x: {a: 1}\n", "group_vars/g/c.yml": "x: {b: 1}\n"}, {"x": {"b": 1}}),
        ({"group_vars/g/.a.yml": "x: 1\n", "group_vars/g/b~": "x: 1\n", "group_vars/g/c.txt": "x"}, {}),
        ({"host_vars/h.yml": "", "group_vars/ungrouped.yml": "x: 1\n"}, {}),
    ],
)
def test_which_files_of_variables_are_read(files: dict[str, str], expected: Any, tmp_path: Path) -> None:
    assert variables(read(tmp_path, {"hosts": "[g]\nh\n", **files})) == {"h": expected}


def test_a_wrong_file_of_variables_is_named(tmp_path: Path) -> None:
    inventory = read(tmp_path, {"hosts": "h\n", "host_vars/h.yml": "- 1\n"})
    with pytest.raises(OpsplayError, match=r"host_vars/h.yml:1:1: a file of variables must be a mapping"):
        variables(inventory)
