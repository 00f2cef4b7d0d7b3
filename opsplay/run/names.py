"""The variables that Ansible defines itself for a play and its connections."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from opsplay.inventory.model import Inventory
from opsplay.model import Play
from opsplay.run.options import RunOptions

# The version of Ansible whose language is spoken.
SPOKEN = {"full": "2.19.0", "string": "2.19.0", "major": 2, "minor": 19, "revision": 0}


def play_names(
    play: Play,
    options: RunOptions,
    inventory: Inventory,
    folder: str,
    hosts: Sequence[str],
    alive: Sequence[str],
    batch: Sequence[str],
) -> dict[str, Any]:
    """What holds for every host of a batch: `hosts` are all of the play, `alive` those that have not failed."""
    return {
        **run_names(options, inventory, folder),
        "ansible_play_name": play.title,
        "ansible_play_hosts_all": list(hosts),
        "ansible_play_hosts": list(alive),
        "ansible_play_batch": list(batch),
        "play_hosts": list(batch),
        "ansible_dependent_role_names": [],
        **roles_named({}, [role.name for role in play.roles]),
    }


def run_names(options: RunOptions, inventory: Inventory, folder: str) -> dict[str, Any]:
    """What holds for every play of a playbook, before its hosts are chosen."""
    names = {
        "playbook_dir": folder,
        "ansible_search_path": [folder],
        "ansible_check_mode": options.check,
        "ansible_diff_mode": options.diff,
        "ansible_verbosity": options.verbosity,
        "ansible_forks": options.forks,
        "ansible_run_tags": sorted(options.tags) or ["all"],
        "ansible_skip_tags": sorted(options.skip_tags),
        "ansible_version": SPOKEN,
        "ansible_playbook_python": sys.executable,
        "ansible_config_file": None,
        "ansible_inventory_sources": [
            source if "," in source else os.path.abspath(source) for source in inventory.origins
        ],
    }
    return {**names, "ansible_limit": options.limit} if options.limit else names


def roles_named(known: Mapping[str, Any], more: Sequence[str]) -> dict[str, Any]:
    """The names of the play's roles, with those that an include brought in."""
    roles = [*known.get("role_names", ()), *more]
    return dict.fromkeys(("ansible_role_names", "ansible_play_role_names", "role_names"), roles)


def connection_names(play: Play, options: RunOptions) -> dict[str, Any]:
    """What Ansible tells of the connection where no variable of the host does."""
    user = play.remote_user or options.connection.user
    found = {"ansible_timeout": int(options.connection.timeout), "ansible_shell_executable": "/bin/sh"}
    stated = {"ansible_user": user, "ansible_ssh_user": user, "ansible_port": play.port}
    return {**found, **{name: value for name, value in stated.items() if value}}
