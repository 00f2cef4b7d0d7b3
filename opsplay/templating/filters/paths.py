"""Filters of paths: they look at the control side's file system only where they say so."""

from __future__ import annotations

import glob
import ntpath
import os.path
from collections.abc import Callable
from typing import Any


def path_join(value: Any) -> str:
    return os.path.join(*([value] if isinstance(value, str) else value))


FILTERS: dict[str, Callable[..., Any]] = {
    "basename": lambda value: os.path.basename(str(value)),
    "dirname": lambda value: os.path.dirname(str(value)),
    "expanduser": lambda value: os.path.expanduser(str(value)),
    "expandvars": lambda value: os.path.expandvars(str(value)),
    "realpath": lambda value: os.path.realpath(str(value)),
    "normpath": lambda value: os.path.normpath(str(value)),
    "commonpath": lambda value: os.path.commonpath([str(path) for path in value]),
    "relpath": lambda value, start=".": os.path.relpath(str(value), start),
    "splitext": lambda value: list(os.path.splitext(str(value))),
    "path_join": path_join,
    "fileglob": lambda value: sorted(path for path in glob.glob(str(value)) if os.path.isfile(path)),
    "win_basename": lambda value: ntpath.basename(str(value)),
    "win_dirname": lambda value: ntpath.dirname(str(value)),
    "win_splitdrive": lambda value: list(ntpath.splitdrive(str(value))),
}
