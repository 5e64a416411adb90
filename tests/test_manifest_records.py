"""`kdns records`: what it takes, and zone files that a name server loads."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kdns.cli import main, manifests_corefile

EXAMPLES = Path(__file__).parents[1] / "examples"
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}]}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder of manifests without a DNS server."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "web.yaml").write_text(SERVICE)
    return folder


def zone_files(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, str]:
    """What is printed as a zone file, by the origin of each zone."""
    assert main(["records", str(folder), "--output", "zone"]) == 0
    files: dict[str, str] = {}
    origin = ""
    for line in capsys.readouterr().out.splitlines(keepends=True):
        owner, _, _, rtype, _ = line.split("\t")
        origin = owner if rtype == "SOA" else origin
        files[origin] = files.get(origin, "") + line
    return files


@pytest.mark.skipif(not shutil.which("nsd-checkzone"), reason="needs nsd-checkzone on PATH")
@pytest.mark.parametrize("examples", [True, False], ids=["examples", "without a DNS server"])
def test_a_name_server_loads_it(capsys, tmp_path: Path, shop: Path, examples: bool) -> None:
    files = zone_files(capsys, EXAMPLES if examples else shop)
    assert list(files) == ["cluster.local.", "in-addr.arpa.", "ip6.arpa."]
    for origin, content in files.items():
        path = tmp_path / "zone"
        path.write_text(content)
        checked = subprocess.run(
            ["nsd-checkzone", origin, str(path)], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stderr


def test_name_servers_have_addresses(capsys) -> None:
    files = zone_files(capsys, EXAMPLES)
    lines = [line.split("\t") for line in "".join(files.values()).splitlines()]
    servers = {rdata for _, _, _, rtype, rdata in lines if rtype == "NS"}
    assert "kube-dns.kube-system.svc.cluster.local." in servers
    assert servers <= {owner for owner, _, _, rtype, _ in lines if rtype == "A"}


def test_no_name_server_without_an_address(capsys, shop: Path) -> None:
    assert "\tNS\t" not in "".join(zone_files(capsys, shop).values())


@pytest.mark.parametrize("ttl", ["-5", "2147483648", "99999999999", "soon"])
def test_ttls_that_make_no_sense(capsys, shop: Path, ttl: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(["records", str(shop), f"--ttl={ttl}"])
    assert left.value.code == 2
    assert "is no TTL" in capsys.readouterr().err


@pytest.mark.parametrize("ttl", ["0", "2147483647"])
def test_ttls(capsys, shop: Path, ttl: str) -> None:
    assert main(["records", str(shop), "--output", "zone", "--ttl", ttl]) == 0
    assert f"web.shop.svc.cluster.local.\t{ttl}\tIN\tA\t" in capsys.readouterr().out


def test_service_ranges(capsys, shop: Path) -> None:
    ranges = ["--service-range", "172.16.0.0/24", "--service-range", "fd77::/112"]
    assert main(["records", str(shop), "--output", "zone", *ranges]) == 0
    out = capsys.readouterr().out
    assert "web.shop.svc.cluster.local.\t5\tIN\tA\t172.16.0." in out
    corefile = manifests_corefile("m", "cluster.local", 53, ["172.16.0.0/24", "fd77::/112"])
    assert "    service_range 172.16.0.0/24\n    service_range fd77::/112\n  }" in corefile


@pytest.mark.parametrize(
    ("words", "says"), [(["10.0.0.0/30"], "too small"), (["x"], "is no range of addresses")]
)
def test_service_ranges_refused(capsys, shop: Path, words: list[str], says: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(["records", str(shop), "--service-range", *words])
    assert left.value.code == 2
    assert says in capsys.readouterr().err


def test_a_reader_that_has_enough() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "kdns", "records", str(EXAMPLES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=EXAMPLES.parent,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
