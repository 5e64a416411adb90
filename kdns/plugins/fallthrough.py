"""`fallthrough [ZONE...]`: names that a plugin does not have go on to the next one."""

from __future__ import annotations

from dataclasses import dataclass

from kdns.corefile.arguments import Properties
from kdns.corefile.zones import origins
from kdns.dns.names import ROOT, from_text, suffixes


@dataclass(frozen=True, slots=True)
class Fallthrough:
    """The zones, in lower-case wire form, whose missing names fall through."""

    zones: frozenset[bytes] = frozenset()

    def takes(self, name: bytes) -> bool:
        """Whether a lower-case absolute wire name falls through."""
        if not self.zones:
            return False
        return ROOT in self.zones or any(suffix in self.zones for _, suffix in suffixes(name))


def read(properties: Properties) -> Fallthrough:
    """The property `fallthrough`; without zones it stands for all names. Raises CorefileError."""
    zones: set[bytes] = set()
    for tokens in properties.each("fallthrough", "[ZONE...]"):
        named = [from_text(zone) for token in tokens for zone in origins(token)]
        zones.update(named or [ROOT])
    return Fallthrough(frozenset(zones))
