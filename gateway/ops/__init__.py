"""What people and machines may see and switch in a running gateway. It decides nothing, and no client can hurt it.

`/live`        200 while the event loop turns
`/ready`       200 or 503, with every part's state and every reason why not
`/metrics`     Prometheus text or OpenMetrics, whichever is asked for
`/statistics`  the engine's and the parts' counts, as JSON
`/acts`        the latest acts, as JSON; for the roles `operate` and `approve`
`/drain`       how far a drain is; `?wait_s=5` waits for its end; for the role `operate`
`/notices`     parked notices, as JSON; for the role `operate`

Controls are POSTs with a JSON body (`Content-Type: application/json`, no `Origin`: `server` says why), by `daemon`:

`/acts/NAME`   `{"why": text, "what": {…}}`: an act (`gateway.acts.table` has all); `desk` judges, records and does it
`/news`        `{"source": id, "message": base64}`: another process of ours hands on news of the scheme (`news`); for
               the role `peer`
"""
