"""The API server killed and started again with its history gone, so that all is listed again."""

from __future__ import annotations

import multiprocessing
import random
import socket
import time
from contextlib import suppress
from ipaddress import IPv4Address
from multiprocessing.sharedctypes import RawValue
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.dataset import Service
from bench.live.replies import address_query, asked, read
from bench.live.steady import Steady, share
from bench.live.storing import kept, key
from bench.live.urgency import urgent
from bench.load import NoAnswer, Tally
from bench.query import A

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.connection import Connection

    from bench.live.replies import Asked
    from bench.peers.controlplane import ControlPlane
    from bench.servers import Cores

BEFORE, AFTER = 1.0, 2.0  # seconds of load before the API server is killed, and after the relist
GIVE_UP = 90.0  # seconds; client-go waits for up to 60 before it lists again
NOT_LISTED = f"not listed again within {GIVE_UP:g} s"
_LOOK = 0.02
_NEW_ADDRESSES = int(IPv4Address("10.201.0.1"))


class Relist(NamedTuple):
    """A relist under load. Times in seconds, latencies in milliseconds.

    `away` is how long the API server was, `back` how long after that the first answer was due to
    the relist. `p999` is infinite where too many queries were lost.
    """

    away: float
    back: float
    sent: int
    lost: int
    missed: int
    p999: float
    longest: float
    wrong: dict[str, int]


def marker(namespace: str, number: int) -> Service:
    """A headless Service of one endpoint, another one for each number."""
    address = str(IPv4Address(_NEW_ADDRESSES + number))
    return Service(namespace, f"relist-{number}", (), [address])


def write(plane: ControlPlane, mark: Service) -> None:
    """Write `mark` where a killed or paused API server cannot see it, and forget all before it.

    No watch can be told of it: its version is older than all that the next API server hears of, and
    what was before it is gone from etcd. Who answers it has listed Services and EndpointSlices.
    """
    manifests = mark.manifest(), mark.slice_manifest()
    plane.compact(plane.store((key(manifest), kept(manifest, {})) for manifest in manifests))


def await_answers(ports: Mapping[str, int], mark: Service) -> dict[str, float]:
    """Seconds until each server answered `mark`; without those that had not after GIVE_UP."""
    query = address_query(mark.dns_name)
    right = asked(mark.dns_name, A, mark.endpoints).right
    began = time.monotonic()
    found: dict[str, float] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(_LOOK)
        while len(found) < len(ports) and time.monotonic() - began < GIVE_UP:
            for name in ports.keys() - found.keys():
                with suppress(OSError, ValueError):
                    asking.sendto(query, ("127.0.0.1", ports[name]))
                    reply, (_, port) = asking.recvfrom(4096)
                    if port == ports[name] and read(reply) == right:
                        found[name] = time.monotonic() - began
            time.sleep(_LOOK)
    return found


def relist_under_load(
    port: int, plane: ControlPlane, mark: Service, load: Sequence[Asked], cores: Cores
) -> Relist:
    """Ask at the steady rate in another process meanwhile. Raises NoAnswer."""
    context = multiprocessing.get_context("fork")
    stop = RawValue("b", 0)
    mine, its = context.Pipe()
    asking = context.Process(target=_ask, args=(port, load, stop, its), daemon=True)
    asking.start()
    its.close()
    try:
        time.sleep(BEFORE)
        began = time.monotonic()
        plane.kill_apiserver()
        write(plane, mark)
        plane.start_apiserver([cores.load])
        away = time.monotonic() - began
        back = await_answers({"": port}, mark).get("")
        if back is None:
            raise NoAnswer(NOT_LISTED)
        time.sleep(AFTER)
        stop.value = 1
        said = mine.recv()
    except EOFError as error:
        raise NoAnswer("the load has ended") from error
    finally:
        asking.kill()
        asking.join()
    if isinstance(said, NoAnswer):
        raise said
    return _relist(said, away, back)


def _ask(port: int, load: Sequence[Asked], stop: Any, answer: Connection) -> None:
    steady = Steady(port, load, random.Random(1))  # noqa: S311 - the same every time
    try:
        with urgent():
            tally = steady.run(lambda: bool(stop.value))
        answer.send(tally)
    except NoAnswer as error:
        answer.send(error)


def _relist(tally: Tally, away: float, back: float) -> Relist:
    return Relist(
        away=away,
        back=back,
        sent=tally.sent,
        lost=tally.lost,
        missed=tally.missed,
        p999=share(tally.latencies, 0.999, tally.lost) * 1000,
        longest=max(tally.latencies) * 1000,
        wrong=dict(tally.faults),
    )
