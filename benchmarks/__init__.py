"""Measurements of tracknet beside what it is compared with; see `benchmarks.__main__`."""
