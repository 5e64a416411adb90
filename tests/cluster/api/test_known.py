from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from kdns.cluster.api.known import Known, fingerprint

keys = st.sampled_from("abcd")
versions = st.integers(1, 3)


class KnownAgainstDictionaries(RuleBasedStateMachine):
    """What a reader has, kept twice: in `Known`, and simply."""

    def __init__(self) -> None:
        super().__init__()
        self.known = Known()
        self.model = {}
        self.confirmed = None

    @rule(key=keys, version=versions)
    def take(self, key, version):
        assert self.known.take(key, version) == (self.model.get(key) != version)
        self.model[key] = version
        if self.confirmed is not None:
            self.confirmed.add(key)

    @rule(key=keys)
    def drop(self, key):
        assert self.known.drop(key) == (self.model.pop(key, None) is not None)

    @rule(key=keys)
    def confirm(self, key):
        self.known.confirm(key)
        if self.confirmed is not None:
            self.confirmed.add(key)

    @precondition(lambda self: self.confirmed is None)
    @rule(distrust=st.booleans())
    def begin(self, distrust):
        self.known.begin(distrust=distrust)
        self.confirmed = set()
        if distrust:
            self.model = dict.fromkeys(self.model, 0)

    @precondition(lambda self: self.confirmed is not None)
    @rule()
    def end(self):
        gone = set(self.model) - self.confirmed
        assert set(self.known.end()) == gone
        self.model = {key: self.model[key] for key in self.model if key not in gone}
        self.confirmed = None

    @precondition(lambda self: self.confirmed is not None)
    @rule()
    def abandon(self):
        self.known.abandon()
        self.confirmed = None

    @precondition(lambda self: self.confirmed is None)
    @rule(key=keys)
    def look(self, key):
        assert self.known.get(key) == self.model.get(key)
        assert self.known.keys() == set(self.model)

    @rule(key=keys)
    def count(self, key):
        assert len(self.known) == len(self.model)
        assert (key in self.known) == (key in self.model)


TestKnown = KnownAgainstDictionaries.TestCase


def test_fingerprints_tell_uids_and_versions_apart():
    assert len({fingerprint(u, v) for u in ("", "a", "b") for v in ("", "1", "a")}) == 9
    assert fingerprint("a", "1") == fingerprint("a", "1")
