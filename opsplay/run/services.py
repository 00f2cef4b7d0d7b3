"""What a run offers to those who work in it, as a seam: the play, its hosts and their tasks know nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from opsplay.actions.base import Effect
from opsplay.inventory.model import Inventory
from opsplay.model import Play
from opsplay.run.options import RunOptions
from opsplay.run.sessions import Sessions
from opsplay.run.tally import Tallies
from opsplay.run.variables import RunVariables
from opsplay.secrets import Redactor


class Services(Protocol):
    """A run: what it was asked, what it knows, what is open, and how to work, wait and stop in it."""

    inventory: Inventory
    options: RunOptions
    redactor: Redactor
    sessions: Sessions
    tallies: Tallies
    variables: RunVariables

    def submit(self, work: Callable[[], None], on_crash: Callable[[], None]) -> None:
        """Run on a worker; what it cannot handle is raised in the main thread, after `on_crash`."""

    def check_crashed(self) -> None:
        """Raise what a worker could not handle."""

    def check_interrupted(self) -> None:
        """Raise Interrupted when the user wants to stop."""

    def sleep(self, seconds: float) -> None:
        """Wait, or raise Interrupted."""

    def next_window(self) -> int:
        """A number for calls that do not depend on those sent before."""

    def progress(self, host: str, progress: Mapping[str, Any]) -> None:
        """Report how far a host's long work is."""

    def keep_undo(self, host: str, task: str, entries: tuple[Mapping[str, Any], ...]) -> None:
        """Keep what a task replaced."""

    def learn_secrets(self, host: str, lookup: Callable[[str], Any]) -> None:
        """Register a host's passwords before anything about it is shown."""

    def ask(self, text: str, hidden: bool, seconds: float | None) -> str | None:
        """What a person types, at most so many seconds long; None when nobody is there to answer."""

    def confirm_step(self, name: str) -> bool:
        """Whether the user wants a task to run; he may say that he wants all further ones."""

    def apply(self, effect: Effect, host: str) -> None:
        """Do what an action asks of the run: a host or a group is added, a number kept for the end."""

    def refresh_inventory(self) -> None:
        """Read the inventory's sources anew."""

    def warn(self, message: str) -> None:
        """Tell the user of something that goes on all the same."""

    def forgive(self) -> None:
        """Hosts that failed take part again."""

    def variables_mention_hosts(self, play: Play) -> bool:
        """Whether a variable reads other hosts' variables behind a task's back."""
