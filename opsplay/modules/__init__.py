"""Modules that are shipped to hosts: a file each, a folder for each area."""
