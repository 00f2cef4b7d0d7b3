"""Modules on real hosts."""

# The releases of Debian that the lab has hosts of.
RELEASES = ("bullseye", "bookworm", "trixie")
