"""Node-local: what a cache on a node changes in that node's network, and who takes it back.

Interface and addresses, packet-filter rules, the probe, and the supervisor that holds them for as
long as the serving process answers. It is for a process of some 10 MB that must outlive everything
but the kernel: no import from the rest of the house, no asyncio, nothing that is dear to load.
"""
