"""What a run's folder declares, carries and records."""
