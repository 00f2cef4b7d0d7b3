"""Expressions, filters, tests and lookups, by tables tried with ansible-core; what may go wrong, with its place."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.documents.values import Template, trust
from opsplay.errors import Location, TemplateError, UndefinedVariable
from opsplay.inventory.model import Inventory
from opsplay.run.variables import HostVarsView, OneHostView
from opsplay.templating.environment import ExpressionEnvironment, missing
from opsplay.templating.filters.passwords import password_hash
from opsplay.templating.lookups import NAMES, Context, make_lookups
from opsplay.templating.loops import expand_with
from opsplay.templating.search import SearchPath
from opsplay.templating.templar import OMIT, Templar
from tests.oracle import expressions

AT = Location("play.yml", 3, 7)


def templar(variables: Any = None, folder: str = "/") -> Templar:
    known = trust(variables or {})
    lookups = make_lookups(folder, lambda patterns: ["localhost"] if patterns == ["all"] else [])
    hosts = {"localhost": {"inventory_hostname": "localhost"}}
    return Templar(lambda name: known.get(name, missing), {**lookups, "hostvars": hosts}, lambda: known)


def render(text: str, variables: Any = None, folder: str = "/") -> Any:
    return templar(variables, folder).render(Template(text, AT))


# --- what ansible-core makes of the same ---

RECORD = json.loads(expressions.RECORD.read_text())["sections"]
SECTIONS = {section.name: section for section in expressions.sections()}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[expressions.Section], str]:
    """The folder with a section's files."""

    @cache
    def make(name: str) -> str:
        folder = tmp_path_factory.mktemp("section")
        SECTIONS[name].write_files(folder)
        return str(folder)

    return lambda section: make(section.name)


@pytest.mark.parametrize(
    ("name", "expression"),
    [(section.name, expression) for section in SECTIONS.values() for expression in section.expressions],
)
def test_as_ansible_does(name: str, expression: str, folder_of: Callable[[expressions.Section], str]) -> None:
    section, expected = SECTIONS[name], RECORD[name][expression]
    folder = folder_of(section)
    template, variables = expressions.template_of(expression), {"folder": folder, **section.variables}
    if expected is None:
        with pytest.raises(TemplateError) as refused:
            render(template, variables, folder)
        assert refused.value.at is not None
    else:
        found = render(template, variables, folder)
        assert expressions.text_of([found]).replace(folder, expressions.FOLDER) == expressions.text_of(expected)


def test_the_record_is_of_this_table() -> None:
    assert {name: list(section.expressions) for name, section in SECTIONS.items()} == {
        name: list(found) for name, found in RECORD.items()
    }


# Tried below, for they need a server or we differ; and with the vaults.
TRIED_BELOW = {"ipcut", "fqdn_valid", "url", "vault", "unvault"}


def test_every_filter_test_and_lookup_is_tried() -> None:
    environment = ExpressionEnvironment()
    assert "ipaddr" in environment.filters and "mac" in environment.tests  # all collections are loaded
    text = "\n".join(expression for section in SECTIONS.values() for expression in section.expressions)
    wanted = [
        *((name, rf"(\||map\(')\s*([\w.]+\.)?{name}\b") for name in environment.filters if "." not in name),
        *((name, rf"(is( not)?|'\w*',) ([\w.]+\.)?{name}\b") for name in environment.tests if name.isidentifier()),
        *((name, rf"'([\w.]+\.)?{name}'") for name in NAMES),
    ]
    assert {name for name, pattern in wanted if not re.search(pattern, text)} == TRIED_BELOW


# --- where we differ on purpose, or ansible's own result depends on chance ---


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ [3, 1, 3] | union([2, 1]) }}", [3, 1, 2]),
        ("{{ [3, 1, 2] | intersect([2, 3]) }}", [3, 2]),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ {'items': 5}.items }}", 5),
        ("{{ 'a: 2020-01-01' | from_yaml }}", {"a": "2020-01-01"}),
        ("{{ '2020-01-02 03:04:05' | to_datetime }}", "2020-01-02T03:04:05"),
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
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{{ '192.168.144.0/20' | ansible.utils.ipsubnet(18, 0) }}", "192.168.128.0/18"),
        ("{{ '1234:4321:abcd:dcba::17' | ipcut(2) }}", "1234:4321"),
        ("{{ '1234:4321:abcd:dcba::17' | ipcut(-5) }}", "dcba:0:0:0:17"),
        ("{{ '1.1.1.1' | ansible.utils.ipaddr('first_usable') }}", None),
        ("{{ [5, '10.0.0.1'] | ipaddr('private') }}", ["0.0.0.5", "10.0.0.1"]),
        ("{{ '1.a' is version('1.1', '<') }}", True),
        ("{{ '' is uri }}", False),
        ("{{ '2048' | human_readable }}", "2.00 KB"),
        ("{{ {'b': 1, 'a': 2} | pprint }}", "{'a': 2, 'b': 1}"),
        ("{{ 'a.example.com' is community.general.fqdn_valid }}", True),
        ("{{ query('sequence', 'start=1 count=3 stride=-1') }}", ["1", "0", "-1"]),
        ("{{ query('config', 'DEFAULT_FORKS', on_missing='skip') }}", []),
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


def test_bcrypt_hashes_verify_and_bear_their_kind() -> None:
    hashed = password_hash("secret", "bcrypt", rounds=4, ident="2y")
    assert hashed.startswith("$2y$04$")
    assert bcrypt.checkpw(b"secret", hashed.replace("$2y$", "$2b$").encode())
    with pytest.raises(TemplateError, match="22 characters"):
        password_hash("secret", "blowfish", "short")


def test_json_query_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jmespath", None)
    with pytest.raises(TemplateError, match=r"needs the Python package jmespath; pip install 'opsplay\[json_query\]'"):
        render("{{ {'a': 1} | json_query('a') }}")


def test_random_addresses_begin_as_asked_and_differ() -> None:
    found = {render("{{ '52:54' | random_mac }}") for _ in range(5)}
    assert len(found) > 1 and all(re.fullmatch("52:54(:[0-9a-f]{2}){4}", address) for address in found)


# --- lookups that look at files ---


def test_a_role_s_files_come_before_the_playbook_s(tmp_path: Path) -> None:
    for name in ("role/files/a", "play/files/a", "play/b", "play/files/only", "role/templates/t"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    search = SearchPath((str(tmp_path / "role"), str(tmp_path / "play")))
    rendered = Templar(lambda name: missing, make_lookups(search)).render
    assert rendered(Template("{{ lookup('file', 'a') }}")) == "role/files/a"
    assert rendered(Template("{{ lookup('file', 'b') }}")) == "play/b"
    assert rendered(Template("{{ lookup('template', 't') }}")) == "role/templates/t"
    assert rendered(Template("{{ lookup('first_found', ['none', 'only']) }}")) == str(tmp_path / "play/files/only")
    assert rendered(Template("{{ query('fileglob', '*') }}")) == [str(tmp_path / "role/files/a")]
    assert rendered(Template("{{ lookup('pipe', 'pwd') }}")) == str(tmp_path / "play")
    with pytest.raises(TemplateError, match=f"no file 'x' in {tmp_path}/role/files or {tmp_path}/role or {tmp_path}/p"):
        rendered(Template("{{ lookup('file', 'x') }}"))


def test_a_failure_that_is_passed_over_can_be_heard_of() -> None:
    heard: list[str] = []
    lookups = make_lookups("/", warn=heard.append)
    assert Templar(lambda name: missing, lookups).render(Template("{{ lookup('file', 'x', errors='warn') }}")) is None
    assert heard == ["lookup file: there is no file 'x' in /files or /"]


class Answers(BaseHTTPRequestHandler):
    """Tells what it was asked."""

    def do_GET(self) -> None:
        found = self.path != "/none"
        self.send_response(200 if found else 404)
        self.end_headers()
        asked = f"{self.path}\n{self.headers['Authorization']}\n{self.headers['X-A']}\n{{{{ 1 + 1 }}}}\n"
        self.wfile.write(asked.encode())

    def log_message(self, *ignored: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_urls_are_fetched(server: str) -> None:
    asked = f"lookup('url', '{server}/x', headers={{'X-A': 5}}, username='u', password='p', use_proxy=false, "
    assert render("{{ " + asked + "wantlist=true) }}") == ["/x", "Basic dTpw", "5", "{{ 1 + 1 }}"]
    assert render("{{ " + asked + "split_lines=false) }}") == "/x\nBasic dTpw\n5\n{{ 1 + 1 }}\n"
    with pytest.raises(TemplateError, match="HTTP Error 404"):
        render("{{ lookup('url', '" + server + "/none', use_proxy=false) }}")
    with pytest.raises(TemplateError, match="give it http, https or ftp"):
        render("{{ lookup('url', 'file:///etc/passwd') }}")


def test_a_kept_password_can_be_asked_for_as_a_hash(tmp_path: Path) -> None:
    plain = render("{{ lookup('password', 'db length=8') }}", folder=str(tmp_path))
    hashed = render("{{ lookup('password', 'db', encrypt='sha512_crypt') }}", folder=str(tmp_path))
    assert hashed == password_hash(plain, "sha512", hashed.split("$")[2])
    assert render("{{ lookup('password', 'db encrypt=sha512_crypt') }}", folder=str(tmp_path)) == hashed
    assert render("{{ lookup('password', 'db') }}", folder=str(tmp_path)) == plain
    assert os.stat(tmp_path / "db").st_mode & 0o777 == 0o600


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


known = Templar(lambda name: {"web_a": 1, "web_b": 2}.get(name, missing), names=lambda: ["web_a", "web_b"])
ROOT = Context(SearchPath(("/",)), known, lambda patterns: ["h1"] if patterns == ["all:!h2"] else [])


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
        ("varnames", "^web_", ["web_a", "web_b"]),
        ("vars", ["web_a"], [1]),
        ("inventory_hostnames", "all:!h2", ["h1"]),
        ("random_choice", [4], [4]),
        ("lines", "printf 'a\\nb'", ["a", "b"]),
        ("file", "/etc/hostname", [Path("/etc/hostname").read_text().rstrip()]),
        ("community.general.flattened", [[1], [[2]]], [1, 2]),
        ("ansible.builtin.items", [[1]], [1]),
    ],
)
def test_older_loops(name: str, value: Any, expected: Any) -> None:
    assert expand_with(name, value, ROOT) == expected


def test_a_failed_older_loop_names_itself() -> None:
    with pytest.raises(TemplateError, match=r"^with_sequence: sequence: end or count must be given"):
        expand_with("sequence", "start=1", ROOT)


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
        ("{{ nope | upper }}", {}, "play.yml:3:7: 'nope' is undefined in {{ nope | upper }}"),
        ("{{ web_prt }}", {"web_port": 1}, "play.yml:3:7: 'web_prt' is undefined; did you mean 'web_port'?"),
        ("{{ d.a.b }}", {"d": {}}, "play.yml:3:7: 'd' has no key 'a' in {{ d.a.b }}"),
        ("{{ d.e.prt }}", {"d": {"e": {"port": 1}}}, "play.yml:3:7: 'd.e' has no key 'prt'; did you mean 'port'? in"),
        ("{{ {'port': 1}.prt }}", {}, "play.yml:3:7: the dictionary has no key 'prt'; did you mean 'port'?"),
        ("{{ d }}", {"d": {"x": "{{ d.x }}"}}, "play.yml:3:7: a variable refers to itself: d.x -> d.x"),
        ("{{ a }}", {"a": "{{ b }}", "b": "{{ c }}", "c": "{{ a }}"},
         "play.yml:3:7: a variable refers to itself: a -> b -> c -> a"),
        ("{{ 'abc'.upper }}", {}, "play.yml:3:7: {{ 'abc'.upper }}: a function is no value"),
        ("{{ a }}", {"a": "{{ a }}"}, "play.yml:3:7: a variable refers to itself: a -> a"),
        ("{{ a }}", {"a": "{{ b }}", "b": ["{{ a }}"]}, "play.yml:3:7: a variable refers to itself: a -> b[0] -> a"),
        ("{{ 1 | nope }}", {}, "play.yml:3:7: bad template: No filter named 'nope'"),
        ("{{ 1 | to_jsn }}", {}, "play.yml:3:7: bad template: No filter named 'to_jsn'; did you mean 'to_json'?"),
        ("{{ 1 is strng }}", {}, "play.yml:3:7: bad template: No test named 'strng'; did you mean 'string'?"),
        ("{{ lookup('fil', 'x') }}", {}, "play.yml:3:7: unknown lookup 'fil'; did you mean 'file'?"),
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


def test_other_hosts_variables_say_what_is_missing() -> None:
    web = OneHostView("web", templar({"port": 80, "bad": "{{ nope }}"}), ["port", "bad"])
    inventory = Inventory()
    inventory.add_host("web")
    hosts = HostVarsView(inventory, lambda host: web)
    rendered = Templar(lambda name: missing, {"hostvars": hosts}).render
    assert rendered(Template("{{ hostvars['web'].port }} {{ hostvars.web.bad | default('-') }}")) == "80 -"
    assert rendered(Template("{{ hostvars['db'].port | default('-') }}")) == "-"
    with pytest.raises(UndefinedVariable, match=r"^'prt' is not defined for host web in"):
        rendered(Template("{{ hostvars['web'].prt }}"))
    with pytest.raises(UndefinedVariable, match=r"^there is no host 'db' in the inventory in"):
        rendered(Template("{{ hostvars['db'].port }}"))


def test_what_is_not_touched_is_not_rendered() -> None:
    calls: list[str] = []

    def look(name: str) -> Any:
        calls.append(name)
        return {"d": trust({"cheap": "{{ a }}", "dear": "{{ b }}"}), "a": 1, "b": 2}.get(name, missing)

    assert Templar(look).render(Template("{{ d.cheap }} {{ d.cheap }} {{ 'dear' in d }} {{ d | length }}")) == "1 1 True 2"
    assert calls == ["d", "a"]


def test_a_file_s_error_has_the_file_s_line() -> None:
    at = Location("web.conf.j2")
    with pytest.raises(UndefinedVariable) as refused:
        templar().file("one\n{{ 1 }}\n{{ nope }}\n", {"trim_blocks": True}, (), at)
    assert str(refused.value) == "web.conf.j2:3: 'nope' is undefined"
    with pytest.raises(TemplateError) as refused:
        templar().file("one\n{% endif %}\n", {}, (), at)
    assert str(refused.value).startswith("web.conf.j2:2: bad template: Encountered unknown tag 'endif'")


def test_a_file_s_first_line_sets_its_options() -> None:
    text = "#jinja2: variable_start_string: '<<', variable_end_string: '>>', trim_blocks: False\n{% if 1 %}\n<< v >>{% endif %}\n"
    assert templar({"v": 5}).file(text, {"trim_blocks": True}, (), AT) == "\n5\n"
    at = Location("web.conf.j2")
    with pytest.raises(UndefinedVariable, match=r"^web.conf.j2:2: 'nope' is undefined$"):
        templar().file("#jinja2: trim_blocks: False\n{{ nope }}", {}, (), at)
    with pytest.raises(TemplateError, match=r"^web.conf.j2:3: bad template"):
        templar().file("#jinja2: trim_blocks: False\n\n{% endif %}", {}, (), at)
    with pytest.raises(TemplateError, match=r"^web.conf.j2:1: unknown option 'cache_size' in the first line"):
        templar().file("#jinja2: cache_size: 5\n", {}, (), at)
    with pytest.raises(TemplateError, match=r"^web.conf.j2:1: cannot read 'trim_blocks: open\('"):
        templar().file("#jinja2: trim_blocks: open(\n", {}, (), at)


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
