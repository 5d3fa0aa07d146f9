"""What lies between simulated nodes: latency, and links of a bandwidth that transfers share."""
