"""Whatever a tree of files holds, it is answered with messages and never with a crash."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsplay.cli.check import check
from opsplay.language import keywords

WORDS = sorted(
    keywords.PLAY | keywords.BLOCK | keywords.TASK | keywords.LOOP_CONTROL | keywords.ROLE | keywords.PROMPT
    | {"import_tasks", "include_tasks", "import_role", "include_role", "import_playbook", "include", "dependencies",
       "command", "copy", "template", "set_fact", "debug", "assert", "meta", "file", "src", "dest", "path", "that", "var",
       "msg", "apply", "tasks_from", "with_items", "with_dict", "with_", "argument_specs", "main", "options"}
)  # fmt: skip
TEXTS = st.sampled_from(
    ["", "a", "x.yml", "main", "r", "all", "{{ a }}", "{{ a", "{% if a %}", "{{ a | nofilter }}", "a is b", "a =", "'a' or b",
     "p.yml", "../p.yml", "never", "1", "yes", "a-b", "\u202e", "{{ lookup('x') }}", "{{ [1] | map('y') }}", "a=b c='d", "/",
     "{{ 'a' * 9 }}", "{#", "\\"]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-2, 99) | st.floats(allow_nan=False) | TEXTS
KEYS = st.sampled_from(WORDS) | TEXTS | st.integers(0, 3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=25
)
TASKS = st.lists(st.dictionaries(st.sampled_from(WORDS), VALUES, min_size=1, max_size=4), max_size=4)
PLAYS = st.lists(
    st.fixed_dictionaries(
        {"hosts": st.just("all") | VALUES},
        optional={"tasks": TASKS, "handlers": TASKS, "roles": VALUES, "vars": VALUES, "pre_tasks": TASKS,
                  "vars_files": VALUES, "vars_prompt": VALUES, "become_user": VALUES, "serial": VALUES, "tags": VALUES},
    ),
    max_size=3,
)  # fmt: skip
FILES = ("p.yml", "x.yml", "roles/r/tasks/main.yml", "roles/r/meta/main.yml", "roles/r/handlers/main.yml",
         "roles/r/defaults/main.yml", "roles/r/tasks/a.yml", "group_vars/all.yml", "inventory/hosts.yml")  # fmt: skip

_number = itertools.count()


def answer(folder: Path, files: dict[str, str]) -> None:
    place = folder / str(next(_number))
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(UnicodeEncodeError):
            (place / name).write_text(text)
    done = CliRunner().invoke(check, [str(place), "-i", str(place / "inventory"), "--tags", "a"])
    shutil.rmtree(place)
    assert done.exception is None or isinstance(done.exception, SystemExit), (files, done.exception)
    assert done.exit_code in (0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


ANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@ANY
@given(plays=PLAYS, others=st.dictionaries(st.sampled_from(FILES[1:]), TASKS | VALUES, max_size=4))
def test_trees_of_random_yaml(plays: Any, others: dict[str, Any], folder: Path) -> None:
    files = {"p.yml": plays, "inventory/hosts": {}, **others}
    answer(folder, {name: yaml.safe_dump(value) for name, value in files.items()})


@ANY
@given(text=st.text(st.sampled_from("-: {}[]'\"\n\t#|>&*!%@a\\x{}ü\x00")), name=st.sampled_from(FILES))
def test_files_that_are_hardly_yaml(text: str, name: str, folder: Path) -> None:
    answer(folder, {"p.yml": "- hosts: all\n  roles: [r]\n", "inventory/hosts": "a\n", name: text})
