"""Tests by what they need: nothing, an agent on this machine, real hosts, ansible-core."""

from pathlib import Path

# What is shipped to hosts is made ready once for all tests, not once in the home of each.
CACHE = Path(__file__).resolve().parents[1] / ".pytest_cache/home"
