"""The image is built without a registry of images, and does as a container what it should.

By `make image-test`: it takes a minute or two, and packages from Debian and PyPI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from kdns.node.iptables import arguments
from kdns.node.rules import serving, serving_while_listening

ROOT = Path(__file__).parents[2]
IN_CONTAINER = Path(__file__).with_name("in_container.py")
USER = "65532:65532"
NAME = "storefront.shop.svc.cluster.local"
COREFILE = """
.:53 {
    errors
    health
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        manifests /manifests
    }
}
"""


def _reason() -> str:
    if "KDNS_IMAGE_TEST" not in os.environ:
        return "the image is built by make image-test alone, as it takes minutes"
    if os.geteuid() != 0:
        return "only root can build the image without a registry"
    lacking = [each for each in ("buildah", "debootstrap", "dig") if not _found(each)]
    return f"not on PATH: {', '.join(lacking)}" if lacking else ""


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


pytestmark = [
    pytest.mark.skipif(bool(_reason()), reason=_reason() or "all is there"),
    pytest.mark.timeout(900),
]


def _ran(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, check=False, capture_output=True, text=True)


class Builder:
    """buildah, with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str) -> str:
        places = ["--root", str(self.folder / "store"), "--runroot", str(self.folder / "run")]
        done = _ran("buildah", *places, "--storage-driver", "vfs", *words)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout.strip()

    def build(self, tag: str, *words: str) -> None:
        self("bud", "--isolation", "chroot", "--format", "docker", "--tag", tag, *words)


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    yield Builder(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _build(builder: Builder, tag: str) -> str:
    """Build the image as `make image` does; the folder of its files."""
    # As the machine trusts, so does the build.
    certificates = "/etc/ssl/certs/ca-certificates.crt"
    trust = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro", "--env", f"PIP_CERT={certificates}"]
    moment = ["--timestamp", "1700000000", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"]
    base = ["--build-arg", "BASE=localhost/base"]
    builder.build(tag, *base, *trust, *moment, str(ROOT))
    return builder("mount", builder("from", "--pull-never", tag))


@pytest.fixture(scope="module")
def image(builder) -> Path:
    system = builder.folder / "system"
    suite = os.environ.get("KDNS_IMAGE_DEBIAN", "bookworm")
    words = ["--variant=minbase", "--include=python3,python3-venv", suite, str(system)]
    done = _ran(_found("debootstrap"), *words)
    assert done.returncode == 0, done.stdout[-3000:]
    subprocess.run(["tar", "-C", system, "-cf", builder.folder / "base.tar", "."], check=True)
    (builder.folder / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
    builder.build("base", str(builder.folder))
    root = Path(_build(builder, "kdns"))
    (root / "etc/coredns/Corefile").write_text(COREFILE)
    (root / "etc/coredns/Corefile.base").write_text(NODE_COREFILE)
    shutil.copytree(ROOT / "examples", root / "manifests")
    return root


NODE_COREFILE = """
cluster.local:53 {
    errors
    bind __PILLAR__LOCAL__DNS__
    health 169.254.20.10:8080
    kubernetes cluster.local {
        manifests /manifests
    }
}
"""


@contextmanager
def _container(root: Path, ports_from: int, grant: str, *words: str):
    """The process, and a function that runs a program beside it."""
    process = subprocess.Popen(
        [sys.executable, IN_CONTAINER, root, str(ports_from), grant, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def beside(*command: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "--net", "--target", str(process.pid)]
        return _ran(*enter, *command)

    try:
        yield process, beside
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _answered(process, beside, address: str = "127.0.0.1") -> str:
    """What dig says when the server is up."""
    end = monotonic() + 30
    while monotonic() < end and process.poll() is None:
        dig = beside("dig", "+short", "+time=1", "+tries=1", f"@{address}", NAME)
        if dig.returncode == 0 and dig.stdout.strip():
            return dig.stdout.strip()
        sleep(0.1)
    process.kill()
    pytest.fail(f"no answer; it said: {process.stdout.read()}")


@pytest.mark.parametrize(
    ("ports_from", "grant"),
    [
        pytest.param(1024, "net-bind", id="the capability alone"),
        pytest.param(0, "none", id="the sysctl alone"),
        pytest.param(0, "net-bind", id="both"),
    ],
)
@pytest.mark.parametrize("program", ["/kdns", "/coredns"])
def test_it_answers_on_port_53(image, ports_from, grant, program) -> None:
    words = [program, "-conf", "/etc/coredns/Corefile"]
    with _container(image, ports_from, grant, *words) as (process, beside):
        assert _answered(process, beside).startswith("10.96.")
        health = ["chroot", f"--userspec={USER}", str(image), *_health_check(image)]
        assert beside(*health).returncode == 0
        process.terminate()
        assert process.wait(timeout=30) == 0
    with _container(image, 0, "none", "/kdns", "-version") as (process, beside):
        assert process.wait(timeout=30) == 0
        assert beside(*health).returncode != 0


def _health_check(image: Path) -> list[str]:
    text = (ROOT / "Dockerfile").read_text()
    line = text.partition("HEALTHCHECK")[2].partition("CMD ")[2].partition("\n")[0]
    words: list[str] = json.loads(line)
    assert (image / words[0].lstrip("/")).is_symlink()
    return words


def test_without_capability_and_sysctl_it_says_what_to_do(image) -> None:
    words = ["/kdns", "-conf", "/etc/coredns/Corefile"]
    with _container(image, 1024, "none", *words) as (process, _):
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "NET_BIND_SERVICE" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["/kdns", "-version"], "kdns-", id="version"),
        pytest.param(["/kdns", "records", "/manifests"], NAME, id="records"),
        pytest.param(["/kdns", "autoscaler", "-h"], "--target", id="autoscaler"),
        pytest.param(["/node-cache", "-h"], "-localip", id="node-cache by its name"),
        pytest.param(["/kdns", "node-cache", "-h"], "-localip", id="node-cache by its word"),
        pytest.param(["/coredns", "-plugins"], "dns.kubernetes", id="coredns"),
    ],
)
def test_its_programs_run_with_no_capability(image, words, said) -> None:
    with _container(image, 1024, "none", *words) as (process, _):
        assert said in process.communicate(timeout=30)[0]
        assert process.returncode == 0


@pytest.mark.parametrize(
    "program", [["/node-cache"], ["/kdns", "node-cache"]], ids=["link", "word"]
)
def test_it_is_a_cache_on_a_node(image, program) -> None:
    """With the flags of the stock manifest, and the rights of the chart's."""
    address = "169.254.20.10"
    addresses = f"{address},10.96.0.10"
    flags = ["-localip", addresses, "-conf", "/run/Corefile", "-upstreamsvc", "kube-dns"]
    # A kernel may have no dummy links.
    flags += ["-interfacetype", "existing", "-interfacename", "lo"]
    with _container(image, 1024, "node", *program, *flags) as (process, beside):
        assert _answered(process, beside, address).startswith("10.96.")
        assert _answered(process, beside, "10.96.0.10").startswith("10.96.")
        process.terminate()
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0, said


def test_node_local_rules_can_be_had(image) -> None:
    enter = ["unshare", "--net", "chroot", str(image)]
    for rule in (*serving("169.254.20.10", 53, 8080), *serving_while_listening("fd00::10", 53)):
        program = "ip6tables" if ":" in rule.source + rule.destination else "iptables"
        words = [program, "-t", rule.table, "-I", rule.chain, *arguments(rule)]
        done = _ran(*enter, *words)
        # A kernel may lack a match; the program must know it.
        if done.returncode != 0:
            assert "Couldn't load" not in done.stderr
            assert "unknown option" not in done.stderr


def test_what_is_not_in_it(image) -> None:
    names = {path.name for path in image.rglob("*") if not path.is_symlink()}
    assert names.isdisjoint(("pip", "ensurepip", "sh", "dash", "bash", "gcc", "cc", "ld", "apt"))
    for path in image.rglob("*"):
        mode = path.lstat().st_mode
        assert not mode & 0o6000, f"{path} is run as another user"


def test_its_papers(image) -> None:
    notices = (image / "usr/share/doc/kdns/NOTICES").read_text()
    assert "aiohttp" in notices
    for record in (image / "var/lib/dpkg/status.d").iterdir():
        assert (image / "usr/share/doc" / record.name / "copyright").exists(), record.name


def test_its_configuration(builder, image) -> None:
    config = json.loads(builder("inspect", "--type", "image", "kdns"))["Docker"]["config"]
    assert config["User"] == USER
    assert config["Entrypoint"] == ["/kdns"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert set(config["ExposedPorts"]) == {"53/udp", "53/tcp"}


def test_it_is_the_same_when_built_again(builder, image) -> None:
    _build(builder, "again")
    first, second = (
        json.loads(builder("inspect", "--type", "image", tag))["OCIv1"]["rootfs"]["diff_ids"]
        for tag in ("kdns", "again")
    )
    assert first == second
