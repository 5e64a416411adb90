"""The directive `multisocket`."""

from __future__ import annotations

import pytest

from kdns.corefile.tokens import CorefileError
from kdns.plugins import multisocket


@pytest.mark.parametrize(
    ("corefile", "workers"),
    [
        (".:53 {\n whoami\n}", 1),
        (".:53 {\n multisocket 1\n}", 1),
        (".:53 {\n multisocket 3\n}", 3),
        (".:53 {\n multisocket 1024\n}", 1024),
        ("a:53 {\n multisocket 2\n}\nb:53 {\n multisocket 8\n}", 2),
        ("a:53 {\n whoami\n}\nb:53 {\n multisocket 8\n}", 1),
        ("a:53 {\n multisocket 2\n}\nb:54 {\n multisocket 4\n}", 4),
        ("a:53 {\n whoami\n}\nb:54 {\n multisocket 4\n}", 4),
        (
            "\n".join(
                f"{zone}:53 {{\n bind 127.0.0.{count}\n multisocket {count}\n}}"
                for zone, count in (("a", 2), ("b", 3))
            ),
            3,
        ),
    ],
    ids=[
        *("none", "one", "three", "most", "first of an address", "first without", "two ports"),
        *("one port without", "two addresses"),
    ],
)
def test_how_many(planned, corefile: str, workers: int) -> None:
    assert planned(corefile).plan.workers == workers


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("multisocket 0", "Corefile:2:14"),
        ("multisocket -1", "Corefile:2:14"),
        ("multisocket 1025", "from 1 to 1024"),
        ("multisocket two", "a whole number"),
        ("multisocket 1 2", "Corefile:2:"),
        ("multisocket {\n x\n}", "Corefile:2:"),
        ("multisocket 2\n multisocket 2", "written twice"),
    ],
)
def test_what_is_wrong(planned, line: str, message: str) -> None:
    with pytest.raises(CorefileError) as raised:
        planned(f". {{\n {line}\n}}")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("processors", "limit", "workers"),
    [
        (4, None, 4),
        (4, "max 100000", 4),
        (4, "150000 100000", 2),
        (4, "50000 100000", 1),
        (2, "800000 100000", 2),
        (4, "nonsense", 4),
    ],
    ids=["no groups", "no limit", "one and a half", "half", "more than there are", "unreadable"],
)
def test_as_many_as_processors(
    planned, monkeypatch, tmp_path, processors: int, limit: str | None, workers: int
) -> None:
    path = tmp_path / "cpu.max"
    if limit is not None:
        path.write_text(limit + "\n")
    monkeypatch.setattr(multisocket, "_LIMIT", path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)))
    assert planned(".:53 {\n multisocket\n}").plan.workers == workers


def test_one_process_where_the_kernel_does_not_share_out(planned, monkeypatch, caplog) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert planned(".:53 {\n multisocket 2\n}").plan.workers == 1
    assert "one process answers" in caplog.text
