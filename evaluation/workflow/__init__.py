"""A run as a whole: its plan, its cost beforehand, its jobs, its record afterwards."""
