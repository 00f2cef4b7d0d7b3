"""Run Ansible playbooks over SSH, with nothing installed on the hosts.

Importing this package loads nothing else: the agent on a host imports `opsplay.agent` through it.
"""

__version__ = "0.1.0"
