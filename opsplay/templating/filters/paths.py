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
    "basename": os.path.basename,
    "dirname": os.path.dirname,
    "expanduser": os.path.expanduser,
    "expandvars": os.path.expandvars,
    "realpath": os.path.realpath,
    "normpath": os.path.normpath,
    "commonpath": lambda value: os.path.commonpath([str(path) for path in value]),
    "relpath": os.path.relpath,
    "splitext": lambda value: list(os.path.splitext(value)),
    "path_join": path_join,
    "fileglob": lambda value: sorted(path for path in glob.glob(str(value)) if os.path.isfile(path)),
    "win_basename": ntpath.basename,
    "win_dirname": ntpath.dirname,
    "win_splitdrive": lambda value: list(ntpath.splitdrive(value)),
}
