"""What becomes of workers, which are made up: prepared, abandoned, replaced, counted."""

from __future__ import annotations

import asyncio

import pytest

from kdns.corefile import parser
from kdns.telemetry.counts import Counts, Sockets
from kdns.workers import team as module
from kdns.workers.member import Gone, Refusal
from kdns.workers.messages import Abandon, Bind, Configure, Serve, order
from kdns.workers.team import Setting, Team, TeamError

COREFILE = parser.parse(". {\n whoami\n}", "Corefile", {})


class Channel:
    def __init__(self):
        self.waiting = 0
        self.sent = []

    def send(self, message):
        self.sent.append(order(message))


class Worker:
    """A worker that does what it is told, or what `refuses` and `dies_at` say, which are steps."""

    def __init__(self, number, pid, *, refuses=None, dies_at=None):
        self.number = number
        self.pid = pid
        self.channel = Channel()
        self.stores = set()
        self.counts = None
        self.refuses = refuses
        self.dies_at = dies_at
        self.steps = []
        self.told = Counts(sockets=Sockets(unsent=1))
        self.deaf = False
        self._end = asyncio.get_running_loop().create_future()

    @property
    def lives(self):
        return not self._end.done()

    async def step(self, step):
        if type(step) is self.dies_at:
            self.kill()
        if not self.lives:
            await asyncio.sleep(0)
            raise Gone
        if type(step) is self.refuses:
            raise Refusal("the port is taken")
        self.steps.append(type(step))

    async def count(self):
        if self.deaf:
            await asyncio.Event().wait()
        self.counts = self.told

    async def stop(self):
        await self.count()
        self.kill()

    def kill(self):
        if self.lives:
            self._end.set_result("was killed by SIGKILL")

    async def run(self):
        return await self._end


class Office:
    """A team, and all the workers it has hired; `plans` are options of the next ones."""

    def __init__(self):
        self.now = 100.0
        self.hired = []
        self.plans = []
        self.waits = []
        self.team = Team(lambda _: None, lambda: self.now, self.hire, self.sleep)

    async def sleep(self, seconds):
        """Takes no time before a worker is replaced, and all of it before the next count."""
        if seconds == module._COUNT_EVERY:
            await asyncio.Event().wait()
        self.waits.append(seconds)

    async def hire(self, number):
        options = self.plans.pop(0) if self.plans else {}
        if isinstance(options, OSError):
            raise options
        self.hired.append(Worker(number, 1000 + len(self.hired), **options))
        return self.hired[-1]

    async def prepare(self, size):
        await self.team.prepare(Setting(COREFILE, ".", bytes(16), size, frozenset(), ()))

    async def serve(self, size):
        await self.prepare(size)
        await self.team.commit()

    def metric(self, name):
        return {m.name: m.samples[0].value for m in self.team.metrics()}[name]


@pytest.fixture
async def office():
    made = Office()
    yield made
    await made.team.close()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - tasks of the team bring it about
            await asyncio.sleep(0)


async def test_each_takes_the_steps_in_turn(office) -> None:
    await office.prepare(3)
    assert [each.steps for each in office.hired] == [[Configure, Bind]] * 3
    assert office.team.serving == 0
    await office.team.commit()
    assert [each.steps[2:] for each in office.hired] == [[Serve]] * 3
    assert [each.number for each in office.hired] == [1, 2, 3]
    assert office.team.serving == 3


async def test_more_and_fewer(office, caplog) -> None:
    caplog.set_level("INFO")
    await office.serve(2)
    await office.serve(3)
    assert office.team.serving == 3
    await office.serve(1)
    assert [each.lives for each in office.hired] == [True, False, False]
    assert office.metric("kdns_workers_replaced") == 0
    assert [record.getMessage() for record in caplog.records] == [
        f"{count} worker processes answer" for count in (2, 3, 1)
    ]


@pytest.mark.parametrize("step", [Configure, Bind])
async def test_one_that_refuses_keeps_all_where_they_were(office, step) -> None:
    await office.serve(2)
    office.hired[1].refuses = step
    with pytest.raises(TeamError, match="the port is taken"):
        await office.serve(4)
    assert office.team.serving == 2
    assert [each.lives for each in office.hired] == [True, True, False, False]
    for each in office.hired[:2]:
        assert each.steps.count(Serve) == 1
        assert each.channel.sent == [Abandon()]
    office.hired[1].refuses = None
    await office.serve(3)
    assert office.team.serving == 3


async def test_refused_at_the_start(office) -> None:
    office.plans = [{}, {"refuses": Bind}]
    with pytest.raises(TeamError, match="the port is taken"):
        await office.prepare(2)
    assert not any(each.lives for each in office.hired)


async def test_no_worker_can_be_started(office) -> None:
    office.plans = [OSError("no more processes")]
    with pytest.raises(TeamError, match="cannot be started: no more processes"):
        await office.prepare(2)


async def test_all_die_of_what_they_are_to_serve(office) -> None:
    office.plans = [{"dies_at": Configure}] * 2
    with pytest.raises(TeamError, match="every worker process ended"):
        await office.prepare(2)


@pytest.mark.parametrize("step", [Configure, Bind, Serve])
async def test_one_that_dies_of_a_reload_is_replaced(office, step) -> None:
    await office.serve(2)
    office.hired[0].dies_at = step
    await office.serve(2)
    await until(lambda: office.team.serving == 2 and len(office.hired) == 3)
    assert (office.hired[2].number, office.hired[2].steps) == (1, [Configure, Bind, Serve])


async def test_one_that_dies_is_replaced_and_said_once(office, caplog) -> None:
    await office.serve(2)
    office.hired[1].kill()
    await until(lambda: len(office.hired) == 3 and office.team.serving == 2)
    assert office.hired[2].steps == [Configure, Bind, Serve]
    assert [record.getMessage() for record in caplog.records] == [
        "worker 2 (process 1001) was killed by SIGKILL: another takes its place"
    ]
    assert office.metric("kdns_workers_replaced") == 1
    assert office.metric("kdns_workers") == 2


async def test_workers_that_die_again_and_again_are_given_time(office) -> None:
    await office.serve(2)
    for count in range(3, 12):
        office.hired[-1].kill()
        await until(lambda n=count: len(office.hired) == n and office.team.serving == 2)
    assert office.waits == [0, 0, 0.25, 0.5, 1, 2, 4, 8, 8]
    office.now += 60
    office.hired[-1].kill()
    await until(lambda: len(office.hired) == 12)
    assert office.waits[-1] == 0


async def test_a_replacement_that_cannot_serve_is_tried_again(office, caplog) -> None:
    await office.serve(1)
    office.plans = [{"refuses": Bind}, OSError("no more processes"), {}]
    office.hired[0].kill()
    await until(lambda: len(office.hired) == 3 and office.team.serving == 1)
    assert office.waits == [0, 0.25, 0.5]
    assert "no worker could take the place of one that is gone: the port is taken" in caplog.text


async def test_counts_never_go_back(office) -> None:
    await office.serve(2)
    assert (await office.team.total()).sockets.unsent == 2
    office.hired[0].told = Counts(sockets=Sockets(unsent=5))
    assert (await office.team.total()).sockets.unsent == 6
    office.hired[0].kill()
    await until(lambda: len(office.hired) == 3 and office.team.serving == 2)
    assert (await office.team.total()).sockets.unsent == 7
    await office.serve(1)
    assert (await office.team.total()).sockets.unsent == 7
    await office.team.close()
    assert (await office.team.total()).sockets.unsent == 7


async def test_a_scrape_waits_for_nobody(office, monkeypatch) -> None:
    monkeypatch.setattr(module, "_SCRAPE", 0.01)
    await office.serve(2)
    await office.team.total()
    office.hired[0].deaf = True
    office.hired[1].told = Counts(sockets=Sockets(unsent=3))
    assert (await office.team.total()).sockets.unsent == 4
    assert office.metric("kdns_workers_silent") == 1
    office.hired[0].deaf = False


async def test_feeds_wait_for_one_that_is_behind(office) -> None:
    await office.serve(2)
    await office.team.room()
    channel = office.hired[1].channel
    channel.waiting = 1 << 30
    waiting = asyncio.create_task(office.team.room())
    done, _ = await asyncio.wait((waiting,), timeout=0.05)
    assert not done
    channel.waiting = 0
    await waiting
