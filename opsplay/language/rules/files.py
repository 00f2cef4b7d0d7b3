"""Rules of files that plays and tasks name: those that are not there, and what is wrong in those that are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsplay.agent.spec import to_bool
from opsplay.documents.values import place_of
from opsplay.documents.yaml import SHELF
from opsplay.errors import DocumentError, LanguageError, LanguageWarning, Location, OpsplayError, TemplateError
from opsplay.language.rules import expressions, names
from opsplay.language.rules.expressions import contains_template
from opsplay.language.rules.steps import Step
from opsplay.model import Task
from opsplay.templating.environment import FileEnvironment
from opsplay.templating.search import SearchPath, read


@dataclass(frozen=True)
class Source:
    """What a module takes of the control side: the parameter that names it, and where it is looked for first."""

    parameter: str
    folder: str
    what: str = "file"
    rule: str = "missing-source"


SOURCES = {
    "template": Source("src", "templates", "template"),
    "copy": Source("src", "files"),
    "unarchive": Source("src", "files"),
    "include_vars": Source("file", "vars", "file of variables", "missing-file"),
}
# Parameters that say that the file is the host's own, or that there is none.
ELSEWHERE = ("remote_src", "content", "copy", "dir")
FLAGS = ("trim_blocks", "lstrip_blocks")


def missing_source(step: Step, folders: tuple[str, ...], may_appear: bool) -> Iterator[OpsplayError]:
    """A file or template that is not there to be copied; a warning where an earlier task may still make it."""
    name = source_of(step.task)
    if name is None or find_source(step.task, folders) is not None:
        return
    source = SOURCES[step.task.module]
    looked = dict.fromkeys(os.path.dirname(path) for path in SearchPath(folders).candidates(name, [source.folder]))
    may_appear = may_appear or os.path.isabs(name)
    error = LanguageError if step.is_certain and not may_appear else LanguageWarning
    message, hint = f"there is no {source.what} '{name}'", f"looked in {', '.join(looked)}"
    yield error(message, at=place_of(name, step.task.at), hint=hint, rule=source.rule)


def source_of(task: Task) -> str | None:
    """The file of the control side that a task takes, where that is a constant."""
    source = SOURCES.get(task.module)
    name = task.args.get(source.parameter, task.free_form) if source else None
    if not isinstance(name, str) or contains_template(name) or "://" in name:
        return None
    return name if name and not any(task.args.get(key) is not None for key in ELSEWHERE) else None


def find_source(task: Task, folders: tuple[str, ...]) -> str | None:
    """Where the file of a task lies; None when it is not there."""
    paths = SearchPath(folders).candidates(source_of(task) or "", [SOURCES[task.module].folder])
    return next((path for path in paths if os.path.exists(path)), None)


def folders_of(task: Task, base: str) -> tuple[str, ...]:
    """Where a task's files are looked for: in its roles, beside the file that it stands in, beside the play."""
    beside = os.path.dirname(task.at.file) or "."
    return tuple(dict.fromkeys((*(task.role.folders if task.role else ()), beside, base)))


def template_file(task: Task, folders: tuple[str, ...]) -> Iterator[OpsplayError]:
    """The mistakes in the template that a `template` task names."""
    path = find_source(task, folders) if task.module == "template" and source_of(task) else None
    if path is None or os.path.isdir(path):
        return
    try:
        text = read(path)
    except TemplateError as problem:
        yield TemplateError(problem.message, at=Location(path), rule="unreadable-file")
        return
    yield from expressions.template_file(text, environment_for(task.args), Location(os.path.normpath(path)))


def included_variables(task: Task, folders: tuple[str, ...]) -> Iterator[OpsplayError]:
    """The mistakes in the file of variables that an `include_vars` names."""
    path = find_source(task, folders) if task.module == "include_vars" and source_of(task) else None
    if path is not None and os.path.isfile(path):
        yield from variables_file(path)


def environment_for(args: Mapping[str, Any]) -> dict[str, Any]:
    """Jinja's options for the template of a task, as far as they are constants."""
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": False}
    for key in FileEnvironment.OPTIONS & args.keys():
        if isinstance(args[key], (str, bool)) and not contains_template(args[key]):
            options[key] = _flag(args[key]) if key in FLAGS else str(args[key])
    return options


def _flag(value: Any) -> bool:
    try:
        return to_bool(value)
    except ValueError:
        return False


def variables_file(path: Path | str) -> Iterator[OpsplayError]:
    """The mistakes in a file of variables."""
    at = Location(str(path))
    try:
        document = SHELF.document(path)
    except DocumentError as problem:
        yield problem
        return
    yield from document.problems
    if isinstance(document.value, Mapping):
        yield from names.of_file(document.value, at)
        yield from expressions.templates(document.value, at)
    elif document.value is not None:
        message = "a file of variables must be a mapping of names to values"
        yield LanguageError(message, at=place_of(document.value, at), rule="not-a-mapping")


def missing_variables(entry: Any, folder: str, at: Location) -> Iterator[OpsplayError]:
    """An entry of `vars_files`: of several names the first that exists is taken."""
    choices = entry if isinstance(entry, (list, tuple)) else [entry]
    if contains_template(choices):
        return
    paths = [os.path.normpath(os.path.join(folder, str(name))) for name in choices]
    found = next((path for path in paths if os.path.exists(path)), None)
    if found is not None:
        yield from variables_file(found)
    elif paths:
        at = place_of(choices[0], at)
        yield LanguageError(f"there is no file of variables {paths[0]}", at=at, rule="missing-file")
