"""A byte stream to a host: over SSH with Fabric, through the ssh program, or on this machine."""
