"""kdns and CoreDNS side by side at one real API server: `python -m bench.live`.

How soon each is ready and how much memory it takes, how soon it answers what has changed, and what
its clients notice when the API server is killed and everything has to be listed again.
"""
