"""Check the variables that a role takes against its argument specification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opsplay.actions.base import ActionFailed, Answer, Control, Prepared
from opsplay.agent.spec import Bool, Dict, Float, Int, List, Param, Params, Path, Raw, Str
from opsplay.errors import UndefinedVariable
from opsplay.templating.environment import missing

PARAMS = {
    "argument_spec": Dict(required=True, help="Each argument with its type, choices …, as in argument_specs.yml"),
    "provided_arguments": Dict(default={}, help="Values by name, in the place of the variables of these names"),
    "validate_args_context": Dict(default={}, help="Where the specification comes from, for the result"),
}
CHECK = "exact"

TYPES: dict[str, type[Param]] = {
    "str": Str, "int": Int, "float": Float, "bool": Bool, "dict": Dict, "path": Path, "raw": Raw, "list": List,
    "json": Raw, "jsonarg": Raw, "bytes": Raw, "bits": Raw,
}  # fmt: skip


def prepare(control: Control, params: Params) -> Prepared:
    spec: Mapping[str, Any] = params.argument_spec
    given = {**dict(_variables(control, spec)), **params.provided_arguments}
    errors = list(_problems(spec, given, ""))
    shown = {"argument_spec_data": spec, "validate_args_context": params.validate_args_context}
    if errors:
        said = "Validation of arguments failed:\n" + "\n".join(errors)
        raise ActionFailed(said, argument_errors=errors, **shown)
    return Answer({"changed": False, "msg": "The arg spec validation passed", **shown})


def _variables(control: Control, spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in spec:
        try:
            value = control.templar.value(str(name))
        except UndefinedVariable:
            continue
        if value is not missing:
            yield str(name), value


def _problems(spec: Mapping[str, Any], given: Mapping[str, Any], path: str) -> Iterator[str]:
    """What is missing or wrong, a line each."""
    where = f" found in {path}" if path else ""
    needed = [name for name, option in spec.items() if (option or {}).get("required") and given.get(name) is None]
    if needed:
        yield f"missing required arguments: {', '.join(sorted(needed))}{where}"
    for name, option in spec.items():
        if given.get(name) is not None:
            yield from _wrong(f"{path} -> {name}" if path else str(name), option or {}, given[name])


def _wrong(path: str, option: Mapping[str, Any], value: Any) -> Iterator[str]:
    """What is wrong with one value and those within it."""
    kind = str(option.get("type") or "str")
    try:
        converted = _param(kind, option).convert(value)
    except (KeyError, ValueError) as problem:
        yield f"argument '{path}' is of type {type(value).__name__} and we were unable to convert to {kind}: {problem}"
        return
    choices = option.get("choices")
    wrong = [item for item in (converted if kind == "list" else [converted]) if choices and item not in choices]
    if wrong:
        yield f"value of {path} must be one of: {', '.join(map(str, choices or ()))}, got: {', '.join(map(str, wrong))}"
    inner = option.get("options")
    if inner:
        for entry in converted if kind == "list" else [converted]:
            if isinstance(entry, Mapping):
                yield from _problems(inner, entry, path)


def _param(kind: str, option: Mapping[str, Any]) -> Param:
    if kind == "list":
        elements = option.get("elements")
        return List(of=TYPES[str(elements)]() if elements else None)
    return TYPES[kind]()
