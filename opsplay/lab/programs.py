"""The programs of the machine that the lab stands on: found, run with a bound, and their failure told."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from opsplay.errors import LabError

# `su` without a dash leaves root with a search path that has no sbin.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

# Program -> the Debian package that has it.
PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "chroot": "coreutils",
}


def check_machine() -> None:
    """Refuse to begin where the lab cannot work.

    Raises LabError when the caller is not root, or when programs are missing (naming the Debian packages).
    """
    if os.geteuid() != 0:
        raise LabError("the lab boots systemd hosts and needs root", hint="run it as root, for example with sudo")
    missing = [name for name in PACKAGES if shutil.which(name, path=SEARCH_PATH) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[name] for name in missing}))
        raise LabError(f"programs are missing: {', '.join(missing)}", hint=f"apt-get install {packages}")


def call(
    argv: Sequence[str], *, stdin: str | None = None, timeout: float = 30, check: bool = True, quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a short program of the machine and return what it said; timeout in seconds.

    `quiet` gives it no pipes, for one that leaves a process behind, which would hold them open.
    Raises LabError with the end of its standard error when it fails (unless check is false) or takes too long.
    """
    environment = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"}
    streams = subprocess.DEVNULL if quiet else subprocess.PIPE
    try:
        done = subprocess.run(
            list(argv), input=stdin, stdout=streams, stderr=streams, text=True, errors="replace", timeout=timeout,
            env=environment,
        )  # fmt: skip
    except FileNotFoundError as error:
        package = PACKAGES.get(argv[0], argv[0])
        raise LabError(f"{argv[0]} is not installed", hint=f"apt-get install {package}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(argv)}` took longer than {timeout:g} s") from error
    if check and done.returncode:
        raise LabError(f"`{' '.join(argv)}` failed ({done.returncode}): {(done.stderr or '').strip()[-2000:]}")
    return done
