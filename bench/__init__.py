"""kdns measured beside its peers: `python -m bench`.

Only this package knows how another DNS server is started, fed and accounted. Nothing here is
imported by `kdns`, and no address but loopback is ever a target.
"""
