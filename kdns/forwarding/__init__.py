"""Names of others: upstreams and how they are asked, their health, and the cache of what they said.

Nothing here knows of plugins, sockets of clients, or Kubernetes.
"""
