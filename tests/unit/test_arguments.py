"""key=value text and free forms are taken apart as Ansible does; the rows were tried with ansible-core 2.19."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay import catalog
from opsplay.errors import LanguageError, Location
from opsplay.language.arguments import free_form, key_values, split_words

AT = Location("play.yml", 1)
SHELL = catalog.find("shell")
assert SHELL is not None


@pytest.mark.parametrize(
    ("text", "named", "command"),
    [
        ('echo "a b" creates=/x', {"creates": "/x"}, 'echo "a b"'),
        ("creates=/x echo hi", {"creates": "/x"}, "echo hi"),
        ('echo hi creates="/a b"', {"creates": "/a b"}, "echo hi"),
        ("ls creates={{ x }}", {"creates": "{{ x }}"}, "ls"),
        ('ls creates={{ a | default("b c") }}', {"creates": '{{ a | default("b c") }}'}, "ls"),
        ("echo {{ a b }}", {}, "echo {{ a b }}"),
        ('echo "x=y"', {}, 'echo "x=y"'),
        ("FOO=bar ls", {}, "FOO=bar ls"),
        ("make cmd=all argv=2", {}, "make cmd=all argv=2"),
        ("echo 'a b' \"c d\"", {}, "echo 'a b' \"c d\""),
        ('echo "a\\"b" creates=/x', {"creates": "/x"}, 'echo "a\\"b"'),
        ('echo "creates=/x"', {}, 'echo "creates=/x"'),
        ("ls   -l    /tmp", {}, "ls   -l    /tmp"),
        ("echo a\n  creates=/x\n  b", {"creates": "/x"}, "echo a\n  b"),
        ("echo creates=/x /x creates=/y", {"creates": "/y"}, "echo /x"),
        ("cp \\\n  a b", {}, "cp   a b"),
        ("dd if=/dev/zero of=/x bs=1 creates=/x", {"creates": "/x"}, "dd if=/dev/zero of=/x bs=1"),
        ("echo '{{ a }}' chdir=\"{{ b }}\"", {"chdir": "{{ b }}"}, "echo '{{ a }}'"),
        ("awk '{print $1}' f", {}, "awk '{print $1}' f"),
        ('echo "{{ x | regex_replace(\'a b\', "c d") }}"', {}, 'echo "{{ x | regex_replace(\'a b\', "c d") }}"'),
        ("echo {% if a %} b {% endif %}", {}, "echo {% if a %} b {% endif %}"),
        ("echo a # comment", {}, "echo a # comment"),
        ('stdin="a\nb" cat', {"stdin": "a\nb"}, "cat"),
        ("stdin='a\\nb' cat", {"stdin": "a\nb"}, "cat"),
        ("{{ cmd }} creates=/x", {"creates": "/x"}, "{{ cmd }}"),
        ("executable=/bin/bash echo x", {"executable": "/bin/bash"}, "echo x"),
        ("echo a creates=", {"creates": ""}, "echo a"),
        ("echo hello\\nworld", {}, "echo hello\\nworld"),
        ("echo it's", {}, "echo it's"),
        ("", {}, ""),
    ],
)
def test_free_form(text: str, named: dict[str, str], command: str) -> None:
    assert SHELL is not None
    assert free_form(text, SHELL.params, AT) == (named, command)


@pytest.mark.parametrize(
    ("text", "named", "rest"),
    [
        ("name=x state=present", {"name": "x", "state": "present"}, ""),
        ("name=\"a b\" state='c d'", {"name": "a b", "state": "c d"}, ""),
        ('name={{ x | default("a b") }} state=x', {"name": '{{ x | default("a b") }}', "state": "x"}, ""),
        ('msg="a=b c"', {"msg": "a=b c"}, ""),
        ("a=b=c", {"a": "b=c"}, ""),
        ('msg="it\'s"', {"msg": "it's"}, ""),
        ("msg='say \"hi\"'", {"msg": 'say "hi"'}, ""),
        ('line="a \\"b\\" c"', {"line": 'a "b" c'}, ""),
        ("regexp='^a\\s+b$'", {"regexp": "^a\\s+b$"}, ""),
        ("line='\\1x'", {"line": "\\1x"}, ""),
        ('content="a\\nb"', {"content": "a\nb"}, ""),
        ("dest=C:\\\\x", {"dest": "C:\\x"}, ""),
        ("msg=\\u00e9\\x41", {"msg": "éA"}, ""),
        ("a=1\nb=2", {"a": "1", "b": "2"}, ""),
        ("a = b", {}, "a = b"),
        ('msg={{ {"a": 1} }}', {"msg": '{{ {"a": 1} }}'}, ""),
        ("x={% if a %}b c{% endif %}", {"x": "{% if a %}b"}, "c{% endif %}"),
        ('name="" state=', {"name": "", "state": ""}, ""),
        ("word name=x", {"name": "x"}, "word"),
        ("path=~/x mode=0644", {"path": "~/x", "mode": "0644"}, ""),
    ],
)
def test_key_values(text: str, named: dict[str, str], rest: str) -> None:
    assert key_values(text, AT) == (named, rest)


@pytest.mark.parametrize("text", ['name="x', "name={{ x", "name='a b"])
def test_what_does_not_end_is_refused(text: str) -> None:
    with pytest.raises(LanguageError, match=r"^play.yml:1: a quote or a template expression does not end"):
        key_values(text, AT)


WORDS = st.lists(st.text(st.sampled_from("ab=/ '\"-"), min_size=1, max_size=8), max_size=6)


@given(WORDS)
def test_quoted_words_are_split_as_the_shell_does(words: list[str]) -> None:
    """Without templates and backslashes the words are those of a shell."""
    text = " ".join(f"'{word}'" if "'" not in word else f'"{word}"' for word in words if not {"'", '"'} <= set(word))
    assert [shlex.split(word)[0] for word in split_words(text)] == shlex.split(text)


@given(st.text(st.sampled_from("ab =\n'\"\\{}%"), max_size=30))
def test_a_free_form_without_parameters_stays_as_it_was_written(text: str) -> None:
    assert SHELL is not None
    named, command = free_form(text, SHELL.params, AT)
    assert named == {}
    assert "\\" in text or command == text.lstrip().rstrip(" ")
