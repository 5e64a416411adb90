"""kdns: a Kubernetes cluster DNS server.

`kdns.cli` is the command line and `kdns.server` puts the rooms together; each package's docstring
says what may live in it.
"""

__version__ = "0.1.0"
