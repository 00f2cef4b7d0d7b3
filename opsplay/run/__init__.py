"""The engine: a pure reducer a host, fences that keep the order where it can be observed, bounded threads."""
