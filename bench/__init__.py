"""Measurements: how fast and how small, in interleaved pairs against the tools that people use otherwise."""
