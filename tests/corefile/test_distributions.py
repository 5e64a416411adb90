"""The Corefiles that Kubernetes distributions install."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kdns.corefile.parser import Directive, load

FOLDER = Path(__file__).parent / "distributions"

COMMON = "errors health ready kubernetes prometheus forward cache loop reload loadbalance"
NODE = "errors cache reload loop bind forward prometheus"

BLOCKS: dict[str, list[tuple[str, str]]] = {
    "kubeadm": [("dns://.:53", COMMON)],
    "kops": [
        (
            "dns://.:53",
            COMMON.replace("kubernetes", "hosts kubernetes dns64"),
        )
    ],
    "k3s": [
        (
            "dns://.:53",
            COMMON.replace("kubernetes", "kubernetes hosts"),
        )
    ],
    "aks": [
        (
            "dns://.:53",
            f"{COMMON.replace('health ready', 'ready health')} template template",
        )
    ],
    "eks": [("dns://.:53", COMMON)],
    "openshift": [
        ("dns://corp.example.:5353", "prometheus forward errors log bufsize cache"),
        (
            "dns://.:5353",
            "bufsize errors log health ready kubernetes prometheus forward cache reload",
        ),
        ("dns://hostname.bind.:5353", "chaos"),
    ],
    "gardener": [("dns://.:8053", COMMON.replace(" health", " log health"))],
    "nodelocaldns": [
        ("dns://cluster.local.:53", f"{NODE} health"),
        ("dns://in-addr.arpa.:53", NODE),
        ("dns://ip6.arpa.:53", NODE),
        ("dns://.:53", NODE),
    ],
}
IMPORTING = ("k3s", "aks", "gardener")


def names(directives: tuple[Directive, ...]) -> str:
    return " ".join(directive.name.text for directive in directives)


def test_every_file_has_its_expectation() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(BLOCKS)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks(name: str) -> None:
    corefile = load(FOLDER / f"{name}.Corefile", {})
    found = [(str(block.keys[0]), names(block.directives)) for block in corefile.blocks]
    assert found == BLOCKS[name]
    assert all(len(block.keys) == 1 for block in corefile.blocks)


@pytest.mark.parametrize("name", BLOCKS)
def test_only_globs_without_files_are_noticed(name: str) -> None:
    notices = load(FOLDER / f"{name}.Corefile", {}).notices
    assert len(notices) == (2 if name in IMPORTING else 0)
    assert all(notice.message.startswith("no file matches") for notice in notices)


@pytest.mark.parametrize("name", IMPORTING)
def test_customisation(name: str, tmp_path: Path) -> None:
    corefile = tmp_path / "Corefile"
    shutil.copy(FOLDER / f"{name}.Corefile", corefile)
    # A mounted ConfigMap: its files are links into a dotted folder that is a link itself.
    (tmp_path / "custom" / "..2026_01_01").mkdir(parents=True)
    (tmp_path / "custom" / "..data").symlink_to("..2026_01_01")
    for file, content in {
        "log.override": "log\n",
        "corp.server": "corp.example:53 {\n  forward . 10.0.0.1\n}\n",
    }.items():
        (tmp_path / "custom" / "..data" / file).write_text(content)
        (tmp_path / "custom" / file).symlink_to(f"..data/{file}")
    loaded = load(corefile, {})
    assert loaded.notices == ()
    root, corp = loaded.blocks
    assert "log" in names(root.directives).split()
    assert (corp.zones, names(corp.directives)) == (("corp.example.",), "forward")
    assert corp.position.file == str(tmp_path / "custom" / "corp.server")


def test_kubeadm_in_full() -> None:
    (block,) = load(FOLDER / "kubeadm.Corefile", {}).blocks
    kubernetes = block.directives[3]
    assert [arg.text for arg in kubernetes.args] == ["cluster.local", "in-addr.arpa", "ip6.arpa"]
    assert [
        (entry.name.text, [arg.text for arg in entry.args], entry.block)
        for entry in kubernetes.block or ()
    ] == [
        ("pods", ["insecure"], None),
        ("fallthrough", ["in-addr.arpa", "ip6.arpa"], None),
        ("ttl", ["30"], None),
    ]
    assert (kubernetes.position.line, kubernetes.position.column) == (7, 5)
