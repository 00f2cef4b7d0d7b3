"""Roles: where they lie, what they hold, which they depend on, and the tasks that come of using one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsplay.agent.spec import to_bool
from opsplay.documents.values import place_of
from opsplay.documents.variables import variable_files
from opsplay.errors import LanguageError, Location, OpsplayError
from opsplay.language import keywords
from opsplay.language.includes import Reading, finished, read_handlers, read_tasks, with_applied
from opsplay.language.inherit import Inherited, tag_names
from opsplay.language.rules import entries as entry_rules
from opsplay.language.rules import names
from opsplay.language.rules.expressions import contains_template
from opsplay.model import Block, Include, Included, Role, Task

if TYPE_CHECKING:
    from opsplay.language.tasks import TaskParser

# Beside the playbook first; then where Ansible installs roles.
INSTALLED = ("~/.ansible/roles", "/usr/share/ansible/roles", "/etc/ansible/roles")
SUFFIXES = (".yml", ".yaml", ".json", "")
DEEPEST = 20
FROM = ("tasks_from", "vars_from", "defaults_from", "handlers_from")


class RoleMissing(LanguageError):
    """There is no such role."""

    rule = "missing-role"


@dataclass(frozen=True)
class RoleRequest:
    """A role as a playbook asks for it. `params` are the words beside `role:` that are no keywords."""

    name: str
    at: Location
    tasks_from: str = "main"
    vars_from: str = "main"
    defaults_from: str = "main"
    handlers_from: str = "main"
    vars: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    when: Any = None
    """the conditions of this very use"""
    validate: bool = True
    """whether what the role is given is checked against its argument specification"""

    @classmethod
    def from_arguments(cls, args: Mapping[str, Any], at: Location, by: Role | None) -> RoleRequest:
        """Of an `include_role` or `import_role` within the role `by`. Raises LanguageError."""
        name = args.get("name") or args.get("role")
        if not name:
            raise LanguageError("the role to include is not named", at=at, rule="missing-name")
        tasks, variables, defaults, handlers = (str(args.get(key) or "main") for key in FROM)
        validate = to_bool(args.get("rolespec_validate", True))
        params = parent_names(by)
        return cls(str(name), at, tasks, variables, defaults, handlers, params=params, validate=validate)

    @classmethod
    def from_entry(cls, entry: Any, at: Location) -> RoleRequest:
        """Of an entry of `roles:` or of a role's dependencies. Raises LanguageError."""
        if isinstance(entry, str):
            return cls(str(entry), at)
        if not isinstance(entry, Mapping) or not (entry.get("role") or entry.get("name")):
            message = "a role must be a name, or a mapping with role: NAME"
            raise LanguageError(message, at=at, rule="missing-name")
        params = {key: value for key, value in entry.items() if key not in keywords.ROLE}
        return cls(str(entry.get("role") or entry.get("name")), at, vars=entry.get("vars") or {}, params=params,
                   when=entry.get("when"))  # fmt: skip


def parent_names(by: Role | None) -> dict[str, Any]:
    """What a role that another one brings in is told of those above it."""
    if by is None:
        return {}
    above = (by, *by.parents)
    return {
        "ansible_parent_role_names": [role.name for role in above],
        "ansible_parent_role_paths": [role.path for role in above],
    }


def search_path(base: str, role: Role | None) -> list[str]:
    """The folders that may hold a role, in the order in which they are looked at."""
    configured = [path for path in os.environ.get("ANSIBLE_ROLES_PATH", "").split(":") if path]
    installed = [os.path.expanduser(path) for path in configured or INSTALLED]
    beside = [os.path.dirname(role.path)] if role else []
    return [os.path.join(base, "roles"), *installed, *beside, base]


def find_role(name: str, base: str, role: Role | None, at: Location) -> str:
    """A role's folder. Raises LanguageError that says where it was looked for."""
    if "/" in name:
        places = [os.path.normpath(os.path.join(base, os.path.expanduser(name)))]
    else:
        places = [os.path.join(folder, name) for folder in search_path(base, role)]
    for path in places:
        if os.path.isdir(path):
            return os.path.abspath(path)
    looked = ", ".join(os.path.dirname(path) for path in places)
    raise RoleMissing(f"there is no role '{name}'", at=at, hint=f"looked in {looked}")


def load_role(parser: TaskParser, request: RoleRequest, inherited: Inherited, once: bool = False) -> Included:
    """The tasks of a role and of those it depends on; with `once` none where the play has them already. Its handlers go
    to the parser's reading. Raises LanguageError and DocumentError."""
    by = inherited.role
    if by is not None and len(by.parents) > DEEPEST:
        message = f"roles depend on each other in a circle: {request.name}"
        raise LanguageError(message, at=request.at, rule="circular-import")
    path = find_role(request.name, parser.reading.base, by, request.at)
    meta = _document(parser.reading, path, "main")
    own = _role(parser.reading, path, request, by)
    if once and _was_played(parser, path, request, meta):
        return Included(path, (), role=own)
    inner = replace(inherited, role=own)
    before: list[Included] = []
    for entry, at in _dependencies(meta, path):
        try:
            wanted = RoleRequest.from_entry(entry, place_of(entry, at))
            before.append(load_role(parser, wanted, extended(inner, entry, at, parser), once=True))
        except OpsplayError as problem:
            parser.reading.leave_out(problem)
    needed = [found.role for found in before if found.role is not None]
    own = replace(
        own,
        defaults=(*(layer for role in needed for layer in role.defaults), *own.defaults),
        vars=(
            *(by.vars if by else ()),
            *(layer for role in needed for layer in role.vars),
            *_own_vars(parser.reading, path, request),
        ),
        exports=(*(layer for role in needed for layer in role.exports), *own.exports),
    )
    inner = replace(inherited, role=own)
    parser.reading.handlers += list(_handlers(parser, path, request, inner))
    validation = _validation(parser.reading, path, request, inner, meta) if request.validate else ()
    entries = (*(entry for found in before for entry in found.entries), *validation,
               *_tasks(parser, path, request, inner))  # fmt: skip
    return Included(path, entries, role=own)


def extended(inherited: Inherited, entry: Any, at: Location, parser: TaskParser) -> Inherited:
    """The keywords that an entry of `roles:` or of dependencies gives to all tasks of the role."""
    if not isinstance(entry, Mapping):
        return inherited
    known = {key: value for key, value in entry.items() if key in keywords.ROLE}
    parser.reading.errors += keywords.wrong(known, entry, keywords.ROLE, "a role", at)
    parser.reading.tell(entry_rules.problems(entry, at))
    parser.reading.tell(names.variables(entry, at, besides=keywords.ROLE))
    return inherited.extend(known, at)


def _was_played(parser: TaskParser, path: str, request: RoleRequest, meta: Mapping[str, Any]) -> bool:
    """Whether the play uses the role in the same way already; as in Ansible, tags do not count."""
    if to_bool(meta.get("allow_duplicates", False)):
        return False
    key = (path, repr((dict(request.params), dict(request.vars), request.when)))
    if key in parser.reading.played:
        return True
    parser.reading.played.add(key)
    return False


def _role(reading: Reading, path: str, request: RoleRequest, by: Role | None) -> Role:
    own_defaults = _variables(reading, path, "defaults", request.defaults_from, request.at)
    return Role(
        name=request.name.rstrip("/").rpartition("/")[2],
        path=path,
        defaults=(*(by.defaults if by else ()), own_defaults),
        vars=(*(by.vars if by else ()), *_own_vars(reading, path, request)),
        exports=_own_vars(reading, path, replace(request, vars={})),
        params=(*(by.params if by else ()), *([request.params] if request.params else [])),
        parents=(by, *by.parents) if by else (),
    )


def _own_vars(reading: Reading, path: str, request: RoleRequest) -> tuple[Mapping[str, Any], ...]:
    found = (_variables(reading, path, "vars", request.vars_from, request.at), request.vars)
    return tuple(layer for layer in found if layer)


def _variables(reading: Reading, path: str, kind: str, name: str, at: Location) -> dict[str, Any]:
    files = variable_files(Path(path) / kind, name)
    if not files and name != "main":
        raise LanguageError(f"there is no {kind}/{name} in the role {path}", at=at, rule="missing-file")
    found: dict[str, Any] = {}
    for file in files:
        found.update(reading.variables(file))
    return found


def _file(path: str, kind: str, name: str, at: Location) -> str | None:
    """The file of a role's tasks or handlers; None when the role has no `main` of that kind."""
    for suffix in SUFFIXES:
        file = os.path.join(path, kind, name + suffix)
        if os.path.isfile(file):
            return file
    if name != "main":
        raise LanguageError(f"there is no {kind}/{name} in the role {path}", at=at, rule="missing-file")
    return None


def _validation(
    reading: Reading, path: str, request: RoleRequest, inherited: Inherited, meta: Mapping[str, Any]
) -> tuple[Task, ...]:
    """The task that checks what the role is given, where the role says what it takes."""
    entry_point = request.tasks_from.rpartition(".")[0] or request.tasks_from
    specs = _document(reading, path, "argument_specs").get("argument_specs") or meta.get("argument_specs") or {}
    spec = specs.get(entry_point) or {}
    if not spec.get("options"):
        return ()
    about = f" - {spec['short_description']}" if spec.get("short_description") else ""
    context = {"type": "role", "name": request.name, "argument_spec_name": entry_point, "path": path}
    task = Task(
        module="validate_argument_spec",
        at=request.at,
        name=f"Validating arguments against arg spec '{entry_point}'{about}",
        args={"argument_spec": spec["options"], "validate_args_context": context},
        when=inherited.when,
        tags=inherited.tags | {"always"},
        vars=inherited.vars,
        role=inherited.role,
        params=inherited.params,
    )
    return (task,)


def _tasks(
    parser: TaskParser, path: str, request: RoleRequest, inherited: Inherited
) -> tuple[Task | Block, ...]:
    file = _file(path, "tasks", request.tasks_from, request.at)
    return read_tasks(parser, file, inherited, request.at) if file else ()


def _handlers(parser: TaskParser, path: str, request: RoleRequest, inherited: Inherited) -> Iterator[Any]:
    file = _file(path, "handlers", request.handlers_from, request.at)
    # A handler runs when it is notified: the conditions and tags of the role's use are not its own.
    return read_handlers(parser, file, replace(inherited, when=()), request.at) if file else iter(())


def _document(reading: Reading, path: str, name: str) -> Mapping[str, Any]:
    """What a role's file in `meta` says; nothing when there is none."""
    for suffix in SUFFIXES[:3]:
        file = os.path.join(path, "meta", name + suffix)
        if os.path.isfile(file):
            document = reading.document(file)
            if document is not None and not isinstance(document, Mapping):
                raise LanguageError("a role's meta file must be a mapping", at=Location(file), rule="not-a-mapping")
            return document or {}
    return {}


def _dependencies(meta: Mapping[str, Any], path: str) -> Iterator[tuple[Any, Location]]:
    entries = meta.get("dependencies") or []
    if not isinstance(entries, list):
        at = place_of(entries, Location(path))
        raise LanguageError("dependencies must be a list of roles", at=at, rule="not-a-list")
    places = getattr(entries, "item_at", None) or [Location(path)] * len(entries)
    yield from zip(entries, places, strict=True)


def role_entries(parser: TaskParser, entries: Any, inherited: Inherited, at: Location) -> Iterator[Task | Block]:
    """The tasks of a play's `roles:`; errors are added to the parser's reading."""
    if entries is None:
        return
    reading = parser.reading
    if not isinstance(entries, list):
        reading.tell([LanguageError("roles must be a list", at=at, rule="not-a-list")])
        return
    places = getattr(entries, "item_at", None) or [at] * len(entries)
    for entry, place in zip(entries, places, strict=True):
        try:
            request = RoleRequest.from_entry(entry, place_of(entry, place))
            tag_names(entry.get("tags") if isinstance(entry, Mapping) else None, place)
            inner = extended(inherited, entry, place, parser)
            found = load_role(parser, request, inner, once=True)
        except OpsplayError as problem:
            reading.leave_out(problem)
            continue
        if found.role is not None:
            reading.roles.append(found.role)
        yield from found.entries


def included_role(parser: TaskParser, inherited: Inherited, task: Task) -> Include:
    """How an `include_role` is read."""
    surroundings = replace(inherited, params=(*inherited.params, *task.vars[len(inherited.vars) :]))

    def load(params: Mapping[str, Any]) -> Included:
        apart = parser.apart()
        return finished(apart, _role_of(apart, surroundings, params, task.at))

    known = None
    if not contains_template(dict(task.args)) and task.args.get("name"):
        try:
            reader = parser.perhaps().included()
            found = _role_of(reader, surroundings, task.args, task.at)
            known = replace(found, imported=tuple(reader.reading.roles))
        except RoleMissing:
            # Whether it is needed is seen when the task runs.
            known = None
        except OpsplayError as problem:
            parser.reading.leave_out(problem)
    return Include(load, known)


def _role_of(parser: TaskParser, inherited: Inherited, params: Mapping[str, Any], at: Location) -> Included:
    request = RoleRequest.from_arguments(params, at, inherited.role)
    return load_role(parser, request, with_applied(inherited, params.get("apply"), at))
