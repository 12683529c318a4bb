"""What a start checks, and what a process that runs is told.

* `allowance`: what a configuration needs against what the system gives; `rulebook`: what it says against the tables.
* `signals`: what each signal does; `reload`: what SIGHUP takes from the files while the process runs.

`daemon` has the nursery tree, `outside` what the machine gives.
"""
