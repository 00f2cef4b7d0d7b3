"""The terminal: results as they are complete, a live line for each host at work. Plain lines when it is no terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from opsplay import events
from opsplay.sinks.lines import Line, play_line, recap_lines, task_lines
from opsplay.sinks.ordering import Order, Ordering, TaskBlock

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

# Hosts at work that are shown at a time, and how often (a second) they are redrawn.
SHOWN = 8
REDRAWN = 8
# A host is shown as at work after this many seconds: quick tasks would only flicker.
PATIENCE = 0.3


@dataclass
class Work:
    """A task under way on a host: since when (monotonic seconds), and what it says of its progress."""

    task: str
    since: float
    note: str = ""


class PlainPrinter:
    """Lines without colour, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def print(self, line: Line) -> None:
        self._stream.write("".join(text for text, _ in line).rstrip() + "\n")

    def start(self, live: Any) -> None: ...

    def stop(self) -> None:
        self._stream.flush()

    def flush(self) -> None:
        self._stream.flush()


class RichPrinter:
    """Coloured lines above a live region."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def print(self, line: Line) -> None:
        from rich.text import Text

        text = Text.assemble(*[(_printable(part), style) for part, style in line], end="")
        text.no_wrap = False
        self._console.print(text, soft_wrap=True, highlight=False)

    def start(self, render: Any) -> None:
        from rich.live import Live

        self._live = Live(
            get_renderable=render,
            console=self._console,
            refresh_per_second=REDRAWN,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def flush(self) -> None: ...


def _printable(text: str) -> str:
    """Without what a host could use to steer the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)


class TerminalSink:
    """Prints a run. Thread-safe."""

    def __init__(self, printer: PlainPrinter | RichPrinter, verbosity: int = 0) -> None:
        self._printer = printer
        self._verbosity = verbosity
        self._lock = threading.RLock()
        self._ordering = Ordering(())
        self._at_work: dict[str, dict[Order, Work]] = {}

    @classmethod
    def for_stream(cls, stream: TextIO | None = None, verbosity: int = 0, color: bool | None = None) -> TerminalSink:
        """The sink that fits a stream: live and coloured on a terminal, plain elsewhere."""
        stream = stream or sys.stdout
        if color is False or (color is None and not stream.isatty()):
            return cls(PlainPrinter(stream), verbosity)
        from rich.console import Console

        return cls(RichPrinter(Console(file=stream, force_terminal=True if color else None)), verbosity)

    def emit(self, event: events.Event) -> None:
        handler = getattr(self, "_on_" + event.kind, None)
        if handler is not None:
            with self._lock:
                handler(event)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a question; what happens meanwhile is printed behind it."""
        with self._lock:
            self._printer.stop()
            yield
            self._printer.start(self._render)

    def _on_run_started(self, event: events.RunStarted) -> None:
        if event.check:
            self._printer.print([("CHECK MODE: nothing is changed", "bold cyan")])
        self._printer.start(self._render)

    def _on_play_started(self, event: events.PlayStarted) -> None:
        self._print_blocks(self._ordering.rest())
        self._ordering = Ordering(event.hosts)
        self._printer.print([("", "")])
        self._printer.print(play_line(event))

    def _on_task_started(self, event: events.TaskStarted) -> None:
        self._at_work.setdefault(event.host, {})[event.order] = Work(event.task, time.monotonic())

    def _on_task_progress(self, event: events.TaskProgress) -> None:
        current = self._current(event.host)
        if current is not None:
            share = f" {100 * event.done // event.total} %" if event.total else ""
            current.note = event.text + share

    def _on_task_retrying(self, event: events.TaskRetrying) -> None:
        current = self._current(event.host)
        if current is not None:
            current.note = f"retry {event.attempt} of {event.retries}"

    def _current(self, host: str) -> Work | None:
        """What a host works on: the first of the tasks that were sent to it."""
        tasks = list(self._at_work.get(host, {}).values())
        return tasks[0] if tasks else None

    def _on_item_finished(self, event: events.ItemFinished) -> None:
        self._ordering.add_item(event)

    def _on_task_finished(self, event: events.TaskFinished) -> None:
        self._at_work.get(event.host, {}).pop(event.order, None)
        following = self._current(event.host)
        if following is not None:
            following.since = time.monotonic()
        self._print_blocks(self._ordering.add(event))

    def _on_host_finished(self, event: events.HostFinished) -> None:
        self._at_work.pop(event.host, None)
        self._print_blocks(self._ordering.leave(event.host))

    def _on_warned(self, event: events.Warned) -> None:
        where = f"{event.host}: " if event.host else ""
        self._printer.print([("warning: ", "bold yellow"), (where + event.message, "yellow")])

    def _on_run_finished(self, event: events.RunFinished) -> None:
        self._print_blocks(self._ordering.rest())
        self._printer.stop()
        self._printer.print([("", "")])
        for line in recap_lines(event):
            self._printer.print(line)
        self._printer.flush()

    def _print_blocks(self, blocks: list[TaskBlock]) -> None:
        for block in blocks:
            for line in task_lines(block, self._verbosity):
                self._printer.print(line)
        if blocks:
            self._printer.flush()

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        now = time.monotonic()
        # Called with Rich's lock held, which printing takes while it holds ours: so this takes none.
        current = [(host, self._current(host)) for host in list(self._at_work)]
        busy = sorted((work.since, host, work.task, work.note) for host, work in current if work is not None)
        rows = [
            Text.assemble(("  ⋯ ", "dim"), (host, "bold"), f"  {task}", (f"  {note}" if note else "", "cyan"),
                          (f"  {now - since:.0f} s", "dim"), no_wrap=True, overflow="ellipsis")
            for since, host, task, note in busy[:SHOWN]
            if now - since > PATIENCE
        ]  # fmt: skip
        if rows and len(busy) > SHOWN:
            rows.append(Text(f"    and {len(busy) - SHOWN} more hosts at work", style="dim"))
        return Group(*rows)
