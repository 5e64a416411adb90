"""Requests: what is sent, what is counted, and which failure is which."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme

from kdns.cluster.api.access import FileAccess, Files
from kdns.cluster.api.client import Client, watched_socket
from kdns.cluster.api.failures import Failure, Reason
from kdns.cluster.api.limits import Limits
from kdns.cluster.api.stats import FeedStats


@asynccontextmanager
async def client_of(access, time, limits=None):
    stats = FeedStats.of(["Service"])
    client = Client(access, limits or Limits(), time.timing, stats)
    try:
        yield client, stats
    finally:
        await client.close()


async def get(client, path="/api/v1/services"):
    async with client.get(path, {"labelSelector": "a in (b,c),d!=e"}) as body:
        content = b""
        while chunk := await body.read(5):
            content += chunk
        return content


async def failure_of(client):
    with pytest.raises(Failure) as caught:
        await get(client)
    return caught.value


async def test_request_and_its_counts(api, time, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    access = FileAccess(f"{api.url}/k8s/clusters/c-1/", Files(token=tmp_path / "token"))
    async with client_of(access, time) as (client, stats):
        asking = asyncio.create_task(get(client))
        asked = await api.asked()
        time.now += 0.3
        await asked.answer(200, b"[]")
        assert await asking == b"[]"
        host = f"127.0.0.1:{api.port}"

        assert asked.path == "/k8s/clusters/c-1/api/v1/services"
        assert asked.query == {"labelSelector": "a in (b,c),d!=e"}
        assert asked.headers["authorization"] == "Bearer secret"
        assert asked.headers["accept"] == "application/json"
        assert asked.headers["user-agent"].startswith("kdns/")
        assert stats.server == f"{api.url}/k8s/clusters/c-1"
        assert stats.requests.total == {("200", "GET", host): 1}
        assert stats.requests.durations["GET", host].counts[6] == 1, "0.25 to 0.5 s"
        assert stats.requests.limiter["GET", host].counts[0] == 1


FAILURES = [
    (400, Reason.INVALID),
    (401, Reason.UNAUTHORIZED),
    (403, Reason.FORBIDDEN),
    (404, Reason.NOT_FOUND),
    (410, Reason.EXPIRED),
    (422, Reason.INVALID),
    (429, Reason.OVERLOADED),
    (500, Reason.SERVER),
    (503, Reason.SERVER),
    (504, Reason.SERVER),
    (302, Reason.UNEXPECTED),
    (204, Reason.UNEXPECTED),
]


@pytest.mark.parametrize(("code", "reason"), FAILURES)
async def test_answers_other_than_200(api, time, code, reason):
    async with client_of(FileAccess(api.url, Files()), time) as (client, stats):
        asking = asyncio.create_task(failure_of(client))
        exchange = await api.asked()
        await exchange.answer(code, b"" if code == 204 else b"why it is so", Location="/elsewhere")
        failure = await asking

        assert failure.reason is reason
        assert str(code) in str(failure)
        assert code == 204 or "why it is so" in str(failure)
        assert stats.requests.total == {(str(code), "GET", f"127.0.0.1:{api.port}"): 1}


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [("5", 0, 5), ("", 6, 6), ("7", 6, 7), ("100000", 0, 300), ("soon", 0, 0), ("-1", -1, 0)],
)
async def test_retry_after(api, time, say, header, details, seconds):
    async with client_of(FileAccess(api.url, Files()), time) as (client, _):
        asking = asyncio.create_task(failure_of(client))
        body = say.status(429, retryAfterSeconds=details)
        await (await api.asked()).answer(429, body, Retry_After=header)

        assert (await asking).retry_after == seconds


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"reason": "Expired", "code": 500}, Reason.EXPIRED),
        ({"reason": "Timeout", "message": "Too large resource version: 5"}, Reason.TOO_LARGE),
        ({"details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}, Reason.TOO_LARGE),
        ({"details": {"causes": [{"message": "Too large resource version"}]}}, Reason.TOO_LARGE),
        ({"details": "none"}, Reason.SERVER),
    ],
)
async def test_status_says_more_than_the_code(api, time, status, reason):
    async with client_of(FileAccess(api.url, Files()), time) as (client, _):
        asking = asyncio.create_task(failure_of(client))
        await (await api.asked()).answer(504, status)

        assert (await asking).reason is reason


async def test_nobody_there(api, time):
    await api.close()
    async with client_of(FileAccess(api.url, Files()), time) as (client, stats):
        failure = await failure_of(client)

        assert failure.reason is Reason.CONNECTION
        assert str(failure) == f"cannot connect to 127.0.0.1:{api.port}: Connection refused"
        assert stats.requests.total == {("<error>", "GET", f"127.0.0.1:{api.port}"): 1}


async def test_nobody_of_that_name(time, monkeypatch):
    async def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    async with client_of(FileAccess("https://nobody.invalid:1", Files()), time) as (client, _):
        failure = await failure_of(client)

    assert failure.reason is Reason.CONNECTION
    assert str(failure) == "cannot connect to nobody.invalid:1: Name or service not known"


async def test_no_answer_in_time(api, time):
    async with client_of(FileAccess(api.url, Files()), time) as (client, stats):
        asking = asyncio.create_task(failure_of(client))
        await api.asked()
        assert time.patience == 70
        time.expire()

        assert (await asking).reason is Reason.TIMEOUT
        assert stats.requests.total == {("<error>", "GET", f"127.0.0.1:{api.port}"): 1}


@pytest.mark.parametrize("end", ["cut", "half", "close"])
async def test_body_that_breaks_off(api, time, end):
    async with client_of(FileAccess(api.url, Files()), time) as (client, _):
        async with _body(client, api) as (body, exchange):
            await exchange.raw(b"something")
            assert await body.read(5) == b"something"
            if end == "cut":
                exchange.cut()
            elif end == "half":
                exchange._writer.write(b"400\r\nhalf of it")
                exchange._writer.close()
            else:
                asyncio.get_running_loop().call_soon(body.close)
            with pytest.raises(Failure) as caught:
                await _to_the_end(body)
        assert caught.value.reason is Reason.CONNECTION


async def _to_the_end(body):
    while await body.read(5):
        pass


@asynccontextmanager
async def _body(client, api):
    answering = client.get("/watch", {})
    entering = asyncio.create_task(answering.__aenter__())
    exchange = await api.asked()
    await exchange.begin()
    yield await entering, exchange
    await answering.__aexit__(None, None, None)


async def test_401_is_tried_once_more_with_a_new_token(api, time, tmp_path):
    token = tmp_path / "token"
    token.write_text("old")
    async with client_of(FileAccess(api.url, Files(token=token)), time) as (client, stats):
        asking = asyncio.create_task(get(client))
        first = await api.asked()
        token.write_text("new")
        await first.answer(401)
        second = await api.asked()
        await second.answer(200, b"x")

        assert await asking == b"x"
        assert first.headers["authorization"] == "Bearer old"
        assert second.headers["authorization"] == "Bearer new"
        assert stats.requests.total.total() == 2


async def test_401_with_the_new_token_too_is_a_failure(api, time, tmp_path):
    token = tmp_path / "token"
    token.write_text("old")
    async with client_of(FileAccess(api.url, Files(token=token)), time) as (client, _):
        asking = asyncio.create_task(failure_of(client))
        first = await api.asked()
        token.write_text("new")
        await first.answer(401)
        await (await api.asked()).answer(401)

        assert (await asking).reason is Reason.UNAUTHORIZED
        assert api.idle()


async def test_limits_hold_for_requests(api, time):
    access = FileAccess(api.url, Files())
    async with client_of(access, time, Limits(qps=1, burst=1, max_inflight=1)) as (client, stats):
        asking = [asyncio.create_task(get(client)) for _ in range(2)]
        first = await api.asked()
        assert api.idle(), "one at a time"
        await first.answer(200)
        await (await api.asked()).answer(200)
        await asyncio.gather(*asking)

        assert time.slept == [1]
        assert stats.requests.limiter["GET", f"127.0.0.1:{api.port}"].sum >= 1


def server_side(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


async def test_ca_that_was_replaced_is_read_again(tls_api, time, tmp_path):
    old, new = trustme.CA(), trustme.CA()
    old.cert_pem.write_to_path(str(tmp_path / "ca"))
    api = await tls_api(server_side(new.issue_cert("127.0.0.1")))
    async with client_of(FileAccess(api.url, Files(ca=tmp_path / "ca")), time) as (client, _):
        failure = await failure_of(client)
        assert failure.reason is Reason.TLS
        assert "CERTIFICATE_VERIFY_FAILED" in str(failure)
        new.cert_pem.write_to_path(str(tmp_path / "ca"))
        asking = asyncio.create_task(get(client))
        await (await api.asked()).answer(200, b"trusted")

        assert await asking == b"trusted"


async def test_client_certificate(tls_api, time, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    own = authority.issue_cert("kdns@example.org", common_name="kdns")
    own.private_key_pem.write_to_path(str(tmp_path / "key"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "cert"))
    context = server_side(authority.issue_cert("127.0.0.1"))
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    api = await tls_api(context)
    files = Files(ca=tmp_path / "ca", certificate=tmp_path / "cert", key=tmp_path / "key")
    async with client_of(FileAccess(api.url, files), time) as (client, _):
        asking = asyncio.create_task(get(client))
        asked = await api.asked()
        await asked.answer(200, b"known")

        assert await asking == b"known"
        assert asked._writer.get_extra_info("peercert")["subject"][-1] == (("commonName", "kdns"),)


async def test_name_of_another_server_is_not_accepted(tls_api, time, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    api = await tls_api(server_side(authority.issue_cert("127.0.0.2")))
    async with client_of(FileAccess(api.url, Files(ca=tmp_path / "ca")), time) as (client, _):
        failure = await failure_of(client)
        assert failure.reason is Reason.TLS
        assert str(failure).startswith(f"no trust in 127.0.0.1:{api.port}: [SSL: CERT")
        assert "IP address mismatch" in str(failure)


async def test_tls_with_one_who_speaks_none(time):
    async def answer(_, writer):
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        access = FileAccess(f"https://127.0.0.1:{port}", Files())
        async with client_of(access, time) as (client, _):
            failure = await failure_of(client)

    assert failure.reason is Reason.TLS
    assert str(failure).startswith(f"cannot connect to 127.0.0.1:{port}: ")
    assert "SSLContext" not in str(failure)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT is Linux's")
def test_dead_peers_are_noticed_by_tcp():
    with watched_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
