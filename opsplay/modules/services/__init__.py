"""Modules for services and other systemd units."""
