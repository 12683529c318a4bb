"""What people and machines may see and switch in a running gateway. It decides nothing, and no client can hurt it.

`/live`        200 while the event loop turns
`/ready`       200 or 503, with every part's state and every reason why not
`/metrics`     Prometheus text or OpenMetrics, whichever is asked for
`/statistics`  the engine's and the parts' counts, as JSON

Controls are POSTs with a JSON body (`Content-Type: application/json`, no `Origin`: `server` says why), by `daemon`:

`/stand-in`    `{"mode": "timer"}`, `"always"` or `"never"`: how stand-in works from here on, also after a restart;
               answered once that is durable. `gateway/payments/standin.py` says how it meets the configuration's mode
`/drain`       `{"wait_s": 5}`: end as by SIGTERM; responds when that is over, or after `wait_s` with the number of
               payments in flight
`/news`        `{"source": id, "message": base64}`: another process of ours hands on news of the scheme (`news`)
`/notices/again`  `{"position": 17}`: a parked notice is told once more; responds with the result (`notices`)
"""
