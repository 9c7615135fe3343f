"""Benchmarks behind `make bench-...`, and the made-up data that they and the tests use."""
