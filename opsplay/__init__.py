"""Run Ansible playbooks over SSH, with nothing installed on the hosts.

    from opsplay import Inventory, Playbook, connect

Importing this package loads nothing else until one of these names is touched: the agent on a host imports
`opsplay.agent` through it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from opsplay.api import HostFailed as HostFailed
    from opsplay.api import Inventory as Inventory
    from opsplay.api import Outcome as Outcome
    from opsplay.api import Playbook as Playbook
    from opsplay.api import RunResult as RunResult
    from opsplay.api import TaskFailed as TaskFailed
    from opsplay.api import connect as connect

__version__ = "0.1.0"
__all__ = ["HostFailed", "Inventory", "Outcome", "Playbook", "RunResult", "TaskFailed", "connect"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from opsplay import api

        return getattr(api, name)
    raise AttributeError(f"module 'opsplay' has no attribute '{name}'")
