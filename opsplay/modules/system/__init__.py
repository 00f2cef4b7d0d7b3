"""Modules about the system as a whole."""
