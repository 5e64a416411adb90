"""The chart as helm renders it, and the commands that look at what comes of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "kdns"
VALUES = Path(__file__).parent / "values"
CASES = sorted(path.stem for path in VALUES.glob("*.yaml"))
NAMESPACE = "kube-system"

Object = dict[str, Any]


class Rendered:
    """Objects of one rendering."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.objects: list[Object] = [each for each in yaml.safe_load_all(text) if each]

    def __iter__(self) -> Iterator[Object]:
        return iter(self.objects)

    def kinds(self) -> set[str]:
        return {each["kind"] for each in self}

    def all(self, kind: str) -> list[Object]:
        return [each for each in self if each["kind"] == kind]

    def one(self, kind: str, name: str = "kdns") -> Object:
        """The only object of that kind and name."""
        [found] = [each for each in self.all(kind) if each["metadata"]["name"] == name]
        return found

    def corefile(self, name: str = "kdns") -> str:
        text: str = self.one("ConfigMap", name)["data"]["Corefile"]
        return text


class Helm:
    """helm with folders of its own."""

    def __init__(self, program: str, home: Path, kubeconfig: Path | None = None) -> None:
        self._program = program
        self._environment = {
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "KUBECONFIG": str(kubeconfig or home / "none"),
        }

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, *map(str, words)],
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
        )

    def done(self, *words: str | Path) -> str:
        """What a command that must succeed prints."""
        result = self.run(*words)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def render(
        self,
        values: str | Mapping[str, Any] | None = None,
        *settings: str,
        namespace: str = NAMESPACE,
        release: str = "kdns",
    ) -> Rendered:
        """With the values of a file of VALUES or of a mapping, and `key=value` settings."""
        return Rendered(
            self.done(
                *("template", release, CHART, "--namespace", namespace),
                *self._with(values, settings),
            )
        )

    def refusal(self, values: Mapping[str, Any]) -> str:
        """What is said of values that must not be rendered."""
        result = self.run("template", "kdns", CHART, *self._with(values, ()))
        assert result.returncode != 0, "it was rendered"
        return result.stderr

    def _with(
        self, values: str | Mapping[str, Any] | None, settings: Sequence[str]
    ) -> Iterator[str | Path]:
        if isinstance(values, str):
            yield from ("--values", VALUES / f"{values}.yaml")
        elif values is not None:
            path = Path(self._environment["HOME"], "values.yaml")
            path.write_text(yaml.safe_dump(values))
            yield from ("--values", path)
        for setting in settings:
            yield from ("--set", setting)


def program(name: str, what_for: str) -> str:
    """Where a program of PATH is; skips the test where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name}, which {what_for}, is not on PATH")
    return found
