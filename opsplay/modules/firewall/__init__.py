"""Who may reach the host, and whom it may reach."""
