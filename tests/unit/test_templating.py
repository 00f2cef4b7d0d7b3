"""Expressions, filters, tests and lookups, by tables tried with ansible-core; what may go wrong, with its place."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.documents.values import Template, trust
from opsplay.errors import Location, TemplateError, UndefinedVariable
from opsplay.templating.environment import missing
from opsplay.templating.filters.passwords import password_hash
from opsplay.templating.lookups import make_lookups
from opsplay.templating.loops import expand_with
from opsplay.templating.templar import OMIT, Templar

TABLES = Path(__file__).parent / "tables"
AT = Location("play.yml", 3, 7)


def templar(variables: Any = None, folder: str = "/") -> Templar:
    known = trust(variables or {})
    return Templar(lambda name: known.get(name, missing), make_lookups(folder))


def render(text: str, variables: Any = None, folder: str = "/") -> Any:
    return templar(variables, folder).render(Template(text, AT))


def rows(table: str) -> Iterator[Any]:
    variables: dict[str, Any] = {}
    for line in (TABLES / f"{table}.txt").read_text().splitlines():
        if line.startswith("variables: "):
            variables = json.loads(line.removeprefix("variables: "))
        elif not line.startswith("#"):
            text, _, expected = line.rpartition(" => ")
            template = text if table in ("expressions", "lookups") else "{{ " + text + " }}"
            yield pytest.param(template, variables, expected, id=text)


ROWS = [row for table in ("expressions", "filters", "tests", "lookups") for row in rows(table)]


@pytest.mark.parametrize(("template", "variables", "expected"), ROWS)
def test_as_ansible_does(template: str, variables: Any, expected: str) -> None:
    if expected == "!":
        with pytest.raises(TemplateError) as refused:
            render(template, variables)
        assert refused.value.at == AT
    else:
        found = render(template, variables)
        assert (found, type(found)) == (json.loads(expected), type(json.loads(expected)))


# --- where we differ on purpose, or ansible's own result depends on chance ---


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ [3, 1, 3] | union([2, 1]) }}", [3, 1, 2]),
        ("{{ [3, 1, 2] | intersect([2, 3]) }}", [3, 2]),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ {'items': 5}.items }}", 5),
        ("{{ 'a: 2020-01-01' | from_yaml }}", {"a": "2020-01-01"}),
        ("{{ '2020-01-02 03:04:05' | to_datetime }}", "2020-01-02 03:04:05"),
        ("{{ [1, 2] | type_debug }}", "list"),
        ("{{ '/etc/../etc' | realpath }}", "/etc"),
        ("{{ '/a/b' | relpath('/a/c') }}", "../b"),
        ("{{ 1 + now(utc=true, fmt='0') | int }}", 1),
        ("{{ undef(hint='give x') | default('y') }}", "y"),
        ("{{ lookup('vars', 'inner') }}", 7),
        ("{{ query('nested', [1, 2], 'a') }}", [[1, "a"], [2, "a"]]),
        ("{{ query('sequence', 'start=0x0f00 count=2 format=%04x') }}", ["0f00", "0f01"]),
        ("{{ query('sequence', 'start=08 end=09') }}", ["8", "9"]),
        ("{{ query('flattened', [[1], [2, [3, none]]]) }}", [1, 2, 3]),
        ("{{ query('random_choice', [1]) }}", [[1]]),
        ("{{ 'no' is truthy(convert_bool=true) }}", False),
        ("{{ 'v1.2' is version('1.3', '<') }}", True),
        ("{{ {'timedout': {'period': 3}} is timedout }}", True),
    ],
)
def test_our_own_results(template: str, expected: Any) -> None:
    assert render(template, {"inner": "{{ 3 + 4 }}"}) == expected


def test_omit_is_itself_until_somebody_takes_it_away() -> None:
    assert render("{{ nope | default(omit) }}") is OMIT


@pytest.mark.parametrize(
    ("kind", "salt", "rounds", "expected"),
    [
        ("sha256", "saltstring", None, "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
        ("sha512", "saltstring", None, "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OT"
                                       "LiBFdcbYEdFCoEOfaS35inz1"),
    ],
)  # fmt: skip
def test_password_hashes(kind: str, salt: str, rounds: int | None, expected: str) -> None:
    assert password_hash("Hello world!", kind, salt, rounds) == expected


@given(st.text(max_size=140), st.sampled_from(["sha256", "sha512"]), st.sampled_from([None, 1000, 1234]))
def test_password_hashes_are_the_system_s(password: str, kind: str, rounds: int | None) -> None:
    crypt = pytest.importorskip("crypt", exc_type=ImportError)
    ours = password_hash(password, kind, "saltsalt", rounds)
    if "\0" not in password:
        assert crypt.crypt(password, ours) == ours


def test_a_seed_repeats_and_none_does_not() -> None:
    assert render("{{ 1000000 | random(seed='h1') }}") == render("{{ 1000000 | random(seed='h1') }}")
    assert len({render("{{ 1000000000 | random }}") for _ in range(5)}) > 1


# --- lookups that look at files ---


def test_lookups_find_files_beside_the_playbook(tmp_path: Path) -> None:
    for name, text in {
        "files/a.txt": "one\n",
        "files/b.txt": "two",
        "c.txt": "{{ 7*7 }}",
        "templates/t.j2": "v={{ v }}\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    folder = str(tmp_path)
    assert render("{{ lookup('file', 'a.txt') }}", folder=folder) == "one"
    assert render("{{ lookup('file', 'a.txt', rstrip=false) }}", folder=folder) == "one\n"
    assert render("{{ lookup('file', 'c.txt') }}", folder=folder) == "{{ 7*7 }}"
    assert render("{{ lookup('template', 't.j2') }}", {"v": "{{ 1 + 1 }}"}, folder) == "v=2\n"
    assert [Path(name).name for name in render("{{ query('fileglob', '*.txt') }}", folder=folder)] == ["a.txt", "b.txt"]
    assert render("{{ query('fileglob', 'c.*', '*.none') }}", folder=folder) == [f"{folder}/c.txt"]
    assert render("{{ query('first_found', ['none', 'a.txt']) }}", folder=folder) == [f"{folder}/files/a.txt"]
    with pytest.raises(TemplateError, match="there is no file 'none'"):
        render("{{ lookup('file', 'none') }}", folder=folder)
    assert render("{{ lookup('file', 'none', errors='ignore') }}", folder=folder) is None


def test_a_password_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    first = render("{{ lookup('password', 'secrets/db length=12 chars=digits') }}", folder=str(tmp_path))
    assert re.fullmatch(r"\d{12}", first)
    assert render("{{ lookup('password', 'secrets/db') }}", folder=str(tmp_path)) == first
    assert os.stat(tmp_path / "secrets/db").st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path / "secrets") == ["db"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("items", [1, [2, 3], [[4]]], [1, 2, 3, [4]]),
        ("items", "one", ["one"]),
        ("list", [[1], [2]], [[1], [2]]),
        ("dict", {"a": 1}, [{"key": "a", "value": 1}]),
        ("nested", [[1, 2], ["a"]], [[1, "a"], [2, "a"]]),
        ("together", [[1, 2], ["a"]], [[1, "a"], [2, None]]),
        ("sequence", "start=1 end=3 format=web%02d", ["web01", "web02", "web03"]),
        ("indexed_items", ["a", "b"], [[0, "a"], [1, "b"]]),
        ("subelements", [[{"n": 1, "k": ["x", "y"]}], "k"], [[{"n": 1}, "x"], [{"n": 1}, "y"]]),
        ("subelements", [[{"n": 1}], "k", {"skip_missing": True}], []),
        ("first_found", {"files": ["none", "passwd"], "paths": ["/etc"]}, ["/etc/passwd"]),
        ("fileglob", "/etc/passw[d]", ["/etc/passwd"]),
        ("community.general.flattened", [[1], [[2]]], [1, 2]),
        ("ansible.builtin.items", [[1]], [1]),
    ],
)
def test_older_loops(name: str, value: Any, expected: Any) -> None:
    assert expand_with(name, value, "/") == expected


def test_a_failed_older_loop_names_itself() -> None:
    with pytest.raises(TemplateError, match=r"^with_sequence: sequence: end or count must be given"):
        expand_with("sequence", "start=1", "/")


# --- conditions ---

FACTS = {
    "one": 1, "text": "hello", "true_word": "yes", "false_word": "False", "empty": "", "nothing": None,
    "numbers": [1, 2], "reg": {"rc": 0, "changed": True}, "nested": "{{ one == 1 }}", "unset": "{{ nope }}",
}  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (True, True), (False, False), (None, True), (0, False), ([], True), (["one == 1", "text == 'hello'"], True),
        (["one == 1", "false"], False), ("", True), ("one == 1", True), ("one == 2", False), ("not one", False),
        ("nope is defined", False), ("nope.deep is defined", False), ("unset is defined", False),
        ("reg.rc == 0 and reg is changed", True), ("numbers | length > 1", True), ("'ell' in text", True),
        ("[]", False), ("{}", False), ("numbers", True), ("nothing", False), ("empty", False),
        ("true_word", True), ("false_word", False), ("'no'", False), ("'abc'", True), ("nested", True),
        ("{{ one == 1 }}", True), ("{{ false_word }}", False), ("{{ nested }}", True),
        ("{{ [true, false] }}", False), ("{% if one == 1 %}yes{% else %}no{% endif %}", True),
        (r"text is match('^\w+$')", True), (r"'\n' | length == 1", True), ("one == 1  # why", None),
        ("text == hello", None), ("one ==", None), ("{{ text }} == 'hello'", None), ("{{ one }}{{ one }}", None),
        ("nope", None), ("one | nofilter", None), ("one is notest", None), ("one one", None),
        ("{{ ['one == 1'] }}", None),
    ],
)  # fmt: skip
def test_conditions(condition: Any, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(TemplateError) as refused:
            templar(FACTS).condition(trust(condition, AT), AT)
        assert refused.value.at == AT
    else:
        assert templar(FACTS).condition(trust(condition, AT), AT) is expected


def test_a_condition_is_never_taken_from_data() -> None:
    with pytest.raises(TemplateError, match="cannot come from data"):
        templar().condition("1 == 1", AT)


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("template", "variables", "message"),
    [
        ("{{ nope }}", {}, "play.yml:3:7: 'nope' is undefined"),
        ("{{ d.a.b }}", {"d": {}}, "play.yml:3:7: 'dict object' has no attribute 'a'"),
        ("{{ a }}", {"a": "{{ a }}"}, "play.yml:3:7: a variable refers to itself: {{ a }}"),
        ("{{ a }}", {"a": "{{ b }}", "b": ["{{ a }}"]}, "play.yml:3:7: a variable refers to itself: {{ a }}"),
        ("{{ 1 | nope }}", {}, "play.yml:3:7: bad template: No filter named 'nope'."),
        ("{{ 1 +", {}, "play.yml:3:7: bad template: unexpected 'end of template'"),
        ("a\n{% if %}", {}, "play.yml:4: bad template: Expected an expression, got 'end of statement block'"),
        ("{{ 'a' + 1 }}", {}, "play.yml:3:7: {{ 'a' + 1 }}: can only concatenate str (not \"int\") to str"),
        ("{{ lookup('nope') }}", {}, "play.yml:3:7: unknown lookup 'nope'"),
        ("{{ x | mandatory('give x') }}", {}, "play.yml:3:7: give x"),
        ("{{ ''.__class__.__mro__ }}", {}, "play.yml:3:7: access to attribute '__class__' of 'str' object is unsafe."),
        ("{{ [] | map(attribute='__class__') | list }}", {}, None),
        ("{{ 'a' | from_json }}", {}, "play.yml:3:7: {{ 'a' | from_json }}: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_errors_say_where_and_what(template: str, variables: Any, message: str | None) -> None:
    if message is None:
        assert render(template, variables) == []
        return
    with pytest.raises(TemplateError) as refused:
        render(template, variables)
    assert str(refused.value).startswith(message)


def test_an_undefined_part_only_hurts_when_it_is_used() -> None:
    known = {"d": {"good": 1, "bad": "{{ nope }}"}}
    assert render("{{ d.good }}", known) == 1
    with pytest.raises(UndefinedVariable, match="'nope' is undefined"):
        render("{{ d }}", known)


def test_a_file_s_error_has_the_file_s_line() -> None:
    at = Location("web.conf.j2")
    with pytest.raises(UndefinedVariable) as refused:
        templar().file("one\n{{ 1 }}\n{{ nope }}\n", {"trim_blocks": True}, (), at)
    assert str(refused.value) == "web.conf.j2:3: 'nope' is undefined"
    with pytest.raises(TemplateError) as refused:
        templar().file("one\n{% endif %}\n", {}, (), at)
    assert str(refused.value).startswith("web.conf.j2:2: bad template: Encountered unknown tag 'endif'")


def test_files_are_text_with_their_own_rules() -> None:
    text = "{% for i in l %}\n{{ i }}{{ none }}\n{% endfor %}\n'{{ '\\t' }}'\n"
    assert templar({"l": [1, 2]}).file(text, {"trim_blocks": True}, (), AT) == "1\n2\n'\t'\n"


def test_a_template_cannot_change_what_others_see() -> None:
    shared = {"l": [1], "d": {"x": [1]}}
    values = dict(shared.items())
    assert Templar(lambda name: values.get(name, missing)).render(Template("{{ l.append(2) or l }}")) == [1, 2]
    assert Templar(lambda name: values.get(name, missing)).render(Template("{{ d.x.append(2) or d }}")) == {"x": [1, 2]}
    assert shared == {"l": [1], "d": {"x": [1]}}


def test_what_a_filter_gives_once_can_be_used_twice() -> None:
    known = {"names": "{{ [1, 2] | map('string') }}", "keys": "{{ {'a': 1}.keys() }}"}
    assert render("{{ [names | length, names | length, names, keys] }}", known) == [2, 2, ["1", "2"], ["a"]]
    with pytest.raises(UndefinedVariable, match="has no attribute 'x'"):
        render("{{ ['a'] | selectattr('x') }}")


def test_values_of_a_playbook_are_of_built_in_types() -> None:
    found = render("{{ {'a': [text, text | upper, '<b>' | e]} }}", {"text": "x"})
    assert found == {"a": ["x", "X", "&lt;b&gt;"]}
    assert {type(item) for item in found["a"]} == {str}
