"""The keywords of plays, blocks, tasks and handlers, and hints for words that are none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from opsplay.errors import LanguageError, Location


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Understood on plays, blocks and tasks alike; a block's and a play's hold for the tasks below.
INHERITED = words(
    """any_errors_fatal become become_exe become_flags become_method become_user check_mode collections connection
    debugger diff environment ignore_errors ignore_unreachable module_defaults name no_log port remote_user run_once
    tags throttle timeout vars"""
)

PLAY = INHERITED | words(
    """fact_path force_handlers gather_facts gather_subset gather_timeout handlers hosts max_fail_percentage order
    post_tasks pre_tasks roles serial strategy tasks vars_files vars_prompt"""
)
BLOCK = INHERITED | words("block rescue always when delegate_to delegate_facts notify")
TASK = INHERITED | words(
    """action args async changed_when delay delegate_facts delegate_to failed_when local_action loop loop_control
    notify poll register retries until when"""
)
IMPORT = INHERITED | words("when notify delegate_to delegate_facts")
INCLUDE = TASK
ROLE = INHERITED | words("role when delegate_to delegate_facts")
PROMPT = words("name prompt default private confirm encrypt salt salt_size unsafe")
IMPORT_PLAY = words("name tags vars when import_playbook ansible.builtin.import_playbook")
HANDLER = TASK | {"listen"}
LOOP_CONTROL = words("loop_var index_var label pause extended extended_allitems break_when")

# Understood by Ansible, not by opsplay: saying so is better than passing them over.
NOT_SUPPORTED = {"debugger": "the task debugger is not supported"}


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """A hint with the known word that is nearest."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else None


def wrong(
    entry: Iterable[str], values: Mapping[str, Any], known: Iterable[str], what: str, at: Location
) -> list[LanguageError]:
    """An error for each word of an entry that is no keyword of a play, block …, or that means nothing yet."""
    places: Mapping[str, Location] = getattr(values, "key_at", {})
    errors = []
    for key in entry:
        place = places.get(key, at)
        if key not in known:
            hint = suggestion(str(key), known)
            message = f"unknown keyword '{key}' of {what}"
            errors.append(LanguageError(message, at=place, hint=hint, rule="unknown-keyword"))
        elif key in NOT_SUPPORTED and values[key]:
            message = f"'{key}': {NOT_SUPPORTED[str(key)]}"
            errors.append(LanguageError(message, at=place, rule="unsupported-keyword"))
    return errors
