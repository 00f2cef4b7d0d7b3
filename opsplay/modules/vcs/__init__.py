"""Modules that work with version control."""
