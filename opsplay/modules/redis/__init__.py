"""Redis: its state, its settings, backups that are proven, and restores that its append-only file does not undo."""
