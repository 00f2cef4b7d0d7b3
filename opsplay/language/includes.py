"""Tasks from other files: imported while reading, included while running, by file or by role."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from opsplay.documents.values import place_of
from opsplay.documents.variables import load_variables
from opsplay.documents.yaml import SHELF
from opsplay.errors import DocumentError, LanguageError, Location, OpsplayError, Problems, Severity
from opsplay.language.inherit import Inherited
from opsplay.language.rules import files
from opsplay.language.rules.arguments import ModuleEntry
from opsplay.language.rules.expressions import contains_template
from opsplay.model import Block, Handler, Include, Included, Role, Task

if TYPE_CHECKING:
    from opsplay.language.tasks import TaskParser

IMPORT_TASKS = ("import_tasks", "ansible.builtin.import_tasks")
IMPORT_ROLE = ("import_role", "ansible.builtin.import_role")
INCLUDE_TASKS, INCLUDE_ROLE = "include_tasks", "include_role"


class Catalog(Protocol):
    """All modules by name."""

    def find(self, name: str) -> ModuleEntry | None: ...
    def suggestion(self, name: str) -> str | None: ...
    def short_name(self, name: str) -> str: ...


@dataclass
class Reading:
    """What reading one play gathers, and what it needs. `chain` are the files being read, the outermost first;
    `left_out` are the places of faulty tasks, handlers and roles, of which nothing more is known."""

    catalog: Catalog
    render: Callable[[Any], Any]
    base: str
    errors: list[OpsplayError]
    handlers: list[Handler] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    played: set[Any] = field(default_factory=set)
    warnings: list[OpsplayError] = field(default_factory=list)
    left_out: list[Location | None] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    """the absolute paths of all that was read"""
    chain: tuple[str, ...] = ()
    is_conditional: bool = False
    """whether all of it may never be run"""

    def into(self, path: str, at: Location) -> Reading:
        """The same, within a further file. Raises LanguageError when files import each other in a circle."""
        if path in self.chain:
            message = f"task files import each other in a circle: {path}"
            raise LanguageError(message, at=at, rule="circular-import")
        return replace(self, chain=(*self.chain, path))

    def apart(self) -> Reading:
        """The same for what is read while the play runs: errors, handlers and roles of its own."""
        own: dict[str, Any] = {"errors": [], "warnings": [], "left_out": [], "handlers": [], "roles": []}
        return replace(self, **own, played=set(self.played), chain=())

    def perhaps(self) -> Reading:
        """The same for what may not be run: roles that it uses do not count as used."""
        return replace(self, played=set(self.played), is_conditional=True)

    def included(self) -> Reading:
        """The same for what an include brings in: the play has its roles only from then on."""
        return replace(self, roles=[])

    def tell(self, problems: Iterable[OpsplayError]) -> None:
        """Keep what a rule has found."""
        for problem in problems:
            (self.errors if problem.severity is Severity.ERROR else self.warnings).append(problem)

    def leave_out(self, problem: OpsplayError) -> None:
        """Go on without the task, handler or role that has this problem."""
        self.left_out.append(problem.at)
        self.tell([problem])

    def document(self, path: str) -> Any:
        """What a YAML file holds, of duplicate keys the first. Raises DocumentError."""
        self.files.add(os.path.abspath(path))
        document = SHELF.document(path)
        self.tell(document.problems)
        return document.value

    def variables(self, path: Path) -> Mapping[str, Any]:
        """What a file of variables holds; nothing when it cannot be read."""
        self.files.add(os.path.abspath(path))
        self.tell(files.variables_file(path))
        try:
            return load_variables(path)
        except DocumentError:
            return {}


def find_tasks(reading: Reading, folder: str, file: str, role: Role | None) -> str:
    """A file of tasks: beside the file that names it, in the role's `tasks`, or beside the playbook."""
    places = [folder, *(os.path.join(path, "tasks") for path in (role.folders if role else ())), reading.base]
    tried = list(dict.fromkeys(os.path.normpath(os.path.join(place, file)) for place in places))
    return next((path for path in tried if os.path.isfile(path)), tried[0])


def file_of(target: Any) -> Any:
    """The file that `include_tasks: x.yml` or `include_tasks: {file: x.yml}` names."""
    return target.get("file") if isinstance(target, Mapping) else target


def read_tasks(parser: TaskParser, path: str, inherited: Inherited, at: Location) -> tuple[Task | Block, ...]:
    """The tasks of a file, whose errors go to the parser's reading."""
    if not os.path.exists(path):
        raise LanguageError(f"there is no file {path}", at=at, rule="missing-file")
    inner = parser.within(path, at)
    return tuple(inner.sequence(inner.reading.document(path), inherited, Location(path)))


def read_handlers(parser: TaskParser, path: str, inherited: Inherited, at: Location) -> Iterator[Handler]:
    """The handlers of a file."""
    if not os.path.exists(path):
        raise LanguageError(f"there is no file {path}", at=at, rule="missing-file")
    inner = parser.within(path, at)
    return inner.handlers(inner.reading.document(path), inherited, Location(path))


def included_tasks(parser: TaskParser, inherited: Inherited, task: Task) -> Include:
    """How an `include_tasks` is read: its file is known now, or when its variables are."""
    surroundings = replace(inherited, params=(*inherited.params, *task.vars[len(inherited.vars) :]))

    def load(params: Mapping[str, Any]) -> Included:
        apart = parser.apart()
        found = _tasks_of(apart, surroundings, str(params["file"]), params.get("apply"), task.at)
        return finished(apart, found)

    known = None
    file = task.args.get("file", task.free_form)
    if file and not contains_template([file, task.args.get("apply")]):
        path = find_tasks(parser.reading, parser.folder, str(file), inherited.role)
        if os.path.exists(path) and path not in parser.reading.chain:
            reader = (parser.perhaps() if task.when else parser).included()
            found = _tasks_of(reader, surroundings, str(file), task.args.get("apply"), task.at)
            known = replace(found, imported=tuple(reader.reading.roles))
    return Include(load, known)


def _tasks_of(parser: TaskParser, inherited: Inherited, file: str, apply: Any, at: Location) -> Included:
    path = find_tasks(parser.reading, parser.folder, file, inherited.role)
    return Included(path, read_tasks(parser, path, with_applied(inherited, apply, at), at))


def finished(apart: TaskParser, found: Included) -> Included:
    """What was read while the play runs, with the handlers and roles that came with it. Raises Problems."""
    if apart.reading.errors:
        raise Problems(apart.reading.errors)
    handlers = (*found.handlers, *apart.reading.handlers)
    return replace(found, handlers=handlers, imported=tuple(apart.reading.roles))


def with_applied(inherited: Inherited, apply: Any, at: Location) -> Inherited:
    """The keywords that `apply` adds to everything that is included."""
    if not apply:
        return inherited
    if not isinstance(apply, Mapping):
        raise LanguageError("apply must be a mapping of keywords", at=place_of(apply, at), rule="not-a-mapping")
    return inherited.extend(apply, at, own_vars=True)


def parent_folder(path: str) -> str:
    return str(Path(path).parent)
