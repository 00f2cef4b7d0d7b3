"""What people and programs see of a run: sinks take events and nothing else."""
