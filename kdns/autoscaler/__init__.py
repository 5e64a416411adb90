"""The autoscaler: replicas of the DNS servers in proportion to the nodes and cores of the cluster.

A program of its own that takes cluster-proportional-autoscaler's place: `kdns autoscaler`. It reads
nodes and a ConfigMap and writes the scale of its targets, all through the package `kubernetes`. It
knows nothing of DNS, and imports nothing from the rest of the house but log lines and the version.
"""
