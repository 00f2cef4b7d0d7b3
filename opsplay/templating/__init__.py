"""Templates with trust: what the user wrote is evaluated, what hosts said is data."""
