"""Ownership (Wang et al., NSDI'21): task throughput against nodes, fitted at both ends and predicted between."""
