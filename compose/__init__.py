"""How to run it: one data centre per file, the volumes below it, and a world of two data centres on one machine.

prepare     what a world's containers are given: keys, certificates, configurations
world       brings that world up, loads it, judges it, takes it down
alive       the health check of a gateway's container
"""
