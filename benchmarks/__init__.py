"""Benchmarks: `python -m benchmarks.NAME --json`. What each of them measures: docs/benchmarks.md."""
