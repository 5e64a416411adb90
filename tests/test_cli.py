"""The command line, in this process and as one of its own."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from kdns import __version__
from kdns.cli import main
from kdns.plugins.order import NAMES

PATIENCE = 20.0

SHOP = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.80
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: away, namespace: shop}
spec: {type: ExternalName, externalName: example.org}
"""


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """run(*words) -> exit code, lines of stdout and of stderr; in an empty folder."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def ran(*words):
        capsys.readouterr()
        try:
            code = main(list(map(str, words)))
        except SystemExit as left:
            code = left.code
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    yield ran
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("kdns").setLevel(logging.NOTSET)


class Process:
    """`python -m kdns` with these words, behind those of `before`; its lines are read as said."""

    def __init__(self, *words, folder, before=(), stdin=None, **options):
        self.popen = subprocess.Popen(
            [*before, sys.executable, "-m", "kdns", *map(str, words)],
            cwd=folder,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        if stdin is not None:
            self.popen.stdin.write(stdin)
            self.popen.stdin.close()
        self.lines = []
        self._said = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.popen.stdout:
            self._said.put(line.rstrip("\n"))

    def says(self, text):
        """Wait for a line with this in it, and give it back."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._said.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"{text!r} was not said, but:\n" + "\n".join(self.lines))
            self.lines.append(line)
            if text in line:
                return line

    def signal(self, number):
        self.popen.send_signal(number)

    def ends(self):
        """Wait for the end; the exit code."""
        code = self.popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while not self._said.empty():
            self.lines.append(self._said.get())
        return code

    def close(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.popen.stdout.close()


@pytest.fixture
def launch(tmp_path):
    """launch(*words) -> a Process in an empty folder."""
    made = []

    def launched(*words, **options):
        made.append(Process(*words, folder=tmp_path, **options))
        return made[-1]

    yield launched
    for process in made:
        process.close()


def ask(port, name="web.", qtype="A", *, tcp=False, host="127.0.0.1"):
    query = dns.message.make_query(name, qtype)
    exchange = dns.query.tcp if tcp else dns.query.udp
    return exchange(query, host, port=port, timeout=10)


def answers(port, name, qtype="A"):
    reply = ask(port, name, qtype)
    return [each.to_text() for rrset in reply.answer for each in rrset]


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


def ready(port):
    """The status of /ready, or 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@pytest.mark.parametrize("flag", ["-version", "--version"])
def test_version(run, flag: str) -> None:
    code, out, err = run(flag)
    assert (code, err) == (0, [])
    assert out[0] == f"kdns-{__version__}"
    assert "python3" in out[1]


@pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
def test_help(run, flag: str) -> None:
    code, out, err = run(flag)
    assert (code, err) == (0, [])
    assert out[0].startswith("usage: kdns ")
    assert any("-dns.port" in line for line in out)


def test_plugins(run) -> None:
    assert run("-plugins") == (0, [f"dns.{name}" for name in NAMES], [])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-nonsense"], "unrecognized arguments: -nonsense"),
        (["nonsense"], "unrecognized arguments: nonsense"),
        (["-dns.port", "65536"], "'65536' is no port: give a number from 0 to 65535"),
        (["-dns.port", "x"], "'x' is no port"),
        (["-conf"], "expected one argument"),
        (["--manifests", "d", "--zone", "a..b"], "'a..b' has an empty label: give a domain"),
        (["--port", "1053"], "--port has no effect without --manifests: write -dns.port"),
        (["--zone", "a"], "--zone has no effect without --manifests"),
        (["--service-range", "10.0.0.0/16"], "--service-range has no effect without --manifests"),
        (["--manifests", "d", "-conf", "c"], "-conf has no effect with --manifests"),
        (["--manifests", "d", "-dns.port", "0"], "-dns.port has no effect with --manifests"),
        (["check", "a", "b"], "unrecognized arguments: b"),
        (["records"], "the following arguments are required: DIR"),
        (["records", "d", "--output", "xml"], "invalid choice: 'xml'"),
        (["records", "d", "--ttl", "x"], "'x' is no TTL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_make_no_sense(run, words: list[str], says: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, [])
    assert says in err[-1]


@pytest.mark.parametrize(
    ("corefile", "says"),
    [
        (None, "[ERROR] Corefile: the Corefile cannot be read"),
        (". {\n nonsense\n}", "[ERROR] Corefile:2:2: there is no plugin 'nonsense'"),
        (". {", "[ERROR] Corefile:1:"),
        (b"\xff\xfe", "[ERROR] Corefile:1:1: "),
        (". {\n bind 198.51.100.1\n whoami\n}", "[ERROR] cannot listen on 198.51.100.1:"),
        (
            ". {\n kubernetes cluster.local {\n manifests gone\n }\n}",
            "[ERROR] gone: ",
        ),
    ],
    ids=["missing", "plugin", "syntax", "bytes", "address", "folder"],
)
def test_what_cannot_be_served_is_one_line(run, tmp_path, corefile, says) -> None:
    if isinstance(corefile, str):
        (tmp_path / "Corefile").write_text(corefile)
    elif corefile:
        (tmp_path / "Corefile").write_bytes(corefile)
    code, out, err = run("-conf", "Corefile", "-dns.port", "0")
    assert (code, err) == (1, [])
    (line,) = out
    assert line.startswith(says)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_in_use_is_one_line(run, tmp_path, kind) -> None:
    with socket.socket(type=kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "Corefile").write_text(f".:{port} {{\n bind 127.0.0.1\n whoami\n}}")
        code, out, err = run()
    assert (code, err) == (1, [])
    (line,) = out
    assert line.startswith(f"[ERROR] cannot listen on 127.0.0.1:{port}: Address already in use: ")


def test_a_pidfile_that_cannot_be_written_is_one_line(run, tmp_path) -> None:
    (tmp_path / "Corefile").write_text(". {\n bind 127.0.0.1\n whoami\n}")
    code, out, _ = run("-quiet", "-dns.port", "0", "-pidfile", "gone/pid")
    assert code == 1
    (line,) = out
    assert line.startswith("[ERROR] cannot write the pidfile gone/pid: No such file or directory: ")


GOOD = ". {\n errors\n whoami\n}"


@pytest.mark.parametrize(
    ("corefile", "code", "out", "err"),
    [
        (GOOD, 0, ["Corefile is good"], []),
        (". {\n nonsense\n}", 1, [], ["Corefile:2:2: there is no plugin 'nonsense': take it out"]),
        (". {\n bind nonsense\n}", 1, [], ["Corefile:2:7: 'nonsense' is neither an address"]),
        (
            ". {\n kubernetes cluster.local {\n manifests m\n namespaces a.b\n}\n}",
            1,
            [],
            ["Corefile:4:13: 'a.b' is no namespace"],
        ),
        (None, 1, [], ["Corefile: the Corefile cannot be read (No such file or directory)"]),
        ("example..org {\n whoami\n}", 1, [], ["Corefile:1:1: "]),
        ("exa$mple.org {\n whoami\n}", 0, ["Corefile is good"], ["Corefile:1:1: "]),
        (
            "exa$mple.org {\n nonsense\n}",
            1,
            [],
            ["Corefile:2:2: there is no plugin", "Corefile:1:1: zone "],
        ),
        (
            ". {\n whoami#odd",
            1,
            [],
            ["Corefile:1:3: this '{' is never closed", "Corefile:2:2: '#odd' is left out"],
        ),
    ],
    ids=[
        *("good", "plugin", "bind", "namespace", "missing", "zone", "notice"),
        *("plugin and notice", "syntax and notice"),
    ],
)
def test_check(run, tmp_path, corefile, code, out, err) -> None:
    if corefile is not None:
        (tmp_path / "Corefile").write_text(corefile)
    found = run("check")
    assert found[:2] == (code, out)
    assert len(found[2]) == len(err)
    for line, begins in zip(found[2], err, strict=True):
        assert line.startswith(begins)


def test_check_another_file(run, tmp_path) -> None:
    (tmp_path / "other").write_text(GOOD)
    assert run("check", "-dns.port", "1053", "other") == (0, ["other is good"], [])


def test_check_starts_nothing(run, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "Corefile").write_text(f".:{port} {{\n bind 127.0.0.1\n whoami\n}}")
        assert run("check")[0] == 0


def test_the_default_corefile(launch, free_port) -> None:
    process = launch("-dns.port", free_port)
    process.says(f"listening on dns://:{free_port}")
    reply = ask(free_port, "web.org.")
    assert [each.to_text() for each in reply.additional[0]] == ["127.0.0.1"]
    assert '"A IN web.org. udp 25 false 512" NOERROR' in process.says("web.org.")
    process.signal(signal.SIGTERM)
    assert process.ends() == 0
    assert process.lines[-1].startswith("[INFO] 127.0.0.1:")


@pytest.mark.parametrize("content", ["", "# nothing\n"])
def test_an_empty_corefile_is_the_default_one(launch, tmp_path, free_port, content) -> None:
    (tmp_path / "Corefile").write_text(content)
    process = launch("-p", free_port)
    process.says(f"listening on dns://:{free_port}")
    assert ask(free_port).additional


def test_a_corefile_that_becomes_empty_is_not_taken_over(launch, tmp_path, free_port) -> None:
    corefile = tmp_path / "Corefile"
    corefile.write_text(". {\n bind 127.0.0.1\n any\n}")
    process = launch("-dns.port", free_port)
    process.says("listening")
    corefile.write_text("")
    process.signal(signal.SIGUSR1)
    assert process.says("plugin/reload").endswith(
        "what ran goes on: Corefile: the Corefile is empty: write a server block, or start again to"
        " serve the default"
    )
    assert answers(free_port, "web.", "ANY")


def test_notices_are_logged(launch, tmp_path, free_port) -> None:
    corefile = tmp_path / "Corefile"
    corefile.write_text(". {\n bind 127.0.0.1\n whoami\n}#odd")
    process = launch("-dns.port", free_port)
    assert process.says("[WARNING]").startswith("[WARNING] Corefile:4:1: '#odd' is left out")
    process.says("listening")
    corefile.write_text(". {\n bind 127.0.0.1\n any\n}#other")
    process.signal(signal.SIGUSR1)
    assert process.says("[WARNING]").startswith("[WARNING] Corefile:4:1: '#other' is left out")


def test_a_corefile_in_this_folder(launch, tmp_path, free_port) -> None:
    (tmp_path / "Corefile").write_text(". {\n bind 127.0.0.1\n any\n}")
    process = launch("-dns.port", free_port)
    assert process.says("listening") == f"[INFO] listening on dns://127.0.0.1:{free_port}"
    assert answers(free_port, "web.", "ANY") == ['"ANY obsoleted" "See RFC 8482"']


def test_a_corefile_from_stdin(launch, free_port) -> None:
    process = launch("-conf", "stdin", stdin=f".:{free_port} {{\n bind 127.0.0.1\n any\n}}")
    process.says("listening")
    assert answers(free_port, "web.", "ANY")
    process.signal(signal.SIGINT)
    assert process.ends() == 0


def test_quiet_and_the_pidfile(launch, tmp_path, free_port) -> None:
    (tmp_path / "Corefile").write_text(". {\n bind 127.0.0.1\n whoami\n}")
    pidfile = tmp_path / "pid"
    process = launch("-quiet", "-dns.port", free_port, "-pidfile", pidfile)
    until(lambda: pidfile.exists() and pidfile.read_text().endswith("\n"))
    assert pidfile.read_text() == f"{process.popen.pid}\n"
    assert ask(free_port).additional
    process.signal(signal.SIGTERM)
    assert process.ends() == 0
    assert process.lines == []
    assert not pidfile.exists()


def test_sigusr1(launch, tmp_path, free_port) -> None:
    corefile = tmp_path / "Corefile"
    corefile.write_text(". {\n bind 127.0.0.1\n whoami\n}")
    process = launch("-dns.port", free_port)
    process.says("listening")
    corefile.write_text(". {\n nonsense\n}")
    process.signal(signal.SIGUSR1)
    line = process.says("[ERROR] plugin/reload: the Corefile was not taken over")
    assert "Corefile:2:2: there is no plugin 'nonsense'" in line
    assert ask(free_port).additional
    corefile.write_text(". {\n bind 127.0.0.1\n any\n}")
    process.signal(signal.SIGUSR1)
    process.says("[INFO] plugin/reload: running configuration SHA512 = ")
    assert answers(free_port, "web.", "ANY")
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


def test_sigterm_and_the_lameduck(launch, tmp_path, free_port) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        health, at = one.getsockname()[1], two.getsockname()[1]
    (tmp_path / "Corefile").write_text(
        f". {{\n bind 127.0.0.1\n whoami\n ready 127.0.0.1:{at}\n"
        f" health 127.0.0.1:{health} {{\n lameduck 1s\n }}\n}}"
    )
    process = launch("-dns.port", free_port)
    process.says("listening")
    assert ready(at) == 200
    process.signal(signal.SIGTERM)
    process.says("going down, and serving for another 1s")
    assert ready(at) == 503
    for tcp in (False, True):
        assert ask(free_port, tcp=tcp).additional
    assert process.ends() == 0
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", free_port))


def test_sigterm_again(launch, tmp_path, free_port) -> None:
    (tmp_path / "Corefile").write_text(". {\n bind 127.0.0.1\n whoami\n}")
    process = launch("-dns.port", free_port)
    process.says("listening")
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


@pytest.fixture
def namespace():
    """The words to run a command in a network of its own, where kdns0 has fe80::53."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("makes a network namespace, which takes Linux and root")
    if shutil.which("ip") is None:
        pytest.skip("makes a network namespace with ip, which is not on PATH")
    name = f"kdns-test-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"may make no network namespace: {made.stderr.strip()}")
    try:
        for words in (
            "link set lo up",
            "link add kdns0 type veth peer name kdns1",
            "link set kdns0 up addrgenmode none",
            "link set kdns1 up addrgenmode none",
            "address add 192.0.2.53/24 dev kdns0",
            "address add fe80::53/64 dev kdns0 nodad",
        ):
            subprocess.run(["ip", "-n", name, *words.split()], check=True)
        yield ["ip", "netns", "exec", name]
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


ASK = """
import sys, dns.message, dns.query
query = dns.message.make_query("web.", "ANY")
for exchange in (dns.query.udp, dns.query.tcp):
    print(*exchange(query, sys.argv[1], port=53, timeout=10).answer)
"""


@pytest.mark.parametrize(
    ("bind", "hosts"),
    [("kdns0", ["192.0.2.53", "fe80::53%kdns0"]), ("fe80::53%kdns0", ["fe80::53%kdns0"])],
)
def test_a_link_local_address(launch, namespace, tmp_path, bind: str, hosts: list[str]) -> None:
    (tmp_path / "Corefile").write_text(f". {{\n bind {bind}\n any\n}}")
    process = launch(before=namespace)
    for host in hosts:
        place = f"[{host}]" if ":" in host else host
        assert process.says("listening on") == f"[INFO] listening on dns://{place}:53"
    for host in hosts:
        asked = subprocess.run(
            [*namespace, sys.executable, "-c", ASK, host],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        assert asked.stdout.count("ANY obsoleted") == 2
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


def test_sigterm_again_in_the_lameduck(launch, tmp_path, free_port) -> None:
    (tmp_path / "Corefile").write_text(
        ". {\n bind 127.0.0.1\n whoami\n health 127.0.0.1:0 {\n lameduck 1h\n }\n}"
    )
    process = launch("-dns.port", free_port)
    process.says("listening")
    process.signal(signal.SIGTERM)
    process.says("going down, and serving for another 3600s")
    process.signal(signal.SIGINT)
    assert process.ends() == 0


def test_signals_that_do_nothing(launch, tmp_path, free_port) -> None:
    (tmp_path / "Corefile").write_text(". {\n bind 127.0.0.1\n whoami\n}")
    process = launch("-dns.port", free_port)
    process.says("listening")
    for number in (signal.SIGHUP, signal.SIGUSR2):
        process.signal(number)
        assert ask(free_port).additional
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files as Linux does")
def test_no_file_is_left_for_connections(launch, tmp_path, free_port) -> None:
    """UDP is answered all the while, and TCP again once there are fewer."""
    (tmp_path / "Corefile").write_text(". {\n bind 127.0.0.1\n whoami\n}")

    def few_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))

    process = launch("-dns.port", free_port, preexec_fn=few_files)
    process.says("listening")
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(("127.0.0.1", free_port))
        for _ in range(50):
            assert ask(free_port).additional

    def answered():
        with contextlib.suppress(OSError, EOFError, dns.exception.DNSException):
            return bool(ask(free_port, tcp=True).additional)
        return False

    until(answered)
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


@pytest.fixture
def shop(tmp_path):
    """A folder of manifests."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "web.yaml").write_text(SHOP)
    return folder


def test_manifests(launch, shop, free_port) -> None:
    process = launch("--manifests", shop, "--zone", "shop.test", "--port", free_port)
    process.says(f"listening on dns://127.0.0.1:{free_port}")
    assert answers(free_port, "web.shop.svc.shop.test.") == ["10.96.0.80"]
    assert answers(free_port, "80.0.96.10.in-addr.arpa.", "PTR") == ["web.shop.svc.shop.test."]
    (shop / "web.yaml").write_text(SHOP.replace("10.96.0.80", "10.96.0.81"))
    until(lambda: answers(free_port, "web.shop.svc.shop.test.") == ["10.96.0.81"])
    (shop / "web.yaml").write_text("kind: [")
    assert "web.yaml" in process.says("web.yaml")
    assert answers(free_port, "web.shop.svc.shop.test.") == ["10.96.0.81"]
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


def test_manifests_that_are_not_there(run, tmp_path) -> None:
    code, out, err = run("--manifests", tmp_path / "gone", "--port", "0")
    assert (code, err) == (1, [])
    (line,) = out
    assert line.startswith("[ERROR] ")
    assert "gone" in line


@pytest.mark.parametrize("name", ['with "quotes"', "with space", "with\\backslash", "é"])
def test_a_folder_of_any_name(run, tmp_path, name: str) -> None:
    """Its name goes through a Corefile, and comes out as it was."""
    folder = tmp_path / name
    code, out, _ = run("--manifests", folder, "--port", "0")
    assert code == 1
    assert out[0].startswith(f"[ERROR] {folder}: ")


def test_records_as_a_table(run, shop) -> None:
    code, out, err = run("records", shop)
    assert (code, err) == (0, [])
    assert out[0].split() == ["NAME", "TYPE", "TTL", "DATA"]
    assert ["web.shop.svc.cluster.local.", "A", "5", "10.96.0.80"] in [line.split() for line in out]


def test_records_as_a_zone_file(run, shop) -> None:
    code, out, err = run("records", shop, "--output", "zone", "--zone", "shop.test", "--ttl", "30")
    assert (code, err) == (0, [])
    assert "web.shop.svc.shop.test.\t30\tIN\tA\t10.96.0.80" in out
    assert "away.shop.svc.shop.test.\t30\tIN\tCNAME\texample.org." in out
    assert "80.0.96.10.in-addr.arpa.\t30\tIN\tPTR\tweb.shop.svc.shop.test." in out
    assert all(len(line.split("\t")) == 5 for line in out)


def test_records_as_json(run, shop) -> None:
    code, out, _ = run("records", shop, "--output", "json")
    assert code == 0
    found = json.loads("\n".join(out))
    assert {
        "owner": "web.shop.svc.cluster.local.",
        "ttl": 5,
        "rclass": "IN",
        "type": "A",
        "rdata": "10.96.0.80",
    } in found


def test_records_of_broken_manifests(run, shop) -> None:
    (shop / "broken.yaml").write_text("kind: [\n")
    code, out, err = run("records", shop, "--output", "zone")
    assert code == 1
    assert any("web.shop.svc.cluster.local." in line for line in out)
    (line,) = err
    assert line.startswith(f"{shop / 'broken.yaml'}:")


def test_records_of_no_folder(run, tmp_path) -> None:
    code, out, err = run("records", tmp_path / "gone")
    assert (code, out) == (1, [])
    (line,) = err
    assert line.startswith(str(tmp_path / "gone"))


def test_the_module_is_a_program(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kdns", "-version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"kdns-{__version__}\n")
