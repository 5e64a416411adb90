"""The API server as a feed: where it is and who asks, its requests, and a reflector per resource.

`ApiFeed` (`feed.py`) is what others use, with an `Access` (`access.py`, `kubeconfig.py`) and the
`Resource`s wanted (`resources.py`). What it did and how it fares is in `ApiFeed.stats`
(`stats.py`); nothing here exposes metrics, and nothing raises out of the feed.
"""
