'''For a bank's payment processor in Python: submit payments to the gateways of both sites, and never make two of one.

    import trio

    from gateway.sdk import Gateways, Rejected, Settled, Site, Unknown, Unsent, prepare

    SITES = [
        Site("a", "http://127.0.0.1:9300", ready_url="http://127.0.0.1:9300/ready"),
        Site("b", "http://127.0.0.1:9301", ready_url="http://127.0.0.1:9301/ready"),
    ]

    async def pay(gateways, payment, key, store):
        """Make one payment. `store` is the processor's own database."""
        prepared = prepare(payment, key)
        await store.keep(prepared)  # durably, and before the next line
        await settle(gateways, prepared, store, first=True)

    async def settle(gateways, prepared, store, *, first=False):
        match await gateways.submit(prepared, first=first):
            case Settled(accepted=True):
                await store.paid(prepared.key)
            case Settled(code=code):
                await store.refused(prepared.key, code)
            case Rejected(problem=problem):
                await store.mistaken(prepared.key, problem)
            case Unsent():
                await store.not_made(prepared.key)
            case Unknown():
                await store.unresolved(prepared.key)  # neither paid nor failed: `settle` it again, until it is

    async def main(store):
        async with trio.open_nursery() as nursery:
            gateways = Gateways(SITES)
            await nursery.start(gateways.run)
            for prepared in await store.without_an_outcome():  # a process before this one may have submitted them
                nursery.start_soon(settle, gateways, prepared, store)
            ...  # pay(gateways, payment, key, store), for each payment (`gateway.processor.messages.Submitted`)

Store the whole `Prepared` on disk before `submit`. It is plain data and holds all that may not change: the key, the
body, and with it the date and the TRN, so that both sites make the same FPID of it at any time. A processor that was
killed submits every payment without an outcome again, without `first`. A payment that was prepared and not stored was
never submitted.

`Settled` is final. `Rejected` and `Unsent`: surely nothing left. `Unknown`: the payment may have left. Submit it again
under the same key, never under another; the gateway's notice, which tells the processor every outcome as well, may come
first. `submission` says how that is decided.

    prepared    fixes which payment it is; pure
    answers     reads out of a response what an attempt met; pure
    submission  chooses the next site, the end and the result; pure, with advice for another shell
    readiness   says which site to try first; pure
    client      `Gateways`: connections, deadlines, `/ready`, on trio
'''

from gateway.config import Tls
from gateway.processor.messages import Submitted
from gateway.sdk.client import Gateways, Site
from gateway.sdk.prepared import Prepared, prepare
from gateway.sdk.submission import Limits, Outcome, Rejected, Seen, Settled, Unknown, Unsent

__all__ = [
    "Gateways", "Limits", "Outcome", "Prepared", "Rejected", "Seen", "Settled", "Site", "Submitted", "Tls", "Unknown",
    "Unsent", "prepare",
]  # fmt: skip
