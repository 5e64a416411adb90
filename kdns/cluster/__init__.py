"""Where the cluster's objects come from: stripped object types and the feeds that yield them.

A feed is an async iterator of `Upsert`, `Delete` and `Synced` (`kdns.cluster.feed`). What the
objects mean in DNS is not known here.
"""
