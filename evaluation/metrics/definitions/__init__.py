"""The metrics, one file each: a function of the measurement, and a record (see `metric`)."""
