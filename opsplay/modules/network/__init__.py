"""Modules that speak with servers and wait for them."""
