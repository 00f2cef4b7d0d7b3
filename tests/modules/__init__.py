"""Modules on real hosts."""

import os

# The releases of Debian that the lab has hosts of.
RELEASES = ("bullseye", "bookworm", "trixie")
# bin/soak has every case on every release.
SOAK = bool(os.environ.get("OPSPLAY_SOAK"))
# What takes long to set up, in depth: on one release here.
DEEP = RELEASES if SOAK else ("bookworm",)
