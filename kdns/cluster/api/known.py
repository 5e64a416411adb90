"""Which objects the reader of a feed has, and in which version."""

from __future__ import annotations

from typing import TypeAlias

Fingerprint: TypeAlias = int
"""Stands for an object's uid and resourceVersion; equal for equal ones, within this process."""


def fingerprint(uid: str, version: str) -> Fingerprint:
    return hash((uid, version))


class Known:
    """Keys ("namespace/name") with fingerprints: what a list is compared with.

    During a list, from `begin` to `end`, what it has not confirmed yet is kept apart, so that a
    relist needs no second copy and tells afterwards what is gone.
    """

    __slots__ = ("_fingerprints", "_unconfirmed")

    def __init__(self) -> None:
        self._fingerprints: dict[str, Fingerprint] = {}
        self._unconfirmed: dict[str, Fingerprint] = {}

    def __len__(self) -> int:
        return len(self._fingerprints) + len(self._unconfirmed)

    def __contains__(self, key: str) -> bool:
        return key in self._fingerprints or key in self._unconfirmed

    def begin(self, *, distrust: bool = False) -> None:
        """A list begins. `distrust`: equal fingerprints are not taken for equal objects."""
        if distrust:
            self._unconfirmed = dict.fromkeys(self._fingerprints, 0)
        else:
            self._unconfirmed = self._fingerprints
        self._fingerprints = {}

    def end(self) -> list[str]:
        """The list is complete: the keys that it did not confirm, which are forgotten."""
        gone = list(self._unconfirmed)
        self._unconfirmed = {}
        return gone

    def abandon(self) -> None:
        """The list will not be completed: everything is known as before and since."""
        self._unconfirmed.update(self._fingerprints)
        self._fingerprints, self._unconfirmed = self._unconfirmed, {}

    def take(self, key: str, version: Fingerprint) -> bool:
        """The object exists in this version; whether that is news."""
        before = self._unconfirmed.pop(key, None) if self._unconfirmed else None
        if before is None:
            before = self._fingerprints.get(key)
        self._fingerprints[key] = version
        return before != version

    def confirm(self, key: str) -> None:
        """The object exists, in a version that cannot be told: what is known of it stays."""
        before = self._unconfirmed.pop(key, None)
        if before is not None:
            self._fingerprints[key] = before

    def drop(self, key: str) -> bool:
        """The object is gone; whether that is news."""
        known = self._fingerprints.pop(key, None) is not None
        return self._unconfirmed.pop(key, None) is not None or known

    def get(self, key: str) -> Fingerprint | None:
        """The version that the reader has of an object; None where it has none."""
        return self._fingerprints.get(key)

    def keys(self) -> set[str]:
        """All keys, outside of a list."""
        return set(self._fingerprints)
