"""Keys by which versions are compared: loosely, or as one of the documented schemes."""

from __future__ import annotations

import re
from typing import Any

from opsplay.errors import TemplateError

# What comes before a release, in this order; a release itself is above them all, a post-release above that.
BEFORE = {"dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "c": -1, "rc": -1, "pre": -1, "preview": -1}
AFTER = {"post": 1, "rev": 1, "r": 1}
STRICT = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(?:([ab])(\d+))?")
SEMANTIC = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
PEP440 = re.compile(r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)((?:[-_.]?[a-z]+[-_.]?\d*)*)(?:\+[a-z0-9.]+)?", re.IGNORECASE)


def loose(text: str) -> Any:
    """Numbers as numbers, words as words and before numbers."""
    parts = re.findall(r"\d+|[a-zA-Z]+", text)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def strict(text: str) -> Any:
    """Two or three numbers, and a or b with a number for what comes before the release."""
    found = STRICT.fullmatch(text)
    if not found:
        raise TemplateError(f"version: {text!r} is not of the form 1.2.3b4")
    major, minor, patch, kind, number = found.groups()
    return (int(major), int(minor), int(patch or 0), kind or "z", int(number or 0))


def semantic(text: str) -> Any:
    """semver.org: fields of a pre-release compare as numbers where they are ones, and come before the release."""
    found = SEMANTIC.fullmatch(text)
    if not found:
        raise TemplateError(f"version: {text!r} is no semantic version")
    fields = (found.group(4) or "").split(".") if found.group(4) else []
    before = [(0, int(field), "") if field.isdigit() else (1, 0, field) for field in fields]
    return (*map(int, found.group(1, 2, 3)), not fields, before)


def pep440(text: str) -> Any:
    """PEP 440, local versions aside."""
    found = PEP440.fullmatch(text)
    if not found:
        raise TemplateError(f"version: {text!r} is no version of PEP 440")
    release = [int(part) for part in found.group(2).split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    words = re.findall(r"([a-z]+)[-_.]?(\d*)", found.group(3).lower())
    ranked = [({**BEFORE, **AFTER}.get(word, 0), int(number or 0)) for word, number in words]
    return (int(found.group(1) or 0), release, [*ranked, (0, 0)])


KEYS = {"loose": loose, "strict": strict, "semver": semantic, "semantic": semantic, "pep440": pep440}
