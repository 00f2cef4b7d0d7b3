"""Inventories of every form, ranges, patterns, and which variable wins; expected values were tried with ansible-core 2.19."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.documents.values import plain
from opsplay.errors import InventoryError, Problems
from opsplay.inventory.ini import split_port
from opsplay.inventory.model import Inventory
from opsplay.inventory.patterns import select
from opsplay.inventory.ranges import expand
from opsplay.inventory.sources import load
from opsplay.inventory.variables import InventoryVariables


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)


def read(folder: Path, files: dict[str, str], *sources: str) -> Inventory:
    write(folder, files)
    return load([str(folder / source) for source in sources or ("hosts",)])


def variables(inventory: Inventory, playbook: Path | None = None) -> dict[str, Any]:
    found = InventoryVariables(inventory, str(playbook) if playbook else None)
    return {host: plain(found.of(host)) for host in inventory.hosts}


# --- INI ---


@pytest.mark.parametrize(
    ("text", "groups", "hostvars"),
    [
        ("a\nb x=1\n", {"ungrouped": "a b"}, {"a": {}, "b": {"x": 1}}),
        ("u\n[web]\nw1\nw2 port=80\n[db]\nd1\n[web:vars]\nx=1\n[site:children]\nweb\ndb\n[site:vars]\nx=0\nq=[1, 2]\n",
         {"ungrouped": "u", "web": "w1 w2", "db": "d1", "site": "w1 w2 d1"},
         {"u": {}, "w1": {"x": 1, "q": [1, 2]}, "w2": {"x": 1, "q": [1, 2], "port": 80}, "d1": {"x": 0, "q": [1, 2]}}),
        ("[w]\nw[1:3]\nx[01:05:2].e\ny-[a:c]\nz[1:2]-[a:b]\nq[08:11]\nv[:1]\n",
         {"w": "w1 w2 w3 x01.e x03.e x05.e y-a y-b y-c z1-a z1-b z2-a z2-b q08 q09 q10 q11 v0 v1"}, None),
        ("w[1:2]:2222\na.b:33\nc:1 ansible_port=2\n", {"ungrouped": "w1 w2 a.b c"},
         {"w1": {"ansible_port": 2222}, "w2": {"ansible_port": 2222}, "a.b": {"ansible_port": 33}, "c": {"ansible_port": 2}}),
        ("::1\nfe80::1 x=1\n", {"ungrouped": "::1 fe80::1"}, {"::1": {}, "fe80::1": {"x": 1}}),
        ("# c\n; d\na # x\n[g] # c\ne\n[g2] ; c\nf x=1 # y=2\ng x='#'\n", {"ungrouped": "a", "g": "e", "g2": "f g"},
         {"a": {}, "e": {}, "f": {"x": 1}, "g": {"x": "#"}}),
        ("[g]\na x=1\n[g]\nb\n[g:vars]\nv=1\n[g:vars]\nw=2\n[h]\na x=2 y=3\n", {"g": "a b", "h": "a"},
         {"a": {"x": 2, "y": 3, "v": 1, "w": 2}, "b": {"v": 1, "w": 2}}),
        ("a\n[g]\na\nb\n[ungrouped]\nc\n", {"ungrouped": "c", "g": "a b"}, None),
        ("[all]\na\n[all:vars]\nx=1\n", {"ungrouped": "a"}, {"a": {"x": 1}}),
        ("[g]\nh\n[g:vars]\n  a = 1\nb= 2\nc =3\n", {"g": "h"}, {"h": {"a": 1, "b": 2, "c": 3}}),
        ("[p]\nh x=1\n[p:children]\nc # why\n[c]\nh x=2\nk\n", {"p": "h k", "c": "h k"}, {"h": {"x": 2}, "k": {}}),
        ("[g]\r\nh\tx=1\ty=2\r\n", {"g": "h"}, {"h": {"x": 1, "y": 2}}),
        ("[web]\nweb\n[web:vars]\nx=1\n", {"web": "web"}, {"web": {"x": 1}}),
    ],
)  # fmt: skip
def test_ini(text: str, groups: dict[str, str], hostvars: dict[str, Any] | None, tmp_path: Path) -> None:
    inventory = read(tmp_path, {"hosts": text})
    assert {name: inventory.hosts_in(name) for name in groups} == {name: text.split() for name, text in groups.items()}
    members = {host for hosts in groups.values() for host in hosts.split()}
    assert set(inventory.hosts) == members
    if hostvars is not None:
        assert variables(inventory) == hostvars


VALUES = [
    ("1", 1), ("1.5", 1.5), ("True", True), ("true", "true"), ("yes", "yes"), ("None", None), ("0644", "0644"),
    ("1_000", 1000), ("0x10", 16), ("1e3", 1000.0), ("", ""), ("a=b", "a=b"), ("a,b", "a,b"), ("(1,2)", [1, 2]),
]  # fmt: skip
ON_LINES = [
    *VALUES, ('"quoted str"', "quoted str"), ("'single'", "single"), ("[1,2]", [1, 2]), ("'1'", 1), ("\"'1'\"", "1"),
    ('"[1, 2]"', [1, 2]), ("\"{'a': 1}\"", {"a": 1}), ("'\"x\"'", "x"), ('"{{ x }}"', "{{ x }}"), ("{{x}}", "{{x}}"),
    ("x\\ y", "x y"),
]  # fmt: skip
IN_SECTIONS = [
    *VALUES, ('"quoted str"', "quoted str"), ("'single'", "single"), ("[1,2]", [1, 2]), ("{'a':1}", {"a": 1}),
    ('"[1, 2]"', "[1, 2]"), ("'\"x\"'", '"x"'), ("a b c", "a b c"), ("'1'", "1"), ("a # b", "a # b"), ('"x" # c', "x"),
    ('"a # b"', "a # b"), ("#x", "#x"), ("{'a': '{{ x }}'}", {"a": "{{ x }}"}), ("x;y", "x;y"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ON_LINES)
def test_values_on_a_host_s_line(text: str, expected: Any, tmp_path: Path) -> None:
    assert variables(read(tmp_path, {"hosts": f"h v={text}\n"})) == {"h": {"v": expected}}


@pytest.mark.parametrize(("text", "expected"), IN_SECTIONS)
def test_values_in_a_section_of_variables(text: str, expected: Any, tmp_path: Path) -> None:
    assert variables(read(tmp_path, {"hosts": f"h\n[all:vars]\nv={text}\n"})) == {"h": {"v": expected}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h a\n", "hosts:1:1: expected name=value, not 'a'"),
        ("[g\nx\n", "hosts:1:1: not a section: [g; write [group], [group:vars] or [group:children]"),
        ("[g:foo]\n", "hosts:1:1: unknown section kind ':foo'; use :vars or :children"),
        ("[a:children]\nb\n[b:children]\na\n", "hosts:4:1: group 'a' cannot be below itself, through 'b'"),
        ("[p:children]\nweb\n[wep]\na\n", "hosts:2:1: there is no group 'web'; did you mean 'wep'?"),
        ("[nope:vars]\na=1\n", "hosts:1:1: there is no group 'nope'; add a section [nope]"),
        ("w[3:1]\n", "hosts:1:1: the range [3:1] is empty: its end comes before its begin"),
        ("w[01:100]\n", "hosts:1:1: both ends of [01:100] need the same number of digits"),
        ("w[1:x]\n", "hosts:1:1: [1:x] is not a range of numbers or of letters"),
        ("w[1:9:0]\n", "hosts:1:1: the step of [1:9:0] must be at least 1"),
        ("a 'b\n", "hosts:1:1: cannot read the line: No closing quotation"),
        ("  -oProxyCommand=x\n", "hosts:1:3: '-oProxyCommand=x' cannot be the name of a host"),
        ("[g:vars]\nx\n", "hosts:2:1: expected name=value, not 'x'"),
    ],
)
def test_wrong_lines_are_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Problems) as refused:
        read(tmp_path, {"hosts": text})
    assert str(refused.value).replace(f"{tmp_path}/", "") == message


def test_every_wrong_source_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"one": "[g\n", "two.yml": "web: {host: {}}\n", "three": "a b\n"})
    with pytest.raises(Problems) as refused:
        load([str(tmp_path / name) for name in ("one", "two.yml", "three", "none")])
    assert len(refused.value.errors) == 4


@given(st.integers(0, 120), st.integers(0, 120), st.integers(1, 7), st.integers(0, 4))
def test_ranges_of_numbers(first: int, last: int, step: int, width: int) -> None:
    left, right = str(first).zfill(width), str(last).zfill(width)
    padded = left.startswith("0") and len(left) > 1
    if last < first or (padded and len(left) != len(right)):
        with pytest.raises(InventoryError):
            expand(f"w[{left}:{right}:{step}]")
    elif not (left.startswith("0") and len(left) != len(right)):
        numbers = range(first, last + 1, step)
        assert expand(f"w[{left}:{right}:{step}].x") == [
            f"w{str(n).zfill(len(left) if padded else 0)}.x" for n in numbers
        ]


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("a", "a", None), ("a:22", "a", 22), ("a.b-c:2222", "a.b-c", 2222), ("::1", "::1", None), ("[::1]:22", "::1", 22),
        ("[::1]", "::1", None), ("2001:db8::1", "2001:db8::1", None), ("w[1:2]", "w[1:2]", None),
        ("w[1:2]:22", "w[1:2]", 22), ("w[1:2]x[a:b].c:5", "w[1:2]x[a:b].c", 5), ("10.0.0.1:22", "10.0.0.1", 22),
        ("[1:3]", "[1:3]", None), ("[1:3]:22", "[1:3]", 22),
    ],
)  # fmt: skip
def test_ports(text: str, name: str, port: int | None) -> None:
    assert split_port(text) == (name, port)


# --- YAML, JSON, scripts, lists, folders ---


@pytest.mark.parametrize(
    ("text", "groups", "hostvars"),
    [
        ("all:\n  hosts:\n    a:\n    b: {x: 1}\n  vars: {v: 1}\n  children:\n    g:\n      hosts:\n        a: {y: 2}\n"
         "        w[1:2]: {q: 1}\n      vars: {gv: '{{ v }}'}\n      children: {sub: {hosts: {s: {}}}}\n    e:\n",
         {"ungrouped": "b", "g": "a w1 w2 s", "sub": "s", "e": ""},
         {"a": {"v": 1, "gv": "{{ v }}", "y": 2}, "b": {"v": 1, "x": 1}, "w1": {"v": 1, "gv": "{{ v }}", "q": 1},
          "w2": {"v": 1, "gv": "{{ v }}", "q": 1}, "s": {"v": 1, "gv": "{{ v }}"}}),
        ("web: {hosts: {'w1:2222': , '::1': }}\n", {"web": "w1 ::1"}, {"w1": {"ansible_port": 2222}, "::1": {}}),
        ("web: {hosts: w1}\n", {"web": "w1"}, {"w1": {}}),
        ("all: {children: {web: , db: }}\nweb: {hosts: {a: }}\ndb: {hosts: {b: {x: 1}}}\n", {"web": "a", "db": "b"},
         {"a": {}, "b": {"x": 1}}),
        ("all:\n  children:\n    a: {hosts: {h: {x: 1}}}\n    b: {hosts: {h: {y: 1}}, children: {a: }}\n",
         {"a": "h", "b": "h"}, {"h": {"x": 1, "y": 1}}),
        ('{"all": {"hosts": {"a": {"x": 1}}}}', {"ungrouped": "a"}, {"a": {"x": 1}}),
    ],
)  # fmt: skip
def test_yaml(text: str, groups: dict[str, str], hostvars: dict[str, Any], tmp_path: Path) -> None:
    inventory = read(tmp_path, {"hosts.yml": text}, "hosts.yml")
    assert {name: inventory.hosts_in(name) for name in groups} == {name: text.split() for name, text in groups.items()}
    assert variables(inventory) == hostvars


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web: {host: {a: }}\n", "h.yml:1:7: unknown key 'host' in group 'web'; use hosts, vars or children"),
        ("web: {hosts: [a, b]}\n", "h.yml:1:7: hosts of group 'web' must be a mapping, not sequence"),
        ("- a\n", "h.yml:1:1: a YAML inventory is a mapping of groups"),
        ("web: {hosts: {'a b': }}\n", "h.yml:1:15: 'a b' cannot be the name of a host"),
        ("a: {children: {a: }}\n", "h.yml:1:16: group 'a' cannot be below itself, through 'a'"),
    ],
)
def test_wrong_yaml_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Problems) as refused:
        read(tmp_path, {"h.yml": text}, "h.yml")
    assert str(refused.value).replace(f"{tmp_path}/", "") == message


def test_a_script(tmp_path: Path) -> None:
    document = {
        "g": {"hosts": ["a", "b"], "vars": {"v": 1, "t": "{{ v }}"}, "children": ["k"]}, "k": ["c"],
        "_meta": {"hostvars": {"a": {"x": 1}}},
    }  # fmt: skip
    inventory = read(tmp_path, {"s": f"#!/bin/sh\ncat <<'END'\n{json.dumps(document)}\nEND\n"}, "s")
    assert inventory.hosts_in("g") == ["a", "b", "c"]
    assert variables(inventory)["a"] == {"v": 1, "t": "{{ v }}", "x": 1}


def test_a_script_that_is_asked_for_each_host(tmp_path: Path) -> None:
    text = '#!/bin/sh\nif [ "$1" = --list ]; then echo \'{"g": ["a", "b"]}\'; else echo "{\\"n\\": \\"$2\\"}"; fi\n'
    assert variables(read(tmp_path, {"s": text}, "s")) == {"a": {"n": "a"}, "b": {"n": "b"}}


@pytest.mark.parametrize(
    ("body", "message"),
    [("exit 3", "ended with 3"), ("echo no", "did not print JSON"), ("echo '[]'", "must print a JSON object"),
     ("echo '{\"g\": [\"-x\"]}'", "cannot be the name of a host")],
)  # fmt: skip
def test_a_wrong_script(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Problems, match=message):
        read(tmp_path, {"s": f"#!/bin/sh\n{body}\n"}, "s")


def test_lists_files_and_folders_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {
        "d/10-a": "[g]\na x=1\n", "d/20-b.yml": "g: {hosts: {a: {x: 2}}}\n", "d/.hidden": "zz\n", "d/x.bak": "[q]\nb\n",
        "d/README.md": "# read me\n", "d/sub/more": "[g]\nc\n", "d/group_vars/g.yml": "gv: 1\n", "one": "[g]\na y=1\n",
    })  # fmt: skip
    inventory = load(["d", "one", "l1,l2:2222"])
    assert inventory.hosts_in("g") == ["a", "c"]
    assert variables(inventory) == {
        "a": {"x": 2, "y": 1, "gv": 1}, "c": {"gv": 1}, "l1": {}, "l2": {"ansible_port": 2222},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("h.yml", "plugin: aws_ec2\n", "h.yml:1:1: there is no inventory plugin 'aws_ec2'; use constructed or generator,"),
        ("h.yml", "plugin: constructed\nkeyed_group: []\n", "h.yml:1:1: unknown key 'keyed_group'; use one of plugin,"),
        ("h.yml", "plugin: constructed\nkeyed_groups: [{prefix: x}]\n", "h.yml:1:1: an entry of keyed_groups has a key"),
        ("h.yml", "plugin: constructed\nkeyed_groups: [{key: '1'}]\n", "h.yml:2:16: a key gives a text, a list or a"),
        ("h.yml", "plugin: constructed\nstrict: true\ncompose: {x: nosuch}\n", "h.yml:3:14: 'nosuch' is undefined"),
        ("h.yml", "plugin: constructed\nstrict: true\nkeyed_groups: [{key: \"''\"}]\n", "h.yml:3:16: no key"),
        ("h.yml", "plugin: constructed\nkeyed_groups: [{key: x, default_value: y, trailing_separator: false}]\n",
         "h.yml:2:16: default_value and trailing_separator cannot both be given"),
        ("h.yml", "plugin: generator\n", "h.yml:1:1: generator needs hosts with a name, and layers"),
        ("h.yml", "plugin: generator\nhosts: {name: a, parents: [b]}\nlayers: {l: [1]}\n", "h.yml:2:28: a parent has a name"),
        ("h.toml", "[web\n", "h.toml: not TOML: "),
        ("h", "---\nweb: {hosts: [\n", "h:3:1: not YAML: "),
        ("h", "#!/bin/sh\necho '{\"g\": {\"hosts\": {\"a\": 1}}}'\n", "h: hosts of group 'g' must be a list"),
        ("h", "#!/bin/sh\necho '{\"g\": 5}'\n", "h: group 'g' must be an object"),
    ],
)  # fmt: skip
def test_a_wrong_source_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, {"base": "a\n", name: text})
    with pytest.raises(Problems) as refused:
        load([str(tmp_path / "base"), str(tmp_path / name)])
    assert str(refused.value).replace(f"{tmp_path}/", "").startswith(message)


def test_this_machine_is_in_no_group_unless_somebody_names_it(tmp_path: Path) -> None:
    inventory = read(tmp_path, {"hosts": "[g]\na\n"})
    assert select("localhost", inventory) == ["localhost"]
    inventory.settle()
    assert select("all", inventory) == select("*", inventory) == ["a"]
    inventory.add_host("localhost", "g")
    assert select("all", inventory) == ["a", "localhost"]
