"""Modules that install and remove packages."""
