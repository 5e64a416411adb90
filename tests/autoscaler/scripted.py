"""An API server that does as a test says, and a clock that goes when it is told to."""

from __future__ import annotations

from kdns.autoscaler.api import ApiError, Scale, Settings
from kdns.autoscaler.census import Node

CORE = 10**9
LINEAR = '{"coresPerReplica":256,"nodesPerReplica":16,"preventSinglePointFailure":true}'


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class ScriptedApi:
    """Nodes, one ConfigMap and scales; `broken` has an error for each method that fails."""

    def __init__(self, nodes=2, data=None, **replicas):
        self.listed = {f"n{number}": Node(True, 4 * CORE) for number in range(nodes)}
        self.watched = []
        self.asked = []
        self.data = data
        self.version = 1
        self.replicas = replicas
        self.broken = {}
        self.written = []

    def _ask(self, what):
        self.asked.append(what)
        if what in self.broken:
            raise ApiError(self.broken[what])

    def nodes(self, selector):
        self._ask("nodes")
        return dict(self.listed), "7"

    def changes(self, selector, version, seconds):
        self._ask(f"changes since {version}")
        for each in self.watched:
            if isinstance(each, Exception):
                raise each
            yield each

    def settings(self, name):
        self._ask("settings")
        return None if self.data is None else Settings(self.data, str(self.version))

    def create_settings(self, name, data):
        self._ask("create")
        self.data = dict(data)
        return Settings(self.data, str(self.version))

    def configure(self, **data):
        self.data = data
        self.version += 1

    def scale(self, target):
        self._ask("scale")
        if target.name not in self.replicas:
            raise ApiError(f"cannot get the scale of {target}: not found")
        return Scale(self.replicas[target.name])

    def rescale(self, target, scale, replicas):
        self._ask("rescale")
        self.replicas[target.name] = replicas
        self.written.append((str(target), replicas))
