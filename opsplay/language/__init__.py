"""Playbooks: documents become plays, blocks and tasks, checked against a catalog of modules."""
