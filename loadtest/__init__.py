"""How fast is it, and does every penny add up: a mock hub, a mock processor, arrivals, and the books that judge.

    python -m loadtest demo        less than a minute in the life of a bank's gateways, ending in the ledger
    python -m loadtest try DIR     a gateway of your own, with all that is around it: three commands to copy, and curl
    python -m loadtest run         figures: a rate, a time, latencies, and the ledger's verdict on what was measured
    python -m loadtest kills       everything is killed and stopped at random moments, and the ledger judges
    python -m loadtest endure      a million payments in one go, with faults: nothing grows
    python -m loadtest hub         the hub alone: participants dial it, payments go both ways, everything is judged
    python -m loadtest processor   the processor alone
    python -m loadtest steer       tell a hub or a processor that runs elsewhere what to do
    python -m loadtest ledger      judge books that were kept before

Who knows what:

    arrivals    when payments are due: an open model                              pure
    histogram   latencies in logarithmic buckets                                  pure
    entries     what a line of each book can say                                  pure
    promises    what a ledger checks, by name and as a sentence                   pure
    contents    what a payment says, as a digest that does not say it             pure
    ledger      the accounting oracle: the books in, a verdict out; its halves are
                ledger_inbound and ledger_outbound, and ledger_order judges what
                was before what, where the books' one order is known              pure
    payments    synthetic payments and the bytes of each                          pure
    keys        MACs in software, from the development key file                   pure
    judge       is this reply what the scheme asks for                            pure
    scheme      the hub's side of it all: who may say what, and whose business it is  pure
    parties     participants, their links, the payments that a link must answer   pure
    switch      who is connected, what leaves by whom                             pure
    deliveries  payments to a receiver: patience, reversal, repeats               pure
    submissions payments from a sender: judgement, routing, answers; each is read
                by `requests`, and may be for a simulated `bank`                  pure
    rekey       keys that change in band                                          pure
    bulletins   news of the scheme, and `standing`: what it does to payments      pure
    mischief    what a hub should never send, and the answer that it must get     pure
    iso         messages and frames, written and read by other code               pure
    hub         the mock hub's command; `participants`: who takes part
    sites       the mock hub's shell: connections, load, time                     trio
    steering    what the control socket understands                               trio
    control     the hub's control socket, both ends; `steer`: from a command line trio
    processor   the mock processor, and the book that it keeps: processor_book    trio
    submitter   payments that the mock processor submits to a gateway, and the
                `outbox` by which it forgets none when it is killed               trio
    instructions  their JSON, and the FPIDs that they will have                   pure
    calls       HTTP calls over connections that are kept; `responses`: what counts
                for the response to one                                           trio
    books       reading the books from files and from the journal's command
    report      verdicts and latencies as text
    world       a hub and one bank or two on loopback; `banks`: the tokens, processor and gateways of each
    processes   how a part is started, watched and ended                              trio
    trying      a world written down for a person to start, as `try`
    demo, run   what one does with a world; `load`: payments at a rate, and what came of them
    kills, endure  the same under trouble, for minutes or for a million payments: a `siege`
    trouble     what goes wrong, and when, from a seed                            pure
    hands       they do it to processes, and keep everybody running               trio
    steady      does anything grow: samples of a process, and what they say
    story       what all books, journals and logs say of one payment
    screen      what a demo shows while it runs

Who may import whom, row by row, each from those above; tests/test_layout.py holds every module to it:

    arrivals histogram entries promises iso                                    pure from here
    contents judge payments standing keys screen trouble steady
    bank requests ledger_inbound ledger_outbound ledger_order
    ledger parties
    report switch
    bulletins rekey deliveries
    submissions participants
    scheme
    mischief
    outbox responses instructions processor_book                              shells
    calls processes books
    control
    submitter banks steer story
    processor world sites
    demo load hands steering trying processor_command
    siege hub
    kills run
    endure
    __main__

It speaks through `gateway.wire` and the processor's message definitions and knows nothing else of the gateway; framing,
MACs, FPIDs and their hashes are restated here, so that one mistake cannot hide in both.
"""
