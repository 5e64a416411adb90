"""Manifests as text, filled in by the embedded control plane."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import TypeAlias

import pytest

from kdns.cluster.manifests.addresses import Settings
from kdns.cluster.manifests.controlplane import ControlPlane, Filled
from kdns.cluster.manifests.declarations import read

Fill: TypeAlias = Callable[..., Filled]


@pytest.fixture
def fill() -> Fill:
    """fill(yaml, ..., settings=…): each text is a file, a.yaml, b.yaml…; errors are all of them."""

    def filled(*texts: str, settings: Settings | None = None) -> Filled:
        declared, errors = [], []
        for name, text in zip("abcdefghijklmnopqrstuvwxyz", texts, strict=False):
            content = read(f"{name}.yaml", dedent(text).encode())
            declared += content.declared
            errors += content.errors
        found = ControlPlane(settings or Settings()).fill(declared)
        return Filled(found.objects, errors + found.errors)

    return filled
