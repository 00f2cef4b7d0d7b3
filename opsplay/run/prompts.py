"""`vars_prompt`: ask for a play's values before it begins."""

from __future__ import annotations

import secrets
from typing import Any

from opsplay.errors import UsageError
from opsplay.model import Play, Prompt
from opsplay.run.context import PlayContext
from opsplay.run.services import Services
from opsplay.templating.filters.passwords import ALPHABET, password_hash


def answers(play: Play, context: PlayContext, run: Services) -> dict[str, Any]:
    """What a play's prompts give: data, never templates. Variables of the command line are not asked for."""
    found: dict[str, Any] = {}
    for prompt in play.prompts:
        if prompt.name not in run.options.extra:
            found[prompt.name] = ask_for(prompt, context, run)
    return found


def make_salt(size: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(size))


def ask_for(prompt: Prompt, context: PlayContext, run: Services) -> Any:
    """One prompt's value. Raises UsageError when nobody is there to answer and there is no default."""
    default = context.render_play(prompt.default)
    shown = f"{prompt.text} [{default}]: " if default is not None and not prompt.private else f"{prompt.text}: "
    while True:
        typed = run.ask(shown, prompt.private, None)
        if typed is None and default is None:
            raise UsageError(f"nobody is there to be asked for {prompt.name}", hint=f"give it with -e {prompt.name}=…")
        value = typed or default or ""
        if typed is None or not prompt.confirm or run.ask(f"confirm {shown}", prompt.private, None) == typed:
            break
        shown = f"these were not the same; {prompt.text}: "
    if prompt.private:
        run.redactor.register(str(value))
    if prompt.encrypt:
        kind = prompt.encrypt.removesuffix("_crypt")
        salt = make_salt(prompt.salt_size) if prompt.salt_size else prompt.salt
        return password_hash(str(value), kind, salt)
    return value
