"""The Corefile in step with template and ConfigMap, and what spoilt ones leave in force."""

from __future__ import annotations

import pytest

from kdns.node.configmap import BadConfigMap, load, stub_domains, upstreams
from kdns.node.configuration import Configuration
from kdns.node.flags import read
from kdns.node.journal import Journal

TEMPLATE = "forward . __PILLAR__UPSTREAM__SERVERS__\n"


class Node:
    """Folders of a node's pod, and what is said of them."""

    def __init__(self, folder, environ):
        self.template = folder / "base" / "Corefile.base"
        self.kube_dns = folder / "kube-dns"
        self.corefile = folder / "Corefile"
        self.template.parent.mkdir()
        self.kube_dns.mkdir()
        self.said: list[str] = []
        self.journal = Journal(self.said.append)
        words = ["-localip", "127.0.0.1", "-conf", str(self.corefile)]
        words += ["-basecorefile", str(self.template), "-kubednscm", str(self.kube_dns)]
        self.configuration = Configuration(read(words), environ, self.journal)

    def errors(self) -> int:
        return self.journal.setup_errors["configmap"]


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path, {"KUBE_DNS_SERVICE_HOST": "10.0.0.10"})
    made.template.write_text(TEMPLATE)
    return made


def test_the_corefile_follows_what_it_is_made_of(node) -> None:
    refresh = node.configuration.refresh
    assert not node.configuration.served()
    assert refresh()
    assert node.configuration.served()
    assert node.corefile.read_text() == "forward . /etc/resolv.conf\n"
    assert not refresh()
    (node.kube_dns / "upstreamNameservers").write_text('["1.1.1.1"]')
    assert refresh()
    assert node.corefile.read_text() == "forward . 1.1.1.1\n"
    (node.kube_dns / "stubDomains").write_text('{"acme.local": ["2.2.2.2"]}')
    assert refresh()
    assert "acme.local:53 {" in node.corefile.read_text()
    node.template.write_text("other\n")
    assert refresh()
    assert node.corefile.read_text().startswith("other\n\nacme.local:53 {")
    (node.kube_dns / "stubDomains").unlink()
    assert refresh()
    assert node.corefile.read_text() == "other\n"
    assert node.errors() == 0
    assert [path.name for path in node.corefile.parent.glob("Corefile*")] == ["Corefile"]


def test_a_spoilt_key_leaves_what_was_in_force_and_counts_once(node) -> None:
    stub = node.kube_dns / "stubDomains"
    stub.write_text('{"acme.local": ["2.2.2.2"]}')
    assert node.configuration.refresh()
    before = node.corefile.read_text()
    stub.write_text('{"acme.local": ["2.2.2.2"')
    for _ in range(3):
        assert not node.configuration.refresh()
    assert node.corefile.read_text() == before
    assert node.errors() == 1
    (line,) = [line for line in node.said if line.startswith("[ERROR]")]
    assert "stubDomains is no JSON" in line
    (node.kube_dns / "upstreamNameservers").write_text('["1.1.1.1"]')
    assert node.configuration.refresh()
    assert node.corefile.read_text() == before.replace("/etc/resolv.conf", "1.1.1.1")


def test_a_key_spoilt_from_the_start_leaves_the_rest_to_serve(node) -> None:
    (node.kube_dns / "stubDomains").write_text("[]")
    assert node.configuration.refresh()
    assert node.corefile.read_text() == "forward . /etc/resolv.conf\n"
    assert node.errors() == 1


def test_a_spoilt_template_leaves_the_corefile(node) -> None:
    assert node.configuration.refresh()
    before = node.corefile.read_text()
    node.template.write_text("__PILLAR__OTHER__")
    assert not node.configuration.refresh()
    node.template.unlink()
    assert not node.configuration.refresh()
    assert node.corefile.read_text() == before
    assert node.errors() == 2
    node.template.write_text(TEMPLATE)
    assert not node.configuration.refresh()


def test_no_address_of_the_cluster(tmp_path) -> None:
    node = Node(tmp_path, {})
    node.template.write_text("__PILLAR__CLUSTER__DNS__")
    assert not node.configuration.refresh()
    assert not node.configuration.served()
    assert "KUBE_DNS_SERVICE_HOST" in node.said[0]


def test_a_corefile_that_cannot_be_written_is_tried_again(node) -> None:
    node.corefile.mkdir()
    assert not node.configuration.refresh()
    assert not node.configuration.refresh()
    assert node.errors() == 2
    node.corefile.rmdir()
    assert node.configuration.refresh()


def test_bytes_that_are_no_text_go_through(node) -> None:
    node.template.write_bytes(b"# \xff\n")
    assert node.configuration.refresh()
    assert node.corefile.read_bytes() == b"# \xff\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", ()),
        (b"{}", ()),
        (b'{"b": ["1.2.3.4"], "a": ["tls://1.1.1.1"]}', ("a", "b")),
        (b'{"a.b-c.d_e.": ["dns://1.2.3.4:53", "[fd00::1]:53", "fd00::1"]}', ("a.b-c.d_e.",)),
        (b'{"a": ["/etc/hosts"]}', ("a",)),
        (b'{"a": ["fe80::1%eth0"]}', ("a",)),
    ],
)
def test_stub_domains(text: bytes, found: tuple[str, ...]) -> None:
    assert tuple(domain for domain, _ in stub_domains(text)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "write an object"),
        (b'{"a": "1.2.3.4"}', "write a list of servers"),
        (b'{"a": [1]}', "write a list of servers"),
        (b'{"a": []}', "a has no server"),
        (b'{"": ["1.2.3.4"]}', "is no domain"),
        (b'{"a b": ["1.2.3.4"]}', "is no domain"),
        (b'{"a {\\n}": ["1.2.3.4"]}', "is no domain"),
        (b'{"a..b": ["1.2.3.4"]}', "is no domain"),
        (b'{"a": ["ns.example.org"]}', "is no server"),
        (b'{"a": ["1.2.3.4:x"]}', "is no server"),
        (b'{"a": ["1.2.3.4:"]}', "is no server"),
        (b'{"a": ["1.2.3.4:65536"]}', "is no server"),
        (b'{"a": ["https://1.2.3.4"]}', "is no server"),
        (b'{"a": ["1.2.3.4 }"]}', "is no server"),
        (b'{"a": ["[fd00::1"]}', "is no server"),
        (b'{"a": ["[fd00::1]53"]}', "is no server"),
        (b'{"a": ["/no/such/file"]}', "is no server"),
        (b'{"a": ["fe80::1%a b"]}', "is no server"),
    ],
)
def test_spoilt_stub_domains(text: bytes, said: str) -> None:
    with pytest.raises(BadConfigMap) as wrong:
        stub_domains(text)
    assert said in str(wrong.value)


def test_upstreams() -> None:
    assert upstreams(b"") == ()
    assert upstreams(b'["1.1.1.1", "8.8.8.8"]') == ("1.1.1.1", "8.8.8.8")
    with pytest.raises(BadConfigMap):
        upstreams(b'{"a": []}')


def test_a_folder_whose_key_cannot_be_read(tmp_path) -> None:
    assert load(str(tmp_path / "none")) == {}
    (tmp_path / "stubDomains").mkdir()
    with pytest.raises(BadConfigMap):
        load(str(tmp_path))
