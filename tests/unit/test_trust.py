"""What hosts, lookups and files say is data: no filter, test, loop or nesting turns it into a template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsplay.documents.values import Template, plain, trust
from opsplay.documents.yaml import parse
from opsplay.errors import TemplateError
from opsplay.templating import lookups
from opsplay.templating.environment import ExpressionEnvironment, missing
from opsplay.templating.loops import expand_with
from opsplay.templating.templar import Templar

# Evaluated, each of these would call `canary`, or leave out what surrounds it.
CANARIES = (
    "{{ canary() }}",
    "{% if canary() %}x{% endif %}",
    "{{ [canary()] | join }}",
    "{{canary()}}\n",
    "{%- do canary() %}",
)
COMMENT = "a{# gone #}b"
ENVIRONMENT = ExpressionEnvironment()
assert "ipaddr" in ENVIRONMENT.filters and "mac" in ENVIRONMENT.tests  # all collections are loaded
FILTERS = sorted(name for name in ENVIRONMENT.filters if "." not in name)
TESTS = sorted(name for name in ENVIRONMENT.tests if name.isidentifier())
# Those left out run programs or make files that they are told of: what they find has its own test.
LOOKUPS = sorted(lookups.NAMES - {"pipe", "lines", "password"})

# Arguments for the filters that need some.
ARGUMENTS = {
    "regex_replace": "('x', 'y')", "regex_search": "('.*')", "regex_findall": "('.+')", "replace": "('x', 'y')",
    "ternary": "(data, data)", "attr": "('x')", "batch": "(2)", "combinations": "(1)", "permutations": "(1)", "default": "(data)", "d": "(data)",
    "groupby": "('x')", "map": "('upper')", "select": "('string')", "reject": "('number')", "selectattr": "('x')",
    "rejectattr": "('x')", "slice": "(2)", "extract": "({data: data})", "pow": "(2)", "rekey_on_member": "('x')",
    "subelements": "('x')", "union": "([data])", "intersect": "([data])", "difference": "([1])", "product": "([data])",
    "json_query": "('@')", "lists_mergeby": "([{'x': data}], 'x')", "dict_kv": "(data)", "keep_keys": "(target=['x'])",
    "remove_keys": "(target=['y'])", "replace_keys": "(target=[{'before': 'x', 'after': data}])", "get_path": "('x')",
    "groupby_as_dict": "('x')", "index_of": "('eq', data)", "lists_union": "([data])", "lists_difference": "([1])",
    "lists_intersect": "([data])", "lists_symmetric_difference": "([1])", "ipaddr": "(data)", "password_hash": "('md5')",
    "symmetric_difference": "([1])", "zip": "([data])", "zip_longest": "([data])", "format": "(data)", "combine": "({})",
}  # fmt: skip


class Watched:
    """A templar whose data knows nothing of `canary`, and a count of how often it was called all the same."""

    def __init__(self, data: Any, folder: str = "/nonexistent", **trusted: Any) -> None:
        self.calls = 0
        known = {"data": data, **trust(trusted)}
        globals = {**lookups.make_lookups(folder, lambda patterns: ["h"]), "canary": self.canary}
        self.templar = Templar(lambda name: known.get(name, missing), globals, lambda: known)

    def canary(self) -> str:
        self.calls += 1
        return "sang"

    def render(self, text: str) -> Any:
        return self.templar.render(Template(text))


def wrapped(text: str) -> list[Any]:
    return [text, [text], {"x": text, text: [text]}, [{"x": text, "y": [text]}]]


@pytest.mark.parametrize("filter_name", FILTERS)
def test_no_filter_evaluates_data(filter_name: str) -> None:
    for canary in CANARIES:
        for data in wrapped(canary):
            watched = Watched(data, through="{{ data | " + filter_name + ARGUMENTS.get(filter_name, "") + " }}")
            for text in ("{{ through }}", "{{ [through, [through]] }}", "a {{ through }}", "{{ {'k': through}.k }}"):
                try:
                    once = watched.render(text)
                    watched.templar.render(once)
                    watched.templar.render([{"again": once}])
                except (TemplateError, TypeError):  # the filter wants other data
                    pass
            assert watched.calls == 0, (filter_name, data)


data = st.recursive(
    st.sampled_from(CANARIES) | st.sampled_from(CANARIES).map(lambda text: f"a {text} b") | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", *CANARIES]), inner, max_size=3),
    max_leaves=6,
)
arguments = st.lists(st.sampled_from(["data", "[data]", "'x'", "1", "{'x': data}"]), max_size=2).map(", ".join)


def watch_through(through: str, data: Any) -> None:
    """Nothing of the data is evaluated on its way through an expression, nor when what came out is rendered again."""
    watched = Watched(data, through="{{ " + through + " }}")
    for text in ("{{ through }}", "{{ [through] }}", "a {{ through }}", "{% for one in through %}{{ one }}{% endfor %}"):
        try:
            once = watched.render(text)
            watched.templar.render({"again": [once]})
        except (TemplateError, TypeError):  # the filter, test or lookup wants other data
            pass
    assert watched.calls == 0, (through, data)


@settings(max_examples=400, deadline=None)
@given(data, st.lists(st.sampled_from(FILTERS), min_size=1, max_size=3), arguments)
def test_no_chain_of_filters_evaluates_data(data: Any, filters: list[str], given: str) -> None:
    chain = "".join(f" | {name}{ARGUMENTS.get(name, f'({given})' if given else '')}" for name in filters)
    watch_through(f"data{chain}", data)


@settings(max_examples=300, deadline=None)
@given(data, st.sampled_from(TESTS), arguments)
def test_no_test_evaluates_data(data: Any, test: str, given: str) -> None:
    watch_through(f"data is {test}({given})", data)
    watch_through(f"[data, data] | select('{test}') | list", data)


@settings(max_examples=300, deadline=None)
@given(data, st.sampled_from(LOOKUPS), arguments)
def test_no_lookup_evaluates_data(data: Any, lookup: str, given: str) -> None:
    watch_through(f"query('{lookup}', data{', ' + given if given else ''})", data)
    watch_through(f"lookup('{lookup}', data, errors='ignore')", data)


def test_what_a_lookup_finds_is_data(tmp_path: Path) -> None:
    """Files, rows and answers of programs may hold braces: they come out as they are, also from `with_NAME`."""
    canary = "{{ canary() }}"
    for name, text in {
        "a.txt": canary, "a.ini": f"[s]\nk = {canary}\n", "a.csv": f"k,{canary}\n", "t.j2": "{{ data }}",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    watched = Watched(canary, str(tmp_path))
    for text in (
        "{{ lookup('file', 'a.txt') }}", "{{ lookup('ini', 'k', section='s', file='a.ini', interpolation=false) }}",
        "{{ lookup('csvfile', 'k', file='a.csv', delimiter=',') }}", "{{ lookup('template', 't.j2') }}",
        "{{ lookup('pipe', 'cat a.txt') }}", "{{ lookup('lines', 'cat a.txt') }}", "{{ lookup('vars', 'data') }}",
        "{{ lookup('unvault', 'a.txt') }}", "{{ lookup('password', 'a.txt') }}", "{{ query('items', [data])[0] }}", "{{ lookup('file', 'a.txt') | trim }}",
    ):  # fmt: skip
        assert watched.render(text) == canary
    for name, value in (("file", "a.txt"), ("lines", "cat a.txt"), ("items", [canary]), ("list", [canary])):
        items = expand_with(name, value, lookups.context_of(watched.templar))
        assert watched.templar.render(items) == [canary]
    assert watched.calls == 0


@pytest.mark.parametrize("canary", [*CANARIES, COMMENT])
def test_data_comes_out_as_it_went_in(canary: str) -> None:
    watched = Watched(canary)
    for text in ("{{ data }}", "{{ data | string }}", "{{ [data] | first }}", "{{ {'k': data}.k }}", "{{ data ~ '' }}"):
        assert watched.render(text) == canary
    assert watched.render("<{{ data }}>") == f"<{canary}>"
    assert watched.render("{% for one in [data] %}{{ one }}{% endfor %}") == canary
    assert watched.render("{{ data | to_json }}") == json.dumps(canary)
    assert watched.render("{{ data | to_json | from_json }}") == canary
    assert watched.render("{{ data | b64encode | b64decode }}") == canary
    assert watched.templar.file("{{ data }}", {}, (), trust_place()) == canary
    assert watched.render("{{ lookup('items', [data]) }}") == canary
    assert watched.calls == 0


def trust_place() -> Any:
    from opsplay.errors import Location

    return Location("template.j2")


@given(
    st.recursive(
        st.sampled_from(CANARIES) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", *CANARIES]), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    st.lists(
        st.sampled_from(["{{ v | string }}", "{{ v }}", "{{ [v, v] }}", "{{ {'x': v} }}", "{{ v | to_json }}"]),
        max_size=4,
    ),
)
def test_chains_of_variables_do_not_turn_data_into_templates(data: Any, chain: list[str]) -> None:
    names = ["data", *(f"v{number}" for number in range(len(chain)))]
    variables = {names[number + 1]: text.replace("v", names[number]) for number, text in enumerate(chain)}
    watched = Watched(data, **{name: text for name, text in variables.items() if name != "data"})
    result = watched.render("{{ " + names[-1] + " }}")
    assert watched.templar.render(result) == result
    assert watched.calls == 0


def test_a_condition_on_data_compares_and_does_not_evaluate() -> None:
    watched = Watched("canary() == 'sang'")
    assert watched.templar.condition(Template("data is string"))
    with pytest.raises(TemplateError, match="cannot come from data"):
        watched.templar.condition(Template("{{ [data] }}"))
    with pytest.raises(TemplateError, match="cannot come from data"):
        watched.templar.condition("canary()")
    assert watched.calls == 0


def test_what_is_tagged_unsafe_is_data() -> None:
    document = parse("a: !unsafe '{{ canary() }}'\nb: !unsafe {c: ['{{ canary() }}']}\nd: '{{ 1 + 1 }}'\n", "f")[0]
    watched = Watched("")
    assert watched.templar.render(document) == {"a": "{{ canary() }}", "b": {"c": ["{{ canary() }}"]}, "d": 2}
    assert watched.calls == 0


def test_rendering_gives_plain_strings() -> None:
    """What was rendered once is never a template again: not even what the user wrote."""
    result = Watched("").render("{{ '{{ canary() }}' }}")
    assert type(result) is str
    assert type(plain(Template("{{ x }}"))) is str


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}", "{{ lookup.__globals__ }}", "{{ data.__init__ }}", "{{ canary.__self__ }}",
        "{{ ''['__class__'] }}", "{{ '' | attr('__class__') }}", "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}", "{{ '{0.__class__}'.format(1) }}", "{{ __templar__._variables }}",
        "{{ __templar__.globals }}", "{{ __lookups__.hosts }}", "{{ lookup.__closure__ }}", "{{ data._settle() }}",
    ],
)  # fmt: skip
def test_the_sandbox_holds(text: str) -> None:
    with pytest.raises((TemplateError, jinja2.TemplateError)):
        Watched("").render(text)
