"""A task's parameters: rendered, validated, and the secret ones made known to the redactor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opsplay import catalog
from opsplay.actions.base import ActionFailed
from opsplay.agent.spec import ParameterError, Params, validate
from opsplay.documents.values import Template
from opsplay.model import Task
from opsplay.run.context import PlayContext
from opsplay.templating.templar import OMIT, Templar


def arguments(context: PlayContext, templar: Templar, task: Task, entry: catalog.Entry) -> Params:
    """The rendered, validated parameters. Raises TemplateError; ActionFailed for a value of the wrong type."""
    unrendered = getattr(entry.module, "UNRENDERED", ())
    given: dict[str, Any] = {}
    for name, value in task.args.items():
        rendered = value if name in unrendered else templar.render(value)
        if entry.open_ended and "{{" in name:
            # A variable's name may be a template: it is the playbook's own text, as all names of parameters are.
            name = str(templar.render(Template(name, task.at)))
        if rendered is not OMIT:
            given[name] = _without_omitted(rendered) if name not in unrendered else rendered
    if task.free_form is not None and entry.free_form:
        given[entry.free_form] = templar.render(task.free_form)
    if entry.open_ended:
        return Params(given)
    try:
        params = validate(entry.params, given)
    except ParameterError as problem:
        raise ActionFailed(f"{entry.name}: {problem.message}") from problem
    for name in entry.secret_params:
        for text in _texts(params[name]):
            context.run.redactor.register(text)
    return params


def _texts(value: Any) -> Iterator[str]:
    """Every text within a value: of a secret dictionary or list each one is secret."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _without_omitted(value: Any) -> Any:
    """Omitted entries inside of dictionaries and lists go as well."""
    if isinstance(value, dict):
        return {key: _without_omitted(item) for key, item in value.items() if item is not OMIT}
    if isinstance(value, list):
        return [_without_omitted(item) for item in value if item is not OMIT]
    return value
