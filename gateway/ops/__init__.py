"""What people and machines may see of a running gateway. It reads; it never decides, and nobody who asks can hurt it.

`/live`        200 while the event loop turns
`/ready`       200 or 503, with every part's state and every reason why not
`/metrics`     Prometheus text or OpenMetrics, whichever is asked for
`/statistics`  the engine's and the parts' counts, as JSON
"""
