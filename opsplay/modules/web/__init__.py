"""Modules about web servers."""
