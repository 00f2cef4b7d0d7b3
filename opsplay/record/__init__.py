"""The run's record: JSON lines of events, and the private store that undo needs."""
