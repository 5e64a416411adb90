"""The file that records outlive a restart in."""

import asyncio
import os
import threading
from hashlib import blake2b

import pytest

from kdns.cluster.feed import Synced, Upsert
from kdns.cluster.objects import Metadata, Namespace, Service, ServiceSpec
from kdns.cluster_metrics import snapshot_metrics
from kdns.records.store import Store
from kdns.snapshots import EVERY, SnapshotFile


def store(*, synced=True, address="10.96.0.1"):
    made = Store(clock=lambda: 1_000)
    made.apply(Upsert(Namespace(Metadata("default"))))
    spec = ServiceSpec(cluster_ip=address, cluster_ips=[address])
    made.apply(Upsert(Service(Metadata("web", "default"), spec)))
    if synced:
        made.apply(Synced())
    return made


@pytest.fixture
def file(tmp_path):
    return SnapshotFile(tmp_path / "records", "cluster")


async def test_what_is_saved_is_loaded(file) -> None:
    await file.save(store())
    loaded = Store(clock=lambda: 2_000)
    assert await file.load(loaded)
    assert (loaded.synced, loaded.restored) == (False, True)
    assert list(loaded.services.nodes) == [b"\x03web\x07default"]


async def test_a_part_of_the_cluster_is_never_saved(file, tmp_path) -> None:
    await file.save(store(synced=False))
    assert not list(tmp_path.iterdir())


async def test_nothing_new_is_not_saved_again(file, tmp_path) -> None:
    made = store()
    await file.save(made)
    (tmp_path / "records").unlink()
    await file.save(made)
    assert not list(tmp_path.iterdir())


async def test_a_change_in_the_same_second_is_saved(file, tmp_path) -> None:
    """The serial counts seconds, and may be all that tells of a change."""
    made = store()
    await file.save(made)
    made.apply(Upsert(Namespace(Metadata("new"))))
    await file.save(made)
    loaded = Store(clock=lambda: 0)
    assert await file.load(loaded)
    assert b"\x03new" in loaded.namespaces


async def test_a_first_start_has_no_file(file) -> None:
    assert not await file.load(Store(clock=lambda: 0))
    assert file.failures == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda good: b"", "it is no snapshot of this version"),
        (lambda good: b"kdns records 0\n" + good[15:], "it is no snapshot of this version"),
        (lambda good: good[:-1], "it is damaged"),
        (lambda good: good[:40] + bytes((good[40] ^ 1,)) + good[41:], "it is damaged"),
        (lambda good: sealed(good[:17]), "it ends within a frame"),
        (lambda good: sealed(good[:-40]), "it ends within a frame"),
        (lambda good: sealed(good[:15]), "not enough values"),
    ],
    ids=["empty", "another version", "cut", "a bit", "half a length", "half a frame", "no frame"],
)
async def test_a_bad_file_is_passed_over(file, tmp_path, caplog, content, says) -> None:
    await file.save(store())
    path = tmp_path / "records"
    path.write_bytes(content(path.read_bytes()))
    fresh = Store(clock=lambda: 0)
    assert not await file.load(fresh)
    assert not fresh.restored
    assert file.failures == 1
    assert caplog.messages[-1].startswith(f"snapshot {path} is passed over: {says}")


def sealed(content: bytes) -> bytes:
    """With the digest of what it is."""
    return content + blake2b(content, digest_size=32).digest()


async def test_another_cluster_s_records_are_not_taken(file, tmp_path, caplog) -> None:
    await file.save(store())
    fresh = Store(clock=lambda: 0)
    assert not await SnapshotFile(tmp_path / "records", "other").load(fresh)
    assert not fresh.restored
    assert "of another cluster" in caplog.messages[-1]


async def test_a_folder_that_is_not_there_is_no_end(tmp_path, caplog) -> None:
    file = SnapshotFile(tmp_path / "gone" / "records", "cluster")
    await file.save(store())
    assert file.failures == 1
    assert "cannot be written: No such file or directory" in caplog.messages[-1]


async def test_metrics(file, tmp_path) -> None:
    await file.save(store())
    assert samples(file) == {"kdns_snapshot_failures_total": 0, "kdns_snapshot_age_seconds": 60}
    (tmp_path / "records").write_bytes(b"")
    await file.load(Store(clock=lambda: 0))
    assert samples(file)["kdns_snapshot_failures_total"] == 1


def samples(file):
    families = snapshot_metrics(file.failures, file.saved_at, file.saved_at + 60)
    return {
        sample.name: round(sample.value)
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


async def test_what_was_there_stays_when_writing_fails(file, tmp_path, monkeypatch) -> None:
    await file.save(store())
    before = (tmp_path / "records").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    again = SnapshotFile(tmp_path / "records", "cluster")
    await again.save(store(address="10.96.0.2"))
    assert (again.failures, list(tmp_path.iterdir())) == (1, [tmp_path / "records"])
    assert (tmp_path / "records").read_bytes() == before


@pytest.mark.parametrize("how", ["no folder", "a defect"])
async def test_what_cannot_be_saved_is_tried_again_once_a_minute(
    tmp_path, monkeypatch, caplog, how
) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.extend([seconds] if seconds else [])
        if len(slept) == 3:
            raise asyncio.CancelledError

    def fail(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr("kdns.snapshots.asyncio.sleep", sleep)
    if how == "a defect":
        monkeypatch.setattr("kdns.snapshots.pieces", fail)
    file = SnapshotFile(tmp_path / "gone" / "records", "cluster")
    with pytest.raises(asyncio.CancelledError):
        await file.run(store())
    assert slept == [EVERY] * 3
    assert file.failures == len(caplog.messages) == 3


async def test_who_is_cancelled_leaves_when_the_file_is_written(file, monkeypatch) -> None:
    """Or it might be written over what somebody else saved since."""
    writing, go_on = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        writing.set()
        go_on.wait(20)

    monkeypatch.setattr(os, "fsync", slow)
    saving = asyncio.create_task(file.save(store()))
    await asyncio.to_thread(writing.wait, 20)
    saving.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not saving.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert await file.load(Store(clock=lambda: 0))


async def test_parts_that_killed_processes_left_are_cleared_away(file, tmp_path) -> None:
    names = {".records.old.part": 3600, ".records.new.part": 0, "records.old.part": 3600}
    for name, age in names.items():
        (tmp_path / name).touch()
        then = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (then, then))
    await file.save(store())
    assert {path.name for path in tmp_path.iterdir()} == {
        *(names.keys() - {".records.old.part"}),
        "records",
    }
