"""The cluster as DNS records.

The Kubernetes DNS specification as functions from objects to record sets, and the store that keeps
up with the objects one change at a time. No sockets, clocks or HTTP: time comes in as an argument.
"""
