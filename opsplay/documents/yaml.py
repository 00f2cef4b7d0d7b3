"""Read YAML with positions. YAML 1.1 as PyYAML and Ansible read it; duplicate keys and unknown tags are errors."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from opsplay.documents.keyring import KEYRING
from opsplay.documents.values import Mapping, Sequence, Template, place_of
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
# A file that changed less than this many seconds ago may change again within one tick of its file system's clock.
TICK = 0.1


class _Constructor(yaml.constructor.SafeConstructor):
    """Builds values with their places; scalars other than strings and dates as PyYAML does.

    `problems` are the mistakes in spite of which the rest can be read.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file
        self.problems: list[DocumentError] = []
        self._unsafe = 0

    def place(self, node: yaml.Node) -> Location:
        mark = node.start_mark
        return Location(self.file, mark.line + 1, mark.column + 1)

    def build(self, node: yaml.Node) -> Any:
        """A node's value. What is below a tag !unsafe is data: never a template."""
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node.tag not in COLLECTIONS:
            raise _unknown_tag(node, self.place(node))
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
            return KEYRING.value(node.value, self.place(node))
        if node.tag not in self.yaml_constructors:
            raise _unknown_tag(node, self.place(node))
        try:
            return self.construct_object(node)
        except (ValueError, yaml.YAMLError) as problem:
            raise DocumentError(f"not a value: {problem}", at=self.place(node), rule="yaml-syntax") from problem

    def _sequence(self, node: yaml.Node) -> Sequence:
        found = Sequence(self.place(node))
        for item in node.value:
            found.append(self.build(item))
            found.item_at.append(self.place(item))
        return found

    def _mapping(self, node: yaml.MappingNode) -> Mapping:
        found = Mapping(self.place(node))
        # What is merged comes first, and is weaker than the mapping's own.
        for key_node, value_node in node.value:
            if key_node.tag == MERGE:
                found.update(self._merge(value_node))
        for key_node, value_node in node.value:
            if key_node.tag == MERGE:
                continue
            key = self._key(key_node)
            at = self.place(key_node)
            if key in found.key_at:
                message = f"duplicate key '{key}'; the first is at {found.key_at[key]}"
                self.problems.append(DocumentError(message, at=at, rule="duplicate-key"))
                continue
            found[key] = self.build(value_node)
            found.key_at[key] = at
        for key in found.keys() - found.key_at.keys():
            found.key_at[key] = self.place(node)
        return found

    def _key(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise DocumentError(
                "a mapping cannot be a key; a value that starts with {{ must be quoted",
                at=self.place(node),
                rule="yaml-syntax",
            )
        key = self._scalar(node)
        return str(key) if isinstance(key, str) else key

    def _merge(self, node: yaml.Node) -> dict[Any, Any]:
        """What `<<` brings: of several mappings the first is the strongest."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[Any, Any] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise DocumentError("<< needs a mapping to merge", at=self.place(source), rule="yaml-syntax")
            for key, value in self._mapping(source).items():
                found.setdefault(key, value)
        return found


def _unknown_tag(node: yaml.Node, at: Location) -> DocumentError:
    return DocumentError(f"unknown YAML tag {node.tag}", at=at, rule="yaml-tag")


def parse(text: str, file: str) -> list[Any]:
    """Every document of a text. Raises DocumentError with the place and, where known, the remedy."""
    documents, problems = parse_leniently(text, file)
    if problems:
        raise problems[0]
    return documents


def parse_leniently(text: str, file: str) -> tuple[list[Any], list[DocumentError]]:
    """Every document of a text, and the mistakes in spite of which the rest can be read. Raises DocumentError."""
    loader = _Loader(text)
    constructor = _Constructor(file)
    try:
        documents = []
        while loader.check_node():
            documents.append(constructor.build(loader.get_node()))
        return documents, constructor.problems
    except RecursionError as problem:
        message = "values are nested too deeply, or one contains itself"
        raise DocumentError(message, at=Location(file), rule="yaml-syntax") from problem
    except yaml.MarkedYAMLError as problem:
        raise _explain(problem, text, file) from problem
    except yaml.reader.ReaderError as problem:
        before = text[: problem.position].split("\n")
        at = Location(file, len(before), len(before[-1]) + 1)
        message = f"not YAML: the character {problem.character!r} cannot stand in it"
        raise DocumentError(message, at=at, rule="yaml-syntax") from problem
    except yaml.YAMLError as problem:
        raise DocumentError(f"not YAML: {problem}", at=Location(file), rule="yaml-syntax") from problem
    finally:
        loader.dispose()


def load(path: Path | str) -> Any:
    """The one document of a file, encrypted or not; None when it is empty. Raises DocumentError."""
    return read(path)[0]


def read(path: Path | str) -> tuple[Any, bool]:
    """The one document of a file, and whether the file was encrypted. Raises DocumentError."""
    document = SHELF.document(path)
    if document.problems:
        raise document.problems[0]
    return document.value, document.secret


@dataclass(frozen=True)
class Document:
    """What a file holds; `secret` when it was encrypted. `problems` are the mistakes that did not end its reading."""

    value: Any
    secret: bool = False
    problems: tuple[DocumentError, ...] = ()


Stamp = tuple[int, ...]


class Shelf:
    """The documents of this process: a file is read again only when it has changed. They are for reading alone."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Stamp, Document]] = {}

    def document(self, path: Path | str) -> Document:
        """The one document of a file. Raises DocumentError when nothing can be read of it."""
        file = str(path)
        stamp = _stamp(file)
        kept, document = self._kept.get(file, (None, None))
        if document is not None and kept == stamp:
            return document
        document = _read(file)
        if stamp is not None:
            self._kept[file] = stamp, document
        return document


def _read(file: str) -> Document:
    text, secret = read_text(file)
    documents, problems = parse_leniently(text, file)
    if len(documents) > 1:
        message = "several documents in one file; one is expected"
        raise DocumentError(message, at=place_of(documents[1], Location(file)), rule="several-documents")
    return Document(documents[0] if documents else None, secret, tuple(problems))


def _stamp(file: str) -> Stamp | None:
    """What changes when the file does; None when that cannot be told."""
    try:
        known = os.stat(file)
    except OSError:
        return None
    if time.time() - max(known.st_mtime, known.st_ctime) < TICK:
        return None
    return known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns


SHELF = Shelf()


def read_text(file: str) -> tuple[str, bool]:
    """A file's text, and whether it was encrypted. Raises DocumentError."""
    try:
        content = KEYRING.read(file)
        return content.data.decode("utf-8"), content.secret
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise DocumentError(f"cannot read the file: {reason}", at=Location(file)) from problem


def _explain(problem: yaml.MarkedYAMLError, text: str, file: str) -> DocumentError:
    mark = problem.problem_mark or problem.context_mark
    at = Location(file, mark.line + 1, mark.column + 1) if mark else Location(file)
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    rule, hint = "yaml-syntax", None
    if "\t" in line:
        rule, hint = "yaml-tab", "YAML does not allow tabs for indentation"
    elif ": {{" in line or ":{{" in line:
        hint = 'quote a value that starts with {{, as in key: "{{ value }}"'
    elif line.count(": ") > 1:
        hint = "quote a value that holds a colon followed by a space"
    return DocumentError(f"not YAML: {problem.problem or problem.context}", at=at, hint=hint, rule=rule)
