"""Print a message or a variable."""

from __future__ import annotations

from typing import Any

from opsplay.actions.base import Answer, Control, Prepared
from opsplay.agent.spec import Int, Params, Raw, Str
from opsplay.documents.values import Template
from opsplay.errors import UndefinedVariable
from opsplay.templating.compiler import is_template

PARAMS = {
    "msg": Raw(default="Hello world!", help="What to print; templates are rendered"),
    "var": Str(help="A variable or expression whose value is printed, in place of msg"),
    "verbosity": Int(min=0, default=0, help="Print only when -v is given at least this often"),
}
CHECK = "exact"

# What a host said must not become an expression: the name is taken as it is written.
UNRENDERED = ("var",)


def prepare(control: Control, params: Params) -> Prepared:
    if params.verbosity > control.verbosity:
        return Answer({"skipped": True, "skip_reason": "Verbosity threshold not met."})
    if params.var is None:
        return Answer({"msg": params.msg, "changed": False})
    return Answer({params.var: value_of(control, params.var), "changed": False})


def value_of(control: Control, expression: str) -> Any:
    """The value of what the playbook wrote, or Ansible's words for one that is not defined."""
    written = expression if is_template(expression) else Template("{{ " + expression + " }}", control.at)
    try:
        return control.templar.render(written)
    except UndefinedVariable:
        return "VARIABLE IS NOT DEFINED!"
