"""What a process does about itself: a start's checks, and the tasks beside the payments.

    allowance    what a configuration needs against what the system gives
    rulebook     what a configuration says against the tables that it names
    signals      what each signal does
    reload       what SIGHUP takes from the files while the process runs
    health       whether payments should come here, and how each part is
    clocks       whether this process stood still, and whether the clocks agree
    holding      keeps the hub away while the process is unready
    sealing      has the HSM sign the journal's chain
    stopping     the order to stop, and the drain

`daemon` has the nursery tree in which these run, `outside` what the machine gives.
"""
