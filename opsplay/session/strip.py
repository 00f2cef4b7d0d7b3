"""Strip shipped sources: annotations, docstrings and typing imports go, line numbers stay.

What is left runs on Python 3.6 and compiles quicker. The edits are made in the text by the positions of the syntax
tree, so that a traceback from a host names the same lines as the repository.
"""

from __future__ import annotations

import ast
import io
import tokenize

# Imports that only annotations need.
CONTROL_ONLY = ("__future__", "typing")
# What stands in place of a whole statement.
WHOLE = ("pass", "0")


def strip(source: str) -> str:
    """The same module without what only readers and type checkers need."""
    tree = ast.parse(source)
    edits: list[tuple[int, int, str]] = []
    offsets = line_offsets(source)

    def cut(start: tuple[int, int], end: tuple[int, int], text: str = "") -> None:
        edits.append((offsets[start[0]] + start[1], offsets[end[0]] + end[1], text))

    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            _cut_docstring(node, cut)
        if isinstance(node, ast.FunctionDef):
            _cut_signature(node, source, offsets, cut)
        elif isinstance(node, ast.AnnAssign):
            if node.value is None:
                cut(span(node)[0], span(node)[1], "pass")
            else:
                cut(span(node.target)[1], span(node.annotation)[1])
        elif _is_for_checkers(node):
            cut(*span(node), "pass")
    return _apply(source, edits)


def line_offsets(source: str) -> list[int]:
    """Byte offsets of each line's start (index 1 is the first line), as the syntax tree counts columns."""
    offsets = [0, 0]
    for line in source.encode().splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    return offsets


def span(node: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
    """Start and end of a node as (line, column in bytes)."""
    return (
        (node.lineno, node.col_offset),  # type: ignore[attr-defined]
        (node.end_lineno, node.end_col_offset),  # type: ignore[attr-defined]
    )


def _is_for_checkers(node: ast.AST) -> bool:
    """Whether a statement only serves annotations."""
    if isinstance(node, ast.ImportFrom):
        return node.module in CONTROL_ONLY
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _cut_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef, cut) -> None:  # type: ignore[no-untyped-def]
    if not node.body or not isinstance(node.body[0], ast.Expr):
        return
    value = node.body[0].value
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        cut(*span(node.body[0]), "pass" if len(node.body) == 1 else "0")


def _cut_signature(node: ast.FunctionDef, source: str, offsets: list[int], cut) -> None:  # type: ignore[no-untyped-def]
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    for argument in arguments:
        if argument is not None and argument.annotation is not None:
            name_end = (argument.lineno, argument.col_offset + len(argument.arg.encode()))
            cut(name_end, span(argument.annotation)[1])
    if node.returns is not None:
        start, end = span(node.returns)
        arrow = source.encode().rindex(b"->", 0, offsets[start[0]] + start[1])
        edits_start = (start[0], arrow - offsets[start[0]])
        cut(edits_start, end)


def _apply(source: str, edits: list[tuple[int, int, str]]) -> str:
    data = source.encode()
    for start, end, text in sorted(edits, reverse=True):
        lines = data[start:end].count(b"\n")
        # Cut text keeps its line ends: blank lines behind a whole statement, joined lines within one.
        end_of_line = b"\n" if text in WHOLE else b"\\\n"
        data = data[:start] + text.encode() + end_of_line * lines + data[end:]
    return _without_comments(data.decode())


def _without_comments(source: str) -> str:
    """Blank the lines that hold only a comment; what looks like one within a string stays."""
    lines = source.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip():
            lines[token.start[0] - 1] = "\n"
    return "".join(lines)
