"""Health: what a service answers, how fast, and suites of checks with thresholds."""
