"""Scripts behind the published figures: `python benchmarks/NAME.py [--json] [--quick]`."""
