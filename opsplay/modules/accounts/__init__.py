"""Modules for accounts: users and groups."""
