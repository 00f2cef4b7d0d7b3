"""A callback for ansible-core, which runs as a program of its own: it writes down each task's result as a line of JSON.

DOCUMENTATION names the plugin for ansible-core.
"""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: oracle
    type: notification
    short_description: writes results down
    description: One line of JSON for each task's result, and one with the recap.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "oracle"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, entry):
        with open(os.environ["ORACLE_FILE"], "a") as file:
            file.write(json.dumps(entry, default=str) + "\n")

    def _task(self, status, result):
        task = result._task
        self._write(
            {
                "host": result._host.get_name(),
                "task": task.get_name(),
                "module": task.action,
                "status": status,
                "data": json.loads(self._dump_results(result._result)),
            }
        )

    def v2_runner_on_ok(self, result):
        self._task("changed" if result._result.get("changed") else "ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._task("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result):
        self._task("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self._task("unreachable", result)

    def v2_playbook_on_stats(self, stats):
        self._write({"recap": {host: stats.summarize(host) for host in sorted(stats.processed)}})
