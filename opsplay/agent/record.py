"""What a task says and leaves: its changes, differences, warnings, what undo needs, and how it is interrupted."""

from __future__ import annotations

import os
import stat as stat_bits
import sys
import time
from typing import Any, Dict, List, NoReturn

from opsplay.agent import files, process, protocol
from opsplay.agent.shadow import Shadow

# A replaced file's content is kept for undo up to this size; larger files need the module's own way back.
UNDO_LIMIT = 16 << 20
PROGRESS_EVERY = 0.5
# Larger files are told by size and time, not by their hash.
OBSERVED_LIMIT = 1 << 20


class ModuleFailed(Exception):
    """The task failed for a reason that the module knows. `result` is what the user sees."""

    def __init__(self, message: str, **data: Any) -> None:
        Exception.__init__(self, message)
        self.result = dict(data, failed=True, msg=message)


class Cancelled(BaseException):
    """The task was interrupted: by its time-out, by the user, or because the control side is gone."""


class Record:
    """The record of one lane's running task. `begin` starts it afresh."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self.shadow = Shadow()
        self.temporary = files.Temporary()
        self.children: Any = set()
        self.critical_until = 0.0
        self._interrupted = ""
        self._critical_depth = 0
        self._progress_at = 0.0
        self.begin(0, {})

    def begin(self, number: int, options: Dict[str, Any]) -> None:
        """Start a task: `options` are check, diff, reads_only (it changes nothing), keep_undo, environment, and
        what other agents of this host have pretended (shadow)."""
        self.number = number
        self.check = bool(options.get("check"))
        self.want_diff = bool(options.get("diff"))
        self.reads_only = bool(options.get("reads_only"))
        self.keep_undo = bool(options.get("keep_undo")) and not self.check
        self.changed = False
        self.backup_file = ""
        self.diffs: List[Dict[str, Any]] = []
        self.warnings: List[str] = []
        self.unknown_values: List[str] = []
        self.undo: List[Dict[str, Any]] = []
        self._interrupted = ""
        if options.get("shadow"):
            self.shadow.learn(options["shadow"])
        os.environ.update(options.get("environment") or {})

    def outcome(self, **data: Any) -> Dict[str, Any]:
        """The module's return values; `changed` is known from what the primitives did."""
        data.setdefault("changed", self.changed)
        return data

    def finish(self, result: Dict[str, Any]) -> Dict[str, Any]:
        """The result as it travels: with differences, warnings and what undo needs."""
        result.setdefault("changed", self.changed if not result.get("failed") else False)
        if self.diffs and "diff" not in result:
            result["diff"] = self.diffs
        if self.warnings:
            result["warnings"] = self.warnings + list(result.get("warnings", ()))
        if self.undo:
            result["_undo"] = self.undo
            result["_observed"] = [observed(entry["path"]) for entry in self.undo]
        if self.check:
            self._tell_preview(result)
        return result

    def _tell_preview(self, result: Dict[str, Any]) -> None:
        """What a preview does not know, and whether a failure may be for want of what it did not do."""
        if self.unknown_values:
            result["_unknown"] = self.unknown_values
        if result.get("failed") and self.shadow.ran_programs:
            result["_uncertain"] = True
        news = self.shadow.news()
        if news:
            result["_shadow"] = news

    def unknown(self, *names: str) -> None:
        """Return values that only a real run finds out: who uses them in a preview is told so."""
        self.unknown_values.extend(names)

    def pretend_program(self) -> None:
        """A preview does not run a program, which might make any file, unless the playbook says it changes nothing."""
        if not self.reads_only:
            self.shadow.ran_programs = True

    def fail(self, message: str, **data: Any) -> NoReturn:
        """End the task as failed. Raises ModuleFailed always."""
        raise ModuleFailed(message, **data)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def note(self, before: str, after: str, what: str) -> None:
        """Record a change that no other primitive sees, with how it looks before and after."""
        self.changed = True
        if self.want_diff and (before or after):
            self.diffs.append({"before_header": what, "after_header": what, "before": before, "after": after})

    def progress(self, text: str, done: int = 0, total: int = 0) -> None:
        """Tell the user how far long work is, at most twice a second."""
        now = time.monotonic()
        if now - self._progress_at >= PROGRESS_EVERY:
            self._progress_at = now
            payload = protocol.encode_json({"text": text, "done": done, "total": total})
            self._agent.send(protocol.PROGRESS, self.number, payload)

    def deliver(self, chunk: bytes) -> None:
        """Send a piece of content to the control side, which asked for it with this call."""
        self._agent.send(protocol.DATA, self.number, chunk)

    # --- interruption ---

    def interrupt(self, reason: str) -> None:
        """Called by the signal handler: end the task here, or at the end of its critical section."""
        if self._critical_depth and time.monotonic() < self.critical_until:
            self._interrupted = reason
            return
        self.kill_children()
        raise Cancelled(reason)

    def critical(self, seconds: float) -> "Critical":
        """A section that an interruption waits for, at most this long: `with host.critical(60): …`."""
        return Critical(self, seconds)

    def lock(self, name: str, wait: float = 0) -> Any:
        """A section that one run at a time may be in: `with host.lock("pg_backup", wait=60): …`.

        `name` is a word, or the path of a file to lock; `wait` is in seconds. Fails with the holder's name. The lock is
        free when the section ends, however it ends. A preview takes none.
        """
        # By its name, as `call` does: it travels with the modules that use this primitive.
        __import__("opsplay.agent.locks")
        return sys.modules["opsplay.agent.locks"].Lock(self, name, wait)

    def leave_critical(self) -> None:
        self._critical_depth -= 1
        if not self._critical_depth:
            self.critical_until = 0.0
            if self._interrupted:
                raise Cancelled(self._interrupted)

    def kill_children(self) -> None:
        for pid in list(self.children):
            process.kill_group(pid)

    def clean_up(self) -> None:
        """Remove what the task left unfinished."""
        if self.temporary.paths:
            self.temporary.clean_up()

    # --- undo ---

    def remember(self, path: str, before: Any, content: bool = True) -> None:
        """Keep what is at `path` now for undo; `before` None says that there is nothing."""
        if not self.keep_undo:
            return
        entry: Dict[str, Any] = {"path": path, "kind": "absent"}
        if before is not None:
            mode = stat_bits.S_IMODE(before.st_mode)
            entry = {"path": path, "kind": kind_of(before), "mode": mode, "uid": before.st_uid, "gid": before.st_gid}
            if entry["kind"] == "link":
                entry["target"] = os.readlink(path)
            elif content and entry["kind"] == "file":
                self._keep_content(path, before.st_size, entry)
        self.undo.append(entry)

    def _keep_content(self, path: str, size: int, entry: Dict[str, Any]) -> None:
        if size > UNDO_LIMIT:
            entry["too_large"] = size
            return
        from binascii import b2a_base64

        entry["content"] = b2a_base64(files.read_whole(path), newline=False).decode("ascii")


class Critical:
    """The context of `Record.critical`."""

    def __init__(self, record: Record, seconds: float) -> None:
        self.record = record
        self.seconds = seconds

    def __enter__(self) -> None:
        self.record._critical_depth += 1
        self.record.critical_until = max(self.record.critical_until, time.monotonic() + self.seconds)

    def __exit__(self, *exc: Any) -> None:
        self.record.leave_critical()


def observed(path: str) -> Dict[str, Any]:
    """What is at a path now, so that a later run can tell whether it is still so."""
    try:
        found = os.lstat(path)
    except OSError:
        return {"path": path, "kind": "absent"}
    seen = {"path": path, "kind": kind_of(found), "mode": stat_bits.S_IMODE(found.st_mode)}  # type: Dict[str, Any]
    seen.update(uid=found.st_uid, gid=found.st_gid)
    if seen["kind"] == "link":
        seen["target"] = os.readlink(path)
    elif seen["kind"] == "file":
        seen.update(size=found.st_size, mtime=found.st_mtime)
        if found.st_size <= OBSERVED_LIMIT:
            import hashlib

            seen["sha256"] = hashlib.sha256(files.read_whole(path)).hexdigest()
    return seen


def kind_of(found: Any) -> str:
    """file, directory, link or special."""
    if stat_bits.S_ISREG(found.st_mode):
        return "file"
    if stat_bits.S_ISDIR(found.st_mode):
        return "directory"
    return "link" if stat_bits.S_ISLNK(found.st_mode) else "special"


def describe(mode: int, uid: int, gid: int) -> str:
    """Permissions as a line of a difference."""
    return "mode %04o owner %d group %d\n" % (mode, uid, gid)
