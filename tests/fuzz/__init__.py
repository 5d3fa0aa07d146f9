"""The fuzzer, and what it has found."""
