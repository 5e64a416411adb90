"""Upstreams over TLS: who is believed, and how little the next connection costs."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kdns.forwarding.exchange import Lost
from kdns.forwarding.options import Tls
from kdns.forwarding.tls import BadTlsFile, TlsTransport, client_context
from tests.forwarding.authority import Authority
from tests.forwarding.peers import LOCAL, Line, Peer, response, until

NAME = "dns.example.org"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def serve(authority: Authority) -> AsyncIterator[Callable[..., Line]]:
    """await serve(context, **options) -> a line to a peer that serves with these settings."""
    peers, lines = [], []

    async def started(context: ssl.SSLContext, **options: object) -> Line:
        peers.append(await Peer().open(tls=context))
        options.setdefault("tls", Tls(ca=authority.file))
        lines.append(Line(peers[-1], TlsTransport, **options))
        return lines[-1]

    yield started
    for line in lines:
        line.transport.close()
    for peer in peers:
        await peer.close()
    await until(lambda: all(caller.reader.at_eof() for peer in peers for caller in peer.accepted))


@pytest.mark.parametrize(
    ("named", "options"),
    [
        pytest.param(LOCAL, {}, id="by its address"),
        pytest.param(NAME, {"server_name": NAME}, id="by the target's name"),
        pytest.param(NAME, {"name": NAME}, id="by the name for all"),
        pytest.param("*.example.org", {"server_name": NAME}, id="by a wildcard"),
    ],
)
async def test_an_upstream_that_proves_its_name(
    authority: Authority, serve: Callable, named: str, options: dict[str, str]
) -> None:
    tls = Tls(ca=authority.file, server_name=options.get("name", ""))
    context = authority.server(named)
    context.set_alpn_protocols(["http/1.1", "dot"])
    names = []
    context.sni_callback = lambda _, name, __: names.append(name)
    line = await serve(context, tls=tls, server_name=options.get("server_name", ""))
    caller = await line.settled()
    assert caller.info("ssl_object").selected_alpn_protocol() == "dot"
    assert names == [None if named == LOCAL else NAME]
    again, *_ = line.ask("second.")
    packet = await caller.question()
    caller.say(response(packet))
    assert await again.what() == response(packet)
    assert (line.transport.proto, line.transport.hits, line.transport.misses) == ("tcp-tls", 1, 1)


@pytest.mark.parametrize(
    ("named", "options", "expected"),
    [
        pytest.param(NAME, {}, [LOCAL, "IP address mismatch"], id="not for its address"),
        pytest.param(
            "other.example",
            {"server_name": NAME},
            [NAME, "Hostname mismatch"],
            id="another's name",
        ),
        pytest.param(NAME, {"server_name": NAME, "tls": Tls()}, [NAME, "local issuer"], id="no CA"),
    ],
)
async def test_an_upstream_that_does_not(
    authority: Authority, serve: Callable, named: str, options: dict, expected: list[str]
) -> None:
    line = await serve(authority.server(named), **options)
    (ear,) = line.ask("www.")
    reason = (await ear.what()).reason
    assert reason.startswith(f"certificate is not valid for {expected[0]} (")
    assert expected[1] in reason


async def test_a_certificate_that_has_expired(authority: Authority, serve: Callable) -> None:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    line = await serve(authority.server(LOCAL, not_after=past))
    (ear,) = line.ask("www.")
    expected = "certificate is not valid for 127.0.0.1 (certificate has expired)"
    assert await ear.what() == Lost(expected)


async def test_old_versions_are_not_spoken(authority: Authority, serve: Callable) -> None:
    context = authority.server(LOCAL)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    line = await serve(context)
    (ear,) = line.ask("www.")
    assert isinstance(await ear.what(), Lost)
    assert not line.peer.accepted


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_next_connection_goes_on_with_the_session(
    authority: Authority, serve: Callable, version: ssl.TLSVersion
) -> None:
    context = authority.server(LOCAL)
    context.minimum_version = context.maximum_version = version
    line = await serve(context, expire=0.0)
    callers = [await line.settled() for _ in range(4)]
    resumed = [caller.info("ssl_object").session_reused for caller in callers]
    assert resumed == [False, True, True, True]


async def test_a_session_that_the_upstream_forgot(authority: Authority, serve: Callable) -> None:
    first = await serve(authority.server(LOCAL), expire=0.0)
    await first.settled()
    await first.peer.close()
    other = await Peer().open(tls=authority.server(LOCAL), port=first.peer.port)
    first.peer = other
    caller = await first.settled()
    assert not caller.info("ssl_object").session_reused
    await other.close()


async def test_an_upstream_that_wants_to_know_who_asks(
    authority: Authority, serve: Callable
) -> None:
    context = authority.server(LOCAL)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    certificate, key = authority.client_files()
    line = await serve(context, tls=Tls(certificate, key, authority.file))
    caller = await line.settled()
    names = caller.info("peercert")["subjectAltName"]
    assert names == (("DNS", "client.example"),)
    stranger = await serve(context)
    (ear,) = stranger.ask("www.")
    assert isinstance(await ear.what(), Lost)


async def test_a_certificate_that_is_renewed(
    authority: Authority, serve: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    """The next connection has it; while its files do not fit, the former is shown."""
    context = authority.server(LOCAL)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    certificate, key = authority.client_files()
    line = await serve(context, tls=Tls(certificate, key, authority.file), expire=0.0)

    async def shown() -> int:
        return (await line.settled()).info("peercert")["serialNumber"]

    first = await shown()
    former = key.read_bytes()
    authority.client_files()
    renewed, _ = key.read_bytes(), key.write_bytes(former)
    assert await shown() == first
    assert await shown() == first
    assert [
        each.getMessage().count("what was there before is used") for each in caplog.records
    ] == [1]
    key.write_bytes(renewed)
    assert await shown() != first


async def test_an_upstream_that_speaks_no_tls(authority: Authority, serve: Callable) -> None:
    line = await serve(authority.server(LOCAL))
    line.peer = plain = await Peer().open()
    line.transport.target = line.transport.target._replace(port=plain.port)
    (ear,) = line.ask("www.")
    caller = await plain.caller()
    caller.raw(b"\0\x0c" + bytes(12))
    assert (await ear.what()).reason.startswith("TLS failed (")
    await plain.close()


async def test_an_upstream_that_says_nothing_at_all(authority: Authority, serve: Callable) -> None:
    line = await serve(authority.server(LOCAL))
    plain = await Peer().open()
    line.transport.target = line.transport.target._replace(port=plain.port)
    line.transport._patience._longest = line.transport._patience._shortest = 0.02
    (ear,) = line.ask("www.")
    assert await ear.what() == Lost("timed out while connecting")
    await (await plain.caller()).gone()
    await plain.close()


async def test_an_upstream_that_closes_in_the_handshake(
    authority: Authority, serve: Callable
) -> None:
    line = await serve(authority.server(LOCAL))
    plain = await Peer().open()
    line.transport.target = line.transport.target._replace(port=plain.port)
    (ear,) = line.ask("www.")
    (await plain.caller()).close()
    assert await ear.what() == Lost("closed the connection")
    await plain.close()


async def test_files_that_are_gone_are_the_reason(authority: Authority, serve: Callable) -> None:
    line = await serve(authority.server(LOCAL), tls=Tls(ca=authority.folder / "none.pem"))
    (ear,) = line.ask("www.")
    assert "none.pem cannot be read (No such file or directory)" in (await ear.what()).reason


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        pytest.param({"ca": "none.pem"}, "none.pem cannot be read (No such file", id="no CA"),
        pytest.param({"ca": "."}, "cannot be read (Is a directory)", id="a folder"),
        pytest.param({"ca": "junk.pem"}, "junk.pem holds no certificate in PEM form", id="junk"),
        pytest.param(
            {"certificate": "none.pem", "key": "client.key"},
            "none.pem cannot be read",
            id="no certificate",
        ),
        pytest.param(
            {"certificate": "client.pem", "key": "none.key"}, "none.key cannot be read", id="no key"
        ),
        pytest.param(
            {"certificate": "client.pem", "key": "ca.pem"},
            "ca.pem are no certificate and its key in PEM form",
            id="not its key",
        ),
        pytest.param(
            {"certificate": "junk.pem", "key": "junk.pem"},
            "junk.pem are no certificate and its key in PEM form",
            id="junk for both",
        ),
    ],
)
def test_bad_files(authority: Authority, files: dict[str, str], complaint: str) -> None:
    authority.client_files()
    (authority.folder / "junk.pem").write_text("junk\n")
    with pytest.raises(BadTlsFile) as refusal:
        client_context(Tls(**{role: authority.folder / name for role, name in files.items()}))
    assert complaint in str(refusal.value)


async def test_closing_during_the_handshake(authority: Authority, serve: Callable) -> None:
    line = await serve(authority.server(LOCAL))
    plain = await Peer().open()
    line.transport.target = line.transport.target._replace(port=plain.port)
    (ear,) = line.ask("www.")
    caller = await plain.caller()
    async with asyncio.timeout(5):
        await caller.reader.read(1)
    line.transport.close()
    assert await ear.what() == Lost("is asked no more")
    await caller.gone()
    await plain.close()


async def test_many_handshakes_at_a_time(authority: Authority, serve: Callable) -> None:
    line = await serve(authority.server(LOCAL))
    ears = line.ask(*[f"n{number}." for number in range(150)])
    for _ in range(15):
        caller = await line.peer.caller()
        for _ in range(10):
            caller.say(response(await caller.question()))
    assert {type(await ear.what()) for ear in ears} == {bytes}
