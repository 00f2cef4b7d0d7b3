"""Modules that run things at a time."""
