"""Load variables from files of the control side while the play runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opsplay.actions.base import ActionFailed, Answer, Control, Prepared, SetVariables
from opsplay.agent.spec import Bool, Choice, Int, List, Params, Str
from opsplay.documents.variables import load_variables
from opsplay.errors import DocumentError

PARAMS = {
    "file": Str(help="The file: in the role's or playbook's vars, or beside the one that names it"),
    "dir": Str(help="A folder whose files are all loaded, in the order of their names"),
    "name": Str(help="Keep the variables below this name, instead of by themselves"),
    "depth": Int(default=0, min=0, help="How many levels of folders are looked at; 0 for all"),
    "files_matching": Str(help="With dir: only files whose name this regular expression finds"),
    "ignore_files": List(default=(), help="With dir: names of files to leave out, as regular expressions"),
    "ignore_unknown_extensions": Bool(default=False, help="With dir: pass other files over instead of failing"),
    "extensions": List(default=("yaml", "yml", "json"), help="With dir: the endings of files of variables"),
    "hash_behaviour": Choice("replace", "merge", help="What happens to dictionaries that exist already"),
    "_raw_params": Str(help="The file, written as include_vars: FILE"),
}
CHECK = "exact"
EXCLUSIVE = (("file", "dir"),)


class UnknownEnding(ValueError):
    """A file that does not look like one of variables."""


def prepare(control: Control, params: Params) -> Prepared:
    named = params.file or params._raw_params
    if bool(named) == bool(params.dir):
        raise ActionFailed("include_vars needs a file or a folder, and not both")
    paths = _of_folder(control, params) if params.dir else iter([Path(control.find_file("vars", named))])
    found: dict[str, Any] = {}
    read: list[str] = []
    try:
        for path in paths:
            read.append(str(path))
            found.update(load_variables(path))
    except (DocumentError, UnknownEnding) as problem:
        raise ActionFailed(str(problem), message=str(problem), ansible_included_var_files=read) from problem
    values = {params.name: found} if params.name else found
    return Answer({"changed": False, "ansible_included_var_files": read}, SetVariables(values))


def _of_folder(control: Control, params: Params) -> Iterator[Path]:
    """The folder's files of variables. Raises ActionFailed."""
    root = Path(control.find_file("vars", params.dir))
    if not root.is_dir():
        raise ActionFailed(f"{root} is not a folder")
    for folder, folders, names in os.walk(root):
        folders.sort()
        if params.depth and len(Path(folder).relative_to(root).parts) + 1 >= params.depth:
            folders.clear()
        for name in sorted(names):
            if _is_wanted(Path(folder) / name, params):
                yield Path(folder) / name


def _is_wanted(path: Path, params: Params) -> bool:
    name = path.name
    if params.files_matching and not re.search(params.files_matching, name):
        return False
    if any(re.search(str(pattern) + "$", name) for pattern in params.ignore_files):
        return False
    known = name.rpartition(".")[2] in params.extensions
    if not known and not params.ignore_unknown_extensions:
        raise UnknownEnding(f"{path} does not have a valid extension: {', '.join(params.extensions)}")
    return known
