"""Does the fuzzer find what is broken on purpose? `python -m experiments.mutants`."""
