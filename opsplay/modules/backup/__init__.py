"""Backups of every kind: what there is, which of them to take, and which may go."""
