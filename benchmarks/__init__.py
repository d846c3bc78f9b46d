"""One module per question about speed or memory; `python -m benchmarks.<name> [--quick]` answers it."""
