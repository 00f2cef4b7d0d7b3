"""Modules about certificates: looked at, made, obtained from a CA, and as they are served."""
