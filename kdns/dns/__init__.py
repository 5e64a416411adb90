"""DNS as bytes: names, queries, replies and their rendering, record data.

Everything here is a pure function of its arguments. Sockets, clocks, asyncio and Kubernetes have
no place in it.
"""
