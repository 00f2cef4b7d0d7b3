"""What makes a host hard to break into: sshd, limits, banners, passwords."""
