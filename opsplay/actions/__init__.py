"""What runs on the control side: actions prepare remote work, or answer by themselves."""
