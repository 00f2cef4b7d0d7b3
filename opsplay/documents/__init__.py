"""YAML as the user wrote it: every value knows its place, duplicate keys are refused."""
