"""The commands of docs/migrating.md: those of kdns parse, and those of helm render."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from kdns.compare import command as compare
from kdns.migrate import command as migrate

ROOT = Path(__file__).parents[2]


def commands(program):
    """Each command of a program in the indented lines, as words, without redirections."""
    text = (ROOT / "docs" / "migrating.md").read_text().replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if not line.startswith("    "):
            continue
        for part in line.split(" | "):
            words = shlex.split(part.partition(" > ")[0], comments=True)
            if words and words[0] == program:
                found.append(words)
    return found


KDNS = commands("kdns")
HELM = [words for words in commands("helm") if words[1] in ("install", "upgrade")]


@pytest.mark.parametrize("words", KDNS, ids=" ".join)
def test_kdns(words) -> None:
    rooms = {"compare": compare, "migrate": migrate}
    assert rooms[words[1]]._arguments(words[2:])


@pytest.mark.parametrize("words", HELM, ids=" ".join)
def test_helm(words, tmp_path, capsys) -> None:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not on PATH")
    corefile = ROOT / "tests" / "corefile" / "distributions" / "kubeadm.Corefile"
    lines = "".join(f"    {line}\n" for line in corefile.read_text().splitlines())
    configmap = tmp_path / "coredns.yaml"
    configmap.write_text(
        f"kind: ConfigMap\nmetadata: {{name: coredns}}\ndata:\n  Corefile: |\n{lines}"
    )
    assert migrate.main(["-f", str(configmap)], {}) == 0
    values = tmp_path / "values.yaml"
    values.write_text(capsys.readouterr().out)
    options = [each for each in words[4:] if each != "--reset-then-reuse-values"]
    options = [str(values) if each == "values.yaml" else each for each in options]
    # What a cluster says of its Service.
    options += ["--set", "nodeLocal.dnsServer=10.96.0.10"]
    done = subprocess.run(
        [helm, "template", words[2], ROOT / words[3], *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_there_are_some() -> None:
    assert len(KDNS) > 4
    assert len(HELM) > 3
