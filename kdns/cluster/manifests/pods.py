"""Pods: those declared, and those that workloads would keep running, all with their addresses."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

from msgspec import Struct

from kdns.cluster.manifests.addresses import AddressPool, Settings, digest, packed, suffix
from kdns.cluster.manifests.documents import ManifestError
from kdns.cluster.manifests.kinds import Declared, DeclaredPod, PodSpec, Workload
from kdns.cluster.manifests.turns import Turns
from kdns.cluster.objects import Metadata, Pod, PodIP, PodStatus, TargetRef

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"

_GENERATED_BASE = 58  # generated names keep this much of what they are made from


class Running(Struct, frozen=True, gc=False):
    """A pod as it comes out, with what its endpoints say of it."""

    object: Pod
    hostname: str
    subdomain: str
    ready: bool
    reference: TargetRef


class Group(NamedTuple):
    """Pods of one namespace that share their labels and their spec."""

    namespace: str
    labels: dict[str, str]
    spec: PodSpec
    pods: list[Running]


class Made(NamedTuple):
    """Pods made for a workload. Where `undisturbed` no other pod came in the way of their names and
    addresses, and they would be made the same again as long as none does."""

    workload: Workload
    owned: int
    names: list[str]
    digests: array[int]
    undisturbed: bool
    groups: list[Group]


class Pods:
    """The pods of one set of manifests; what did not fit is in `errors`.

    `before` is what was `made` for the last set: the pods that would be made the same are kept.
    """

    def __init__(
        self,
        settings: Settings,
        before: dict[tuple[str, str, str], Made],
        turns: Turns,
    ) -> None:
        self.pools = [AddressPool(network, static=1) for network in settings.pod_ranges]
        self.errors: list[ManifestError] = []
        self.groups: list[Group] = []
        self.made: dict[tuple[str, str, str], Made] = {}
        self._before = before
        self._turns = turns
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        for pool in self.pools:
            pool.reserve(int(pool.first))  # the API server's

    def declare(self, pods: Sequence[Declared]) -> None:
        """Take the pods that manifests hold. First, for theirs are the names and the addresses."""
        for declared in self._turns.each(pods):
            self._names[declared.namespace].add(declared.name)
            for text in _given(cast("DeclaredPod", declared.object).status):
                address = packed(text)
                for pool in self.pools:
                    if pool.network.max_prefixlen == 8 * len(address):
                        pool.reserve(int.from_bytes(address))
        for declared in self._turns.each(pods):
            self.groups.append(self._declared(declared))

    def run(self, workloads: Sequence[Declared], pods: Iterable[Declared]) -> None:
        """Make the pods that each workload misses, given the declared ones."""
        owned = Counter(filter(None, map(_owner, pods)))
        owners = set(filter(None, map(_owner, workloads)))
        for declared in self._turns.each(workloads):
            key = declared.namespace, declared.kind, declared.name
            if key not in owners:
                self.made[key] = made = self._run(declared, owned[key], self._before.get(key))
                self.groups += made.groups

    def _declared(self, declared: Declared) -> Group:
        pod = cast("DeclaredPod", declared.object)
        status, metadata = pod.status, pod.metadata
        phase = status.phase or "Running"
        addresses = _given(status)
        if not addresses and phase == "Running":
            numbers = self._allocate(_digest(declared.namespace, metadata.name))
            addresses = self._texts(numbers)
            if not addresses:
                self._used_up(declared, 1)
        conditions = [c.status == "True" for c in status.conditions if c.type == "Ready"]
        ready = conditions[0] if conditions else phase == "Running"
        made = Metadata(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            labels=metadata.labels,
            annotations=metadata.annotations,
        )
        running = Running(
            Pod(made, _status(phase, addresses)),
            pod.spec.hostname,
            pod.spec.subdomain,
            ready and not metadata.deletion_timestamp,
            TargetRef("Pod", metadata.name),
        )
        return Group(metadata.namespace, metadata.labels, pod.spec, [running])

    def _run(self, declared: Declared, owned: int, before: Made | None) -> Made:
        workload = cast("Workload", declared.object)
        taken = self._names[declared.namespace]
        if (
            before is not None
            and before.undisturbed
            and before.workload is workload
            and before.owned == owned
            and taken.isdisjoint(before.names)
        ):
            names, digests, undisturbed = before.names, before.digests, True
        else:
            names, undisturbed = _missing(declared, workload, owned, taken)
            digests = array("Q", (_digest(declared.namespace, name) for name in names))
            before = None
        taken.update(names)
        displaced = sum(pool.displaced for pool in self.pools)
        numbers = [self._allocate(digest) for digest in digests]
        undisturbed &= displaced == sum(pool.displaced for pool in self.pools)
        if before is not None and undisturbed:
            return before
        if missing := sum(of_pod[0] is None for of_pod in numbers):
            self._used_up(declared, missing)
        texts = map(self._texts, numbers)
        found = [(name, text) for name, text in zip(names, texts, strict=True) if text]
        groups = _groups(declared, workload, found)
        return Made(workload, owned, names, digests, undisturbed, groups)

    def _allocate(self, digest: int) -> list[int | None]:
        return [pool.allocate(digest) for pool in self.pools]

    def _texts(self, numbers: list[int | None]) -> list[str]:
        """The addresses of one pod, the primary first; none where that range is used up."""
        if numbers[0] is None:
            return []
        pairs = zip(self.pools, numbers, strict=True)
        return [pool.text(number) for pool, number in pairs if number is not None]

    def _used_up(self, declared: Declared, missing: int) -> None:
        problem = f"no address is left in {self.pools[0].network} for {missing} of its pods"
        problem += ": give a wider pod range"
        self.errors.append(declared.refused(problem))


def _missing(
    declared: Declared, workload: Workload, owned: int, taken: set[str]
) -> tuple[list[str], bool]:
    """Names of the pods that a workload has to make, and whether none of them was taken."""
    spec = workload.spec
    if declared.kind == "StatefulSet":
        start = spec.ordinals.start
        wanted = [f"{declared.name}-{n}" for n in range(start, start + spec.replicas)]
        names = [name for name in wanted if name not in taken]
        return names, len(names) == len(wanted)
    identity = f"{declared.namespace}/{declared.name}"
    base = f"{declared.name}-"
    if declared.kind == "Deployment":
        base = f"{base[:_GENERATED_BASE]}{suffix(identity, 10)}-"
    base = base[:_GENERATED_BASE]
    found: dict[str, None] = {}
    undisturbed = True
    for index in range((1 if declared.kind == "DaemonSet" else spec.replicas) - owned):
        attempt = f"{declared.kind}/{identity}/{index}"
        while (name := base + suffix(attempt, 5)) in taken or name in found:
            attempt += "+"
            undisturbed = False
        found[name] = None
    return list(found), undisturbed


def _groups(
    declared: Declared, workload: Workload, found: list[tuple[str, list[str]]]
) -> list[Group]:
    spec, template = workload.spec, workload.spec.template
    namespace, labels = declared.namespace, template.metadata.labels
    if declared.kind == "StatefulSet":
        own = [({**labels, POD_NAME_LABEL: name}, name, addresses) for name, addresses in found]
        return [
            Group(
                namespace,
                labels,
                template.spec,
                [_made(namespace, name, labels, addresses, name, spec.service_name)],
            )
            for labels, name, addresses in own
        ]
    hostname, subdomain = template.spec.hostname, template.spec.subdomain
    pods = [_made(namespace, name, labels, text, hostname, subdomain) for name, text in found]
    return [Group(namespace, labels, template.spec, pods)]


def _made(
    namespace: str,
    name: str,
    labels: dict[str, str],
    addresses: list[str],
    hostname: str,
    subdomain: str,
) -> Running:
    metadata = Metadata(name=name, namespace=namespace, labels=labels)
    pod = Pod(metadata, _status("Running", addresses))
    return Running(pod, hostname, subdomain, ready=True, reference=TargetRef("Pod", name))


def _status(phase: str, addresses: list[str]) -> PodStatus:
    first = addresses[0] if addresses else ""
    return PodStatus(phase=phase, pod_ip=first, pod_ips=[PodIP(text) for text in addresses])


def _digest(namespace: str, pod: str) -> int:
    return digest(f"{namespace}/{pod}")


def _given(status: PodStatus) -> list[str]:
    return [ip.ip for ip in status.pod_ips if ip.ip] or ([status.pod_ip] if status.pod_ip else [])


def _owner(declared: Declared) -> tuple[str, str, str] | None:
    """Namespace, kind and name of what made an object that a dump of a cluster holds."""
    metadata = cast("DeclaredPod | Workload", declared.object).metadata
    owner = metadata.controller
    return (declared.namespace, owner.kind, owner.name) if owner else None
