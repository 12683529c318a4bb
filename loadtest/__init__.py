"""How fast is it, and does every penny add up: a mock hub, a mock processor, arrivals, and the books that judge.

    .venv/bin/python -m loadtest COMMAND

    demo        less than a minute in the life of a bank's gateways, ending in the ledger
    try DIR     a gateway of your own, with all that is around it: three commands to copy, and curl
    run         figures: a rate, a time, latencies, and the ledger's verdict on what was measured
    kills       processes are killed and stopped at random moments, and the ledger judges
    endure      a million payments in one go, with faults: nothing grows
    hub         the mock hub alone: participants dial it, payments go both ways, everything is judged
    processor   the mock processor alone
    steer       tell a hub or a processor that runs elsewhere what to do
    ledger      judge books that were kept before

Who knows what:

    traffic    when payments are due (`arrivals`: an open model; `agenda`: what is due later), what they are
               (`payments`) and say (`contents`), their bytes (`iso`), whether a reply is right (`judge`), and how long
               it took (`histogram`)                                                                     pure
    ledger     the books (`entries`: what a line of each can say; `books`: read from where they lie), the promises
               that are checked, by name and as a sentence, and the `oracle` that judges: `inbound`, `outbound` and,
               where the books' one order is known, `order`; `report`: its verdict as text
    hub        the mock hub: `scheme` decides, and is pure with all that it asks: `parties` and `switch` (who is
               connected), `deliveries` (payments to a receiver) and `responses` (what it says to them), `submissions`
               (from a sender; `requests` reads them, a simulated `bank` decides, `answers` leave, or are spoilt by
               `injections`; `returns`: payments that come back), `rekey` (keys), `bulletins` and `standing` (news),
               `mischief` (what a hub should never send); `keys`: MACs in software. `sites` is its shell, `steering` and
               `control` its control socket, `participants` who takes part, `command` its command line
    processor  the mock processor: the `server` and its `connection`s, `modes` of behaviour, its `book`, the `submitter`
               with its `outbox` by which a kill makes it forget nothing; `instructions`: the JSON that it submits,
               `heard`: the JSON that it gets
    parts      `processes`: how a part is started, watched and ended; `calls` and `responses`: HTTP by other code
    runs       a `world` of a hub and one bank or two on loopback (`banks`), what one does with it (`demo`,
               `run` with `load`), and the same under `trouble` (`siege`: `kills`, `endure`; `hands` do it, `steady`
               looks whether anything grows); `screen`: plain `rows`, or a `board` on a terminal; `story`: what all
               books say of one payment; `steer`: from a command line; `trying`: a world that is written down for a
               person to start

Who may import whom: a module those in rows above its own, or in its own room, and never in a circle;
tests/test_layout.py holds every module to it:

    traffic ledger.entries ledger.promises                                    pure from here
    ledger                                                                    the accounting oracle, and its books
    parts                                                                     shells from here
    hub processor                                                             they meet in a run
    runs
    __main__

It speaks through `gateway.wire` and the processor's message definitions and knows nothing else of the gateway; framing,
MACs, FPIDs and their hashes are restated here, so that one mistake cannot hide in both.
"""
