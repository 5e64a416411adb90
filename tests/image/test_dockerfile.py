"""What the Dockerfile promises, without building it."""

from __future__ import annotations

import ast
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from kdns.node.iptables import arguments
from kdns.node.rules import serving, serving_while_listening

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()


def _instructions(stage: str) -> list[tuple[str, str]]:
    """Instruction and its words, lines joined and comments left out."""
    lines = (line for line in stage.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        (name, rest)
        for name, _, rest in (each.partition(" ") for each in joined.splitlines())
        if name
    ]


HEAD, BUILD, LAST = re.split(r"^(?=FROM )", TEXT, flags=re.MULTILINE)


def test_the_base_can_be_chosen() -> None:
    (argument,) = _instructions(HEAD)
    assert argument == ("ARG", "BASE=python:3.13-slim")
    assert _instructions(BUILD)[0] == ("FROM", "${BASE} AS build")


def test_the_last_stage_has_what_the_first_picked_and_runs_nothing() -> None:
    instructions = _instructions(LAST)
    assert instructions[0] == ("FROM", "scratch")
    assert [rest for name, rest in instructions if name == "COPY"] == ["--from=build /rootfs /"]
    assert not {"RUN", "ADD", "VOLUME"} & {name for name, _ in instructions}


@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ("USER", "65532:65532"),
        ("EXPOSE", "53/udp 53/tcp"),
        ("ENTRYPOINT", '["/kdns"]'),
    ],
)
def test_how_it_runs(instruction, words) -> None:
    assert dict(_instructions(LAST))[instruction] == words


def test_the_health_check_needs_no_shell() -> None:
    words = dict(_instructions(LAST))["HEALTHCHECK"].partition("CMD ")[2]
    assert json.loads(words) == ["/opt/kdns/bin/python", "-m", "kdns.probe"]


def test_all_that_is_installed_is_locked() -> None:
    installs = re.findall(r"pip\b[^&]*? install [^&]*", re.sub(r"\\\n\s*", " ", BUILD))
    assert len(installs) == 3
    for each in installs:
        assert re.search(r"--requirement \S+\.lock|--no-index", each), each
    assert "PIP_REQUIRE_HASHES=1" in BUILD


def test_the_context_is_what_is_copied() -> None:
    """Nothing else of a checkout, such as credentials that lie there, gets to the builder."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    copied = [rest.split()[:-1] for name, rest in _instructions(BUILD) if name == "COPY"]
    for path in (path for paths in copied for path in paths):
        assert (ROOT / path).exists(), path
        assert f"!{path.partition('/')[0]}" in lines, path


def _constant(name: str) -> tuple[str, ...]:
    """A constant of image/rootfs.py, which only the build stage can import."""
    tree = ast.parse((ROOT / "image/rootfs.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            assert node.value is not None
            value: tuple[str, ...] = ast.literal_eval(node.value)
            return value
    raise LookupError(name)


def test_iptables_plugins_are_those_of_the_rules() -> None:
    used = set()
    for rule in (*serving("10.0.0.10", 53, 8080), *serving_while_listening("fd00::10", 53)):
        words = arguments(rule)
        for flag, word in pairwise(words):
            if flag in ("-p", "-m", "-j"):
                used.add("standard" if word == "ACCEPT" else word)
    assert set(_constant("MATCHES")) == used | {"CT"}  # by which NOTRACK works


def test_the_programs_of_the_images_it_replaces() -> None:
    assert set(_constant("COMMANDS")) == {"kdns", "coredns", "node-cache"}
