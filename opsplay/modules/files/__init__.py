"""Modules that make, change and look at files."""
