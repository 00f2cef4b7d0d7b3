"""Root file systems of hosts: an image below, what the host changes above, by overlayfs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from opsplay.errors import LabError
from opsplay.lab.programs import call


def mounts_below(top: Path) -> list[Path]:
    """The mount points at a directory and below it, the innermost first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [Path(_unescape(line.split()[4])) for line in file]
    real = top.resolve()
    return [point for point in reversed(points) if point == real or real in point.parents]


def _unescape(field: str) -> str:
    # proc(5): space, tab, newline and backslash appear as octal numbers.
    for character in " \t\n\\":
        field = field.replace(f"\\{ord(character):03o}", character)
    return field


def mount(tree: Path, directory: Path) -> Path:
    """Mount a host's root file system: `tree` below, the layers in `directory`; returns the mount point.

    Leaves a mounted one alone. Raises LabError when the kernel refuses, as it does for layers that lie on overlayfs.
    """
    upper, work, root = (directory / name for name in ("upper", "work", "root"))
    for path in (upper, work, root):
        path.mkdir(parents=True, exist_ok=True)
    upper.chmod(0o755)
    if mounts_below(root):
        return root
    if any(character in f"{tree}{directory}" for character in ":,\\"):
        raise LabError(f"overlayfs cannot use {directory} or {tree}", hint="its path must be free of ':', ',' and '\\'")
    # redirect_dir lets a directory of the image be renamed, as on any other file system.
    options = f"lowerdir={tree},upperdir={upper},workdir={work},redirect_dir=on"
    done = call(["mount", "-t", "overlay", "opsplay-lab", "-o", options, str(root)], check=False)
    if done.returncode:
        raise LabError(
            f"cannot mount the root file system of {directory.name}: {done.stderr.strip()}",
            hint="set XDG_STATE_HOME to a directory on ext4, XFS or Btrfs (not on overlayfs)",
        )
    return root


def unmount_below(top: Path) -> None:
    """Unmount whatever is mounted at a directory or below it; what is busy goes when its last user does."""
    for point in mounts_below(top):
        if call(["umount", str(point)], check=False).returncode:
            call(["umount", "--lazy", str(point)])


def remove_tree(top: Path) -> None:
    """Remove a directory tree of the lab, files that were made immutable too.

    Raises LabError rather than remove through something that is still mounted.
    """
    if not top.exists():
        return
    if left := mounts_below(top):
        raise LabError(f"{left[0]} is still mounted", hint="see what uses it: fuser -vm " + str(left[0]))
    try:
        shutil.rmtree(top)
    except PermissionError:
        call(["chattr", "-R", "-f", "-i", "-a", os.fspath(top)], check=False, timeout=120)
        shutil.rmtree(top)
