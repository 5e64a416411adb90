"""From a packet to its reply: from memory, or by way of the chain."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from kdns.dns import codes
from kdns.dns.canonical import canonical
from kdns.dns.codes import CLASS_IN, rcode_label
from kdns.dns.names import to_text
from kdns.dns.query import HEADER, Client, Query, Rejection, Transport, parse
from kdns.dns.render import Body, body, heading, opt_for, rejection
from kdns.dns.reply import CacheUse, Reply, refusal
from kdns.dns.transfer import messages
from kdns.frontend.answers import Answers
from kdns.frontend.kept import Kept
from kdns.plugins.chain import Block, Router
from kdns.telemetry.traffic import Labels, Tally, Traffic

logger = logging.getLogger(__name__)

_DROPPED: Final = Block(zone="dropped", origin=b"", handler=None, metrics=True)
_COUNTED_TYPES: Final = frozenset(
    (
        *("A", "AAAA", "CNAME", "DNSKEY", "DS", "MX", "NSEC", "NSEC3", "NS", "PTR", "RRSIG", "SOA"),
        *("SRV", "TXT", "HTTPS", "SVCB", "IXFR", "AXFR", "ANY"),
    )
)
"""Values of the label `type`; others are "other", as a client chooses them."""


Given = bytes | Iterator[bytes] | None
"""One message, the messages of a zone transfer, or silence."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One transport and address family of one server: what all of its packets have in common.

    `server` is the label of its metrics, as in `dns://:53`; `family` is 4 or 6.
    """

    server: str
    transport: Transport
    family: int


class Responder:
    """Answers the packets of one lane.

    `recall` and `ask` are the two steps for a packet; a frontend that has probed
    `answers.lasting`, `answers.epochal` and `answers.fleeting` itself begins with `recall`.
    """

    def __init__(
        self, lane: Lane, router: Router, traffic: Traffic, clock: Callable[[], float]
    ) -> None:
        self.answers = Answers()
        self.recall = self.answers.recall
        self.batches = traffic.batches(lane.server)
        self.clock = clock
        self._lane = lane
        self._router = router
        self._traffic = traffic
        self._turn = 0
        self._generation = 0

    def reroute(self, router: Router) -> None:
        """Answer by other server blocks from the next packet on."""
        self._router = router
        self._generation += 1
        self.answers.clear()

    def forget(self, names: Collection[bytes]) -> None:
        """Store names changed: answers that were made from them hold no longer."""
        self._generation += 1
        self.answers.forget(names)

    def forget_all(self) -> None:
        """Nothing that was answered holds any longer."""
        self._generation += 1
        self.answers.clear()

    def ask(self, packet: bytes, client: Client) -> Given | Awaitable[bytes | None]:
        """The reply to a packet that is not in memory; None for silence. Never raises.

        An iterator yields the messages of a zone transfer; TCP alone gets one.
        """
        begin = self.clock()
        query = parse(packet, self._lane.transport, client)
        if not isinstance(query, Query):
            return self._reject(packet, query, begin)
        block = self._router.route(query.name, query.qtype)
        if block is None or block.handler is None or query.qclass != CLASS_IN:
            return self._finish(query, block or _DROPPED, refusal(), begin)
        try:
            answer = block.handler(query)
            if isinstance(answer, Reply):
                whole = self._finish(query, block, answer, begin)
                return whole if answer.transfer is None else messages(query, answer)
        except Exception as error:  # noqa: BLE001 - whatever a plugin does, the socket lives on
            return self._finish(query, block, self._failed(query, error), begin)
        return self._await(query, block, answer, begin, self._generation)

    async def _await(
        self,
        query: Query,
        block: Block,
        answer: Awaitable[Reply],
        begin: float,
        generation: int,
    ) -> bytes:
        try:
            reply = await answer
            if generation != self._generation:
                # What it was made from may have changed while it was waited for.
                reply = reply.changed(lifetime=0)
            return self._finish(query, block, reply, begin)
        except Exception as error:  # noqa: BLE001 - as in `ask`
            return self._finish(query, block, self._failed(query, error), begin)

    def _failed(self, query: Query, error: Exception) -> Reply:
        self._traffic.panics += 1
        logger.error(
            "a plugin failed on %s %s; SERVFAIL was sent",
            to_text(query.name),
            codes.type_name(query.qtype),
            exc_info=error,
        )
        return Reply(rcode=codes.SERVFAIL, lifetime=0)

    def _reject(self, packet: bytes, rejected: Rejection | None, begin: float) -> bytes | None:
        reply = None if rejected is None else rejection(packet, rejected)
        query = None if rejected is None else rejected.query
        rcode = "" if rejected is None else rcode_label(rejected.rcode)
        tally = self._tally(_DROPPED, packet, query, rcode, "", len(reply or b""))
        tally.count += 1
        self._observe(_DROPPED, begin)
        return reply

    def _finish(self, query: Query, block: Block, reply: Reply, begin: float) -> bytes:
        opt = opt_for(query, reply)
        rendered = body(reply, query.name, query.limit - len(opt))
        head = heading(query.flags, query.question, rendered, opt)
        self._turn += 1
        whole = query.packet[:2] + head + rendered.at(self._turn) + opt
        rcode = rcode_label(reply.rcode)
        tally = self._tally(
            block, query.packet, query, rcode, reply.plugin, len(whole), reply.cache
        )
        tally.count += 1
        lasts = reply.lifetime is None or (reply.lifetime > 0 and reply.counted is not None)
        if lasts and block.handler is not None:
            self._keep(query, block, reply, rendered, opt, tally)
        self._observe(block, begin)
        return whole

    def _keep(
        self, query: Query, block: Block, reply: Reply, rendered: Body, opt: bytes, tally: Tally
    ) -> None:
        form = canonical(query.packet)
        if form is None or form[-1] != HEADER + len(query.question) or query.qclass != CLASS_IN:
            return
        question = query.name + query.question[-4:]
        kept = Kept(heading(query.flags, question, rendered, opt) + rendered.head, tally)
        if rendered.width:
            kept.rotate(rendered.ring, rendered.width, rendered.window, rendered.tail + opt)
        else:
            kept.rest += opt
        if reply.lifetime is not None:
            if reply.counted is not None:
                self.answers.keep_for(form, kept, reply, reply.counted)
            return
        denial = reply.denial
        if (
            denial is not None
            and denial.denies(query.name)
            and self._router.undivided(denial.origin)
            and self._router.route(denial.origin, query.qtype) is block
        ):
            self.answers.keep_denial(form, kept, denial)
        else:
            self.answers.keep(form, kept, reply.reads)

    def _tally(
        self,
        block: Block,
        packet: bytes,
        query: Query | None,
        rcode: str,
        plugin: str,
        size: int,
        cache: CacheUse | None = None,
    ) -> Tally:
        mnemonic = "other" if query is None else codes.type_name(query.qtype)
        labels = Labels(
            server=self._lane.server,
            zone=block.zone,
            view=block.view,
            proto=self._lane.transport,
            family="1" if self._lane.family == 4 else "2",
            type=mnemonic if mnemonic in _COUNTED_TYPES else "other",
            dnssec_ok=query is not None and query.edns is not None and query.edns.dnssec_ok,
            rcode=rcode,
            plugin=plugin,
            request_size=len(packet),
            response_size=size,
            cache=cache,
        )
        return self._traffic.tally(labels) if block.metrics else Tally(labels)

    def _observe(self, block: Block, begin: float) -> None:
        if block.metrics:
            self._traffic.observe(self._lane.server, block.zone, block.view, self.clock() - begin)
