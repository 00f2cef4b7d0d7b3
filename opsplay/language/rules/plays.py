"""Rules of a whole play: what only shows once its roles and files of tasks are read."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opsplay.documents.values import place_of
from opsplay.errors import LanguageError, LanguageWarning, Location, OpsplayError
from opsplay.language.includes import INCLUDE_ROLE, INCLUDE_TASKS, Reading, find_tasks
from opsplay.language.roles import RoleMissing, find_role
from opsplay.language.rules import entries, files, names
from opsplay.language.rules.entries import Entry
from opsplay.language.rules.expressions import contains_template
from opsplay.language.rules.handlers import HandlerUse
from opsplay.language.rules.steps import Step, acts_here, steps_of
from opsplay.model import Play, Task

# What --tags knows besides the tags of tasks.
WIDE_TAGS = ("all", "tagged", "untagged", "always", "never")


@dataclass
class Shared:
    """What the plays that are read together share: their handlers' use, and the templates already looked at."""

    handlers: HandlerUse = field(default_factory=HandlerUse)
    templates: set[str] = field(default_factory=set)
    acts_here: bool = False
    """whether a play so far may write files on the control side"""


@dataclass(frozen=True)
class PlayEntry(Entry):
    """A play as it is written, as it was read, and what was read of it."""

    play: Play
    reading: Reading
    steps: Sequence[Step]
    shared: Shared

    def folders(self, task: Task) -> tuple[str, ...]:
        return files.folders_of(task, self.reading.base)


def hosts_are_patterns(entry: PlayEntry) -> Iterator[OpsplayError]:
    """The play's hosts: a pattern, or a list of them."""
    hosts = entry.play.hosts
    if hosts and not all(isinstance(part, str) for part in (hosts if isinstance(hosts, list) else [hosts])):
        message = "hosts must be a pattern, or a list of patterns"
        yield LanguageError(message, at=entry.place("hosts"), rule="keyword-value")


def something_to_do(entry: PlayEntry) -> Iterator[OpsplayError]:
    """A play of which no task is written; one for its facts alone says so."""
    written = ("tasks", "pre_tasks", "post_tasks", "roles", "gather_facts")
    if "hosts" in entry.values and not any(entry.values.get(key) for key in written):
        yield LanguageWarning("the play has neither tasks nor roles", at=entry.at, rule="empty-play")


def prompts_have_names(entry: PlayEntry) -> Iterator[OpsplayError]:
    """The variables that are asked for."""
    prompts = entry.values.get("vars_prompt")
    for prompt in prompts if isinstance(prompts, list) else ():
        if isinstance(prompt, Mapping) and prompt.get("name"):
            yield from names.variable(prompt["name"], place_of(prompt["name"], entry.place("vars_prompt")))


def somebody_becomes(entry: PlayEntry) -> Iterator[OpsplayError]:
    """A user to become for the whole play, in which nobody does."""
    used = [step.task.become.enabled for step in entry.steps]
    if entry.values.get("become_user") is not None and entry.play.become.enabled is None and not any(used):
        message = "become_user has no effect without become"
        at = entry.place("become_user")
        yield LanguageWarning(message, at=at, hint="add become: true", rule="become-user-alone")


def variables_files(entry: PlayEntry) -> Iterator[OpsplayError]:
    """The files of variables that the play and its tasks name."""
    for named in entry.play.vars_files:
        yield from files.missing_variables(named, entry.reading.base, entry.place("vars_files"))
    for step in entry.steps:
        yield from files.included_variables(step.task, entry.folders(step.task))


def included_files(entry: PlayEntry) -> Iterator[OpsplayError]:
    """Files and roles that an include names and that are not there; a warning where it may never be reached."""
    for step in entry.steps:
        if step.task.include is None or step.task.include.known is not None:
            continue
        if step.task.module == INCLUDE_TASKS:
            yield from _missing_tasks(step, entry)
        elif step.task.module == INCLUDE_ROLE:
            yield from _missing_role(step, entry)


def _missing_tasks(step: Step, entry: PlayEntry) -> Iterator[OpsplayError]:
    task = step.task
    file = task.args.get("file", task.free_form)
    if not file or contains_template(file):
        return
    path = find_tasks(entry.reading, os.path.dirname(task.at.file), str(file), task.role)
    if not os.path.exists(path):
        error = LanguageError if step.is_certain and not entry.shared.acts_here else LanguageWarning
        yield error(f"there is no file {path}", at=place_of(file, task.at), rule="missing-file")


def _missing_role(step: Step, entry: PlayEntry) -> Iterator[OpsplayError]:
    name = step.task.args.get("name") or step.task.args.get("role")
    if not name or contains_template(dict(step.task.args)):
        return
    try:
        find_role(str(name), entry.reading.base, step.task.role, place_of(name, step.task.at))
    except RoleMissing as problem:
        error = LanguageError if step.is_certain else LanguageWarning
        yield error(problem.message, at=problem.at, hint=problem.hint, rule=problem.rule)


def sources(entry: PlayEntry) -> Iterator[OpsplayError]:
    """The files of the control side that tasks take."""
    for step in entry.steps:
        yield from files.missing_source(step, entry.folders(step.task), entry.shared.acts_here)


def template_files(entry: PlayEntry) -> Iterator[OpsplayError]:
    """The templates that tasks render, each looked at once."""
    for step in entry.steps:
        if step.task.module != "template":
            continue
        key = repr((entry.folders(step.task), files.source_of(step.task), files.environment_for(step.task.args)))
        if key not in entry.shared.templates:
            entry.shared.templates.add(key)
            yield from files.template_file(step.task, entry.folders(step.task))


def handlers(entry: PlayEntry) -> Iterator[OpsplayError]:
    """The handlers that tasks notify."""
    unknown = [step for step in entry.steps if step.task.include is not None and step.task.include.known is None]
    is_whole = not unknown and not entry.reading.left_out
    yield from entry.shared.handlers.look(entry.play, entry.steps, is_whole)


RULES: tuple[Callable[[PlayEntry], Iterator[OpsplayError]], ...] = (
    entries.templates,
    entries.variables,
    entries.module_defaults_are_mappings,
    hosts_are_patterns,
    something_to_do,
    prompts_have_names,
    somebody_becomes,
    variables_files,
    included_files,
    sources,
    template_files,
    handlers,
)


def problems(
    values: Mapping[str, Any], at: Location, play: Play, reading: Reading, shared: Shared
) -> list[OpsplayError]:
    """All that is wrong with a play as a whole."""
    found = steps_of(play)
    shared.acts_here = shared.acts_here or acts_here(play, found)
    entry = PlayEntry(values, at, play, reading, found, shared)
    return [problem for rule in RULES for problem in rule(entry)]


def unknown_tags(wanted: Iterable[str], plays: Iterable[Play]) -> Iterator[OpsplayError]:
    """The tags that are asked for and that no task of any play has."""
    known = {tag for play in plays for step in steps_of(play) for tag in step.task.tags} | set(WIDE_TAGS)
    for tag in sorted(set(wanted) - known):
        near = difflib.get_close_matches(tag, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else None
        yield LanguageError(f"no task has the tag '{tag}'", hint=hint, rule="unknown-tag")
