"""Sockets: UDP, TCP, the kept answers, and the HTTP endpoints.

Nothing here knows of Kubernetes; a query that is not answered from memory goes to a server block's
chain.
"""
