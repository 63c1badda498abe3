"""Benchmarks, apart from the tests: ``make bench``. Figures are ratios of one run on one machine; tests never time anything."""
