"""Problems as SARIF 2.1.0, the static analysis results format of OASIS that code hosts and editors read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from opsplay import __version__
from opsplay.cli.problems import shown
from opsplay.errors import Location, OpsplayError
from opsplay.language.rules import RULES

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
NUMBERS = {name: number for number, name in enumerate(RULES)}


def log(problems: Iterable[OpsplayError]) -> dict[str, Any]:
    """The document: one run of one tool, with all its rules."""
    driver = {"name": "opsplay", "semanticVersion": __version__, "rules": [rule(name) for name in RULES]}
    results = [result(problem) for problem in problems]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def rule(name: str) -> dict[str, Any]:
    severity = RULES[name].severity.value
    summary = {"text": RULES[name].summary}
    return {"id": name, "shortDescription": summary, "defaultConfiguration": {"level": severity}}


def result(problem: OpsplayError) -> dict[str, Any]:
    text = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
    found: dict[str, Any] = {"level": problem.severity.value, "message": {"text": text}}
    if problem.rule in NUMBERS:
        found |= {"ruleId": problem.rule, "ruleIndex": NUMBERS[problem.rule]}
    if problem.at and os.path.exists(problem.at.file):
        found["locations"] = [{"physicalLocation": physical(problem.at)}]
    return found


def physical(at: Location) -> dict[str, Any]:
    """A place in a file, which is named relative to where the command was called."""
    name = shown(at)
    address = f"file://{quote(name)}" if os.path.isabs(name) else quote(name)
    found: dict[str, Any] = {"artifactLocation": {"uri": address}}
    if at.line:
        found["region"] = {"startLine": at.line, **({"startColumn": at.column} if at.column else {})}
    return found
