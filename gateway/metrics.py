"""Every metric, with its unit in its name. Children are made once and kept: `.labels()` costs more than counting.

No label holds what a customer could be known by; labels come from configuration or from closed sets of ours.
A part's metrics stand together under its heading; whoever counts imports the child, never the registry.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
"""What `/metrics` shows, without the library's process-wide default registry."""

LATENCY_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Buckets of every latency histogram, seconds."""

# --- journal

# --- signer

# --- hub

# --- processor

# --- payments
