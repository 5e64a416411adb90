"""Address ranges, and addresses handed out of them by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

SERVICE_RANGES = "10.96.0.0/16,fd00:10:96::/112"
POD_RANGES = "10.244.0.0/16,fd00:10:244::/64"

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # of generated names: no vowels, so no words


@dataclass(frozen=True, slots=True)
class Settings:
    """The ranges of the embedded control plane: one a family, or one alone; the first is primary.

    Raises ValueError where they do not fit together.
    """

    service_ranges: tuple[Network, ...] = tuple(map(ip_network, SERVICE_RANGES.split(",")))
    pod_ranges: tuple[Network, ...] = tuple(map(ip_network, POD_RANGES.split(",")))

    def __post_init__(self) -> None:
        for what, ranges in (("Service", self.service_ranges), ("pod", self.pod_ranges)):
            if not ranges or len({network.version for network in ranges}) < len(ranges):
                raise ValueError(f"{what} ranges: give one range, or one IPv4 and one IPv6 range")
            for network in ranges:
                if isinstance(network, IPv6Network) and network.network_address.scope_id:
                    raise ValueError(f"{what} range {network} has a zone: take out %… of it")
                if network.num_addresses < 16:
                    raise ValueError(
                        f"{what} range {network} is too small: give 16 addresses or more"
                    )
        if {n.version for n in self.service_ranges} != {n.version for n in self.pod_ranges}:
            raise ValueError("Service and pod ranges are of different families: give both the same")

    @classmethod
    def of(cls, service_ranges: Sequence[str]) -> Settings:
        """Of Services' CIDRs, with pods of the same families; the defaults for none.

        Raises ValueError.
        """
        if not service_ranges:
            return cls()
        services = tuple(map(ip_network, service_ranges))
        versions = [network.version for network in services]
        pods = {network.version: network for network in map(ip_network, POD_RANGES.split(","))}
        return cls(services, tuple(pods[version] for version in versions))


class AddressPool:
    """Addresses of one range by digest: whatever else is asked for, a digest gets the address that
    it points to, unless another has that; then the next free one, and `displaced` counts it.

    Reserve first. The lowest `static` addresses are handed out last, as by kube-apiserver, so that
    an address chosen by hand later takes nobody's.
    """

    def __init__(self, network: Network, *, static: int) -> None:
        first, last = int(network.network_address) + 1, int(network.broadcast_address)
        last -= network.version == 4  # the broadcast address
        self.network = network
        self.first = network.network_address + 1
        self.displaced = 0
        split = first + min(static, last - first)
        self._bands = [range(split, last + 1), range(first, split)]
        self._free = [band.stop - band.start for band in self._bands]  # len() ends at 2**63
        self._taken: set[int] = set()

    def reserve(self, number: int) -> None:
        """Take an address given by hand: in the range or not, taken already or not."""
        if number not in self._taken:
            self._take(number)

    def allocate(self, digest: int) -> int | None:
        """An address as a number; None where the range is used up."""
        for band, free in zip(self._bands, self._free, strict=True):
            if free:
                wanted = number = band.start + digest % (band.stop - band.start)
                while number in self._taken:
                    number = number + 1 if number + 1 in band else band.start
                self._take(number)
                self.displaced += number != wanted or band is not self._bands[0]
                return number
        self.displaced += 1
        return None

    def text(self, number: int) -> str:
        """An address of this range as text."""
        if self.network.version == 4:
            return inet_ntop(AF_INET, number.to_bytes(4))
        return inet_ntop(AF_INET6, number.to_bytes(16))

    def _take(self, number: int) -> None:
        self._taken.add(number)
        for index, band in enumerate(self._bands):
            self._free[index] -= number in band


def packed(text: str) -> bytes:
    """The bytes of an address, 4 or 16. Raises OSError for text that is none."""
    return inet_pton(AF_INET6 if ":" in text else AF_INET, text)


def static_band(network: Network) -> int:
    """How many addresses of a Service range kube-apiserver keeps for choosing by hand."""
    return min(max(16, network.num_addresses // 16), 256) if network.num_addresses > 32 else 0


def digest(text: str) -> int:
    """64 bits that depend on `text` alone, in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def suffix(text: str, length: int) -> str:
    """`length` letters for a generated name, made of `text` alone."""
    number = digest(text)
    letters = []
    for _ in range(length):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)
