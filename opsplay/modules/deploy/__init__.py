"""Deployment: which release of a service is in use."""
