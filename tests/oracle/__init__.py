"""The same playbook under ansible-core and opsplay, on fresh lab hosts."""
