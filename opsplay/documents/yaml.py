"""Read YAML with positions. YAML 1.1 as PyYAML and Ansible read it; duplicate keys and unknown tags are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from opsplay.documents.values import Mapping, Sequence, Template
from opsplay.errors import DocumentError, Location

try:
    _Loader: Any = yaml.CSafeLoader
except AttributeError:  # PyYAML without libyaml
    _Loader = yaml.SafeLoader

MERGE = "tag:yaml.org,2002:merge"
STRING = "tag:yaml.org,2002:str"
TIMESTAMP = "tag:yaml.org,2002:timestamp"
UNSAFE = "!unsafe"
COLLECTIONS = tuple(f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "set", "omap", "pairs")) + (UNSAFE,)
VAULT = ("!vault", "!vault-encrypted")


class _Constructor(yaml.constructor.SafeConstructor):
    """Builds values with their places; scalars other than strings and dates as PyYAML does."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file
        self._unsafe = 0

    def place(self, node: yaml.Node) -> Location:
        mark = node.start_mark
        return Location(self.file, mark.line + 1, mark.column + 1)

    def build(self, node: yaml.Node) -> Any:
        """A node's value. What is below a tag !unsafe is data: never a template."""
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node.tag not in COLLECTIONS:
            raise DocumentError(f"unknown YAML tag {node.tag}", at=self.place(node))
        self._unsafe += node.tag == UNSAFE
        try:
            return self._mapping(node) if isinstance(node, yaml.MappingNode) else self._sequence(node)
        finally:
            self._unsafe -= node.tag == UNSAFE

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag == UNSAFE or (self._unsafe and node.tag in (STRING, TIMESTAMP)):
            return str(node.value)
        # A date stays as it was written: modules and templates know texts, not dates.
        if node.tag in (STRING, TIMESTAMP):
            return Template(node.value, self.place(node))
        if node.tag in VAULT:
            raise DocumentError("an encrypted value needs a vault password", at=self.place(node))
        if node.tag not in self.yaml_constructors:
            raise DocumentError(f"unknown YAML tag {node.tag}", at=self.place(node))
        try:
            return self.construct_object(node)
        except (ValueError, yaml.YAMLError) as problem:
            raise DocumentError(f"not a value: {problem}", at=self.place(node)) from problem

    def _sequence(self, node: yaml.Node) -> Sequence:
        found = Sequence(self.place(node))
        for item in node.value:
            found.append(self.build(item))
            found.item_at.append(self.place(item))
        return found

    def _mapping(self, node: yaml.MappingNode) -> Mapping:
        found = Mapping(self.place(node))
        merged: list[tuple[Any, Any]] = []
        for key_node, value_node in node.value:
            if key_node.tag == MERGE:
                merged += self._merge(value_node)
                continue
            key = self._key(key_node)
            at = self.place(key_node)
            if key in found.key_at:
                raise DocumentError(f"duplicate key '{key}'; the first is at {found.key_at[key]}", at=at)
            found[key] = self.build(value_node)
            found.key_at[key] = at
        for key, value in merged:
            if key not in found:
                found[key] = value
                found.key_at[key] = self.place(node)
        return found

    def _key(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise DocumentError(
                "a mapping cannot be a key; a value that starts with {{ must be quoted", at=self.place(node)
            )
        key = self._scalar(node)
        return str(key) if isinstance(key, str) else key

    def _merge(self, node: yaml.Node) -> list[tuple[Any, Any]]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        pairs: list[tuple[Any, Any]] = []
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise DocumentError("<< needs a mapping to merge", at=self.place(source))
            pairs += list(self._mapping(source).items())
        return pairs


def parse(text: str, file: str) -> list[Any]:
    """Every document of a text. Raises DocumentError with the place and, where known, the remedy."""
    loader = _Loader(text)
    constructor = _Constructor(file)
    try:
        documents = []
        while loader.check_node():
            documents.append(constructor.build(loader.get_node()))
        return documents
    except RecursionError as problem:
        raise DocumentError("values are nested too deeply, or one contains itself", at=Location(file)) from problem
    except yaml.MarkedYAMLError as problem:
        raise _explain(problem, text, file) from problem
    except yaml.YAMLError as problem:
        raise DocumentError(f"not YAML: {problem}", at=Location(file)) from problem
    finally:
        loader.dispose()


def load(path: Path | str) -> Any:
    """The one document of a file; None when it is empty. Raises DocumentError."""
    file = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise DocumentError(f"cannot read the file: {reason}", at=Location(file)) from problem
    documents = parse(text, file)
    if len(documents) > 1:
        raise DocumentError("several documents in one file; one is expected", at=Location(file))
    return documents[0] if documents else None


def _explain(problem: yaml.MarkedYAMLError, text: str, file: str) -> DocumentError:
    mark = problem.problem_mark or problem.context_mark
    at = Location(file, mark.line + 1, mark.column + 1) if mark else Location(file)
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    hint = None
    if "\t" in line:
        hint = "YAML does not allow tabs for indentation"
    elif ": {{" in line or ":{{" in line:
        hint = 'quote a value that starts with {{, as in key: "{{ value }}"'
    elif line.count(": ") > 1:
        hint = "quote a value that holds a colon followed by a space"
    return DocumentError(f"not YAML: {problem.problem or problem.context}", at=at, hint=hint)
