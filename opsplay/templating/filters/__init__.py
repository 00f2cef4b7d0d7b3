"""Filters beyond Jinja's own, with the names and results of Ansible's documentation. A file is a family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opsplay.templating.filters import collections, formats, numbers, passwords, paths, text, times, vaults

Filters = dict[str, Callable[..., Any]]

FILTERS: Filters = {
    name: function
    for family in (text, paths, formats, collections, numbers, passwords, times, vaults)
    for name, function in family.FILTERS.items()
}


def of_collections() -> dict[str, Filters]:
    """The filters of each collection but ansible.builtin, which are loaded when a template names one."""
    from opsplay.templating.filters import addresses, community, networks, records, structures

    return {
        "ansible.utils": {**addresses.FILTERS, **networks.FILTERS, **structures.FILTERS},
        "community.general": {**community.FILTERS, **records.FILTERS},
    }
