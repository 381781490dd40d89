"""Speed, side by side: plain Keras against this package, in pairs in one run. ``python -m benchmarks --help``."""
