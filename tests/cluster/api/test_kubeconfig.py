"""Kubeconfig files: every way of proving oneself that such a file can name."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile

import pytest
import trustme
import yaml

from kdns.cluster.api.access import AccessError
from kdns.cluster.api.client import Client
from kdns.cluster.api.failures import Failure, Reason
from kdns.cluster.api.kubeconfig import Kubeconfig
from kdns.cluster.api.limits import Limits
from kdns.cluster.api.stats import FeedStats

AUTHORITY = trustme.CA()


@pytest.fixture
def write(tmp_path):
    """Writes a kubeconfig of one user and one cluster; returns its path."""

    def writing(user, *, server="https://127.0.0.1:6443", **cluster):
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": server, **cluster}}],
            "users": [{"name": "me", "user": user}],
            "contexts": [{"name": "mine", "context": {"cluster": "here", "user": "me"}}],
            "current-context": "mine",
        }
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(config))
        return path

    return writing


def plugin(folder, status, code=0):
    """An exec plugin that prints `status` and notes its runs in the file `runs`."""
    said = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    (folder / "said.json").write_text(json.dumps({**said, "status": status}))
    script = folder / "plugin.py"
    script.write_text(
        "import os, sys\n"
        "open('runs', 'a').write(os.environ['REGION'] + sys.argv[1])\n"
        f"print(open('said.json').read())\nsys.exit({code})\n"
    )
    return {
        "apiVersion": said["apiVersion"],
        "command": sys.executable,
        "args": [str(script), "-x"],
        "env": [{"name": "REGION", "value": "north"}],
        "interactiveMode": "Never",
    }


def encoded(blob):
    return base64.b64encode(blob.bytes()).decode()


@pytest.mark.parametrize(
    ("user", "authorization"),
    [
        ({"token": "t0k"}, "Bearer t0k"),
        ({"tokenFile": "token"}, "Bearer from-file"),
        ({"tokenFile": "token", "token": "t0k"}, "Bearer from-file"),
        ({"username": "u", "password": "p"}, "Basic dTpw"),
        ({"tokenFile": None, "token": "t0k", "client-certificate-data": None}, "Bearer t0k"),
        ({}, ""),
    ],
)
async def test_tokens(write, tmp_path, user, authorization):
    (tmp_path / "token").write_text("from-file\n")
    credentials = await Kubeconfig(write(user)).credentials()

    assert credentials.url == "https://127.0.0.1:6443"
    assert credentials.authorization == authorization


@pytest.mark.parametrize("kind", ["files", "data", "data before files"])
async def test_client_certificate_and_ca(write, tmp_path, tls_api, time, kind, monkeypatch):
    own = AUTHORITY.issue_cert("kdns@example.org")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(server)
    AUTHORITY.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    api = await tls_api(server)
    parts = {
        "client-certificate": own.cert_chain_pems[0],
        "client-key": own.private_key_pem,
        "certificate-authority": AUTHORITY.cert_pem,
    }
    for name, blob in parts.items():
        blob.write_to_path(str(tmp_path / name))
    said = {name: name for name in parts}
    if kind == "data":
        said = {}
    if kind != "files":
        said |= {f"{name}-data": encoded(blob) for name, blob in parts.items()}
        for name in parts:
            (tmp_path / name).write_text("not to be read")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    user = {name: value for name, value in said.items() if name.startswith("client")}
    cluster = {name: value for name, value in said.items() if name.startswith("cert")}
    access = Kubeconfig(write(user, server=api.url, **cluster))

    assert await ask(access, api, time) == b"hello"
    assert {path.name for path in tmp_path.iterdir()} == {"config", *parts}


async def ask(access, api, time):
    client = Client(access, Limits(), time.timing, FeedStats.of(["Service"]))

    async def get():
        async with client.get("/", {}) as body:
            return await body.read(5)

    try:
        asking = asyncio.create_task(get())
        answering = asyncio.create_task(api.asked())
        await asyncio.wait([asking, answering], return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            await (await answering).answer(200, b"hello")
        answering.cancel()
        return await asking
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("cluster", "trusted"),
    [
        ({"tls-server-name": "api.example"}, True),
        ({"insecure-skip-tls-verify": True}, True),
        ({}, False),
    ],
)
async def test_names_in_certificates(write, tls_api, time, cluster, trusted):
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("api.example").configure_cert(server)
    api = await tls_api(server)
    if "insecure-skip-tls-verify" not in cluster:
        cluster = {**cluster, "certificate-authority-data": encoded(AUTHORITY.cert_pem)}
    access = Kubeconfig(write({"token": "t"}, server=api.url, **cluster))
    if trusted:
        assert await ask(access, api, time) == b"hello"
    else:
        with pytest.raises(Failure) as caught:
            await ask(access, api, time)
        assert caught.value.reason is Reason.TLS


async def test_proxy(write, api, time):
    """The scripted server is the proxy: it is asked for the whole URL."""
    config = write({"token": "t"}, server="http://10.0.0.1:80", **{"proxy-url": api.url})
    assert await ask(Kubeconfig(config), api, time) == b"hello"


@pytest.mark.parametrize(
    ("cluster", "problem"),
    [
        ({"proxy-url": "socks5://127.0.0.1:1"}, "socks5://127.0.0.1:1' is not supported"),
        ({"server": "10.0.0.1:6443"}, "must begin with https://"),
        ({"certificate-authority": "missing"}, "/missing: No such file"),
        ({"certificate-authority": "config"}, "is not usable PEM"),
        ({"certificate-authority-data": "aGVsbG8="}, "is not usable PEM"),
        ({"certificate-authority-data": "%"}, "base64"),
    ],
)
async def test_clusters_that_cannot_be_used(write, cluster, problem):
    access = Kubeconfig(write({"token": "t"}, **cluster))
    with pytest.raises(AccessError, match=problem):
        await access.credentials()


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        ({"tokenFile": "token"}, "token holds no token"),
        ({"token": "a\nb"}, "`token` holds no token"),
        ({"token": "\u00e9"}, "ascii"),
    ],
    ids=["empty file", "two lines", "not ASCII"],
)
async def test_tokens_that_are_none(write, tmp_path, user, problem):
    (tmp_path / "token").write_text("\n")
    with pytest.raises(AccessError, match=problem):
        await Kubeconfig(write(user)).credentials()


async def test_contexts(write):
    path = write({"token": "current"})
    config = yaml.safe_load(path.read_text())
    config["users"].append({"name": "other", "user": {"token": "chosen"}})
    config["contexts"].append({"name": "theirs", "context": {"cluster": "here", "user": "other"}})
    path.write_text(yaml.safe_dump(config))

    assert (await Kubeconfig(path).credentials()).authorization == "Bearer current"
    assert (await Kubeconfig(path, "theirs").credentials()).authorization == "Bearer chosen"
    with pytest.raises(AccessError, match=f"kubeconfig {path}: .*'nobodys', but mine, theirs"):
        await Kubeconfig(path, "nobodys").credentials()
    del config["current-context"]
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(AccessError, match="no context is named: set current-context"):
        await Kubeconfig(path).credentials()


@pytest.mark.parametrize("user", ["", "me"], ids=["no user", "one with nothing"])
async def test_contexts_without_credentials(write, user):
    path = write(None)
    path.write_text(path.read_text().replace("user: me", f"user: '{user}'"))
    assert (await Kubeconfig(path).credentials()).authorization == ""


async def test_user_that_is_missing(write):
    path = write({"token": "t"})
    path.write_text(path.read_text().replace("user: me", "user: you"))
    with pytest.raises(AccessError, match="there is no user 'you', but me"):
        await Kubeconfig(path).credentials()


def test_library_is_left_alone_that_plain_files_do_not_need(write):
    """It takes a tenth of a second and 19 MiB."""
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from kdns.cluster.api.kubeconfig import Kubeconfig\n"
        "found = asyncio.run(Kubeconfig(Path(sys.argv[1])).credentials())\n"
        "print(found.authorization, 'kubernetes' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, write({"token": "t"}, server="http://[::1]")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "Bearer t False\n"


@pytest.mark.parametrize("text", ["", "[", "a: [", "clusters: 5"])
async def test_files_that_are_none(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(AccessError, match=f"kubeconfig {path}: "):
        await Kubeconfig(path).credentials()


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(AccessError, match="config: No such file"):
        Kubeconfig(tmp_path / "config")


async def test_change_of_the_file_is_taken_up(write, said):
    path = write({"token": "first"})
    access = Kubeconfig(path)
    before = await access.credentials()
    assert await access.credentials() is before
    write({"token": "second"})
    os.utime(path, ns=(1, 1))
    after = await access.credentials()
    assert after.authorization == "Bearer second"
    path.write_text("")
    assert await access.credentials() is after
    assert len(said()) == 1
    path.unlink()
    assert await access.credentials() is after


@pytest.mark.parametrize("names", ["token", "CA"])
async def test_change_of_a_file_that_it_names_is_taken_up(write, tmp_path, names):
    """Tokens and certificates rotate where the kubeconfig stays."""
    files = {"token": tmp_path / "token", "CA": tmp_path / "ca"}
    files["token"].write_text("first")
    AUTHORITY.cert_pem.write_to_path(str(files["CA"]))
    access = Kubeconfig(write({"tokenFile": "token"}, **{"certificate-authority": "ca"}))
    before = await access.credentials()
    assert await access.credentials() is before
    modified = files["token"].stat().st_mtime_ns
    files["token"].write_text("second")
    os.utime(files["token"], ns=(modified, modified))
    os.utime(files[names], ns=(2, 2))
    after = await access.credentials()
    assert after.authorization == "Bearer second"
    assert await access.credentials() is after
    files[names].unlink()
    assert await access.credentials() is after


async def test_refused_is_what_stays_as_it_is(write):
    """Or each request that is refused would be made twice."""
    access = Kubeconfig(write({"token": "first"}))
    refused = await access.credentials()
    assert await access.renew(refused) is refused
    path = write({"token": "second"})
    os.utime(path, ns=(1, 1))
    renewed = await access.renew(refused)
    assert renewed.authorization == "Bearer second"
    assert await access.renew(refused) is renewed


async def test_plugin_that_hangs_is_not_waited_for(write, tmp_path, said):
    """Nor run a second time beside itself, nor is its answer lost if there is one at last."""
    user = plugin(tmp_path, {"token": "one"})
    access = Kubeconfig(write({"exec": user}), patience=0.2)
    with pytest.raises(AccessError, match="has said nothing for"):
        async with held(tmp_path):
            await asyncio.gather(access.credentials(), access.credentials())
    async with asyncio.timeout(20):
        while (first := await attempt(access)) is None:
            pass
    assert first.authorization == "Bearer one"
    async with held(tmp_path):
        assert await access.renew(first) is first
        assert await access.renew(first) is first
    assert len([line for line in said() if "are used on" in line]) == 1
    async with asyncio.timeout(20):
        while await access.renew(first) is first:
            pass
    assert (tmp_path / "runs").read_text() == "north-x" * 2


async def attempt(access):
    with contextlib.suppress(AccessError):
        return await access.credentials()


@contextlib.asynccontextmanager
async def held(folder):
    """The plugin says nothing: its answer is a pipe that nobody writes to."""
    path = folder / "said.json"
    answer = path.read_text()
    path.unlink()
    os.mkfifo(path)
    try:
        yield
    finally:
        await asyncio.to_thread(path.write_text, answer)
        path.unlink()
        path.write_text(answer)


async def test_plugin_runs_once_until_it_is_refused(write, tmp_path):
    access = Kubeconfig(write({"exec": plugin(tmp_path, {"token": "one"})}))
    first = (await asyncio.gather(*(access.credentials() for _ in range(3))))[0]
    assert first.authorization == "Bearer one"
    assert (tmp_path / "runs").read_text() == "north-x"
    plugin(tmp_path, {"token": "two"})
    renewed = await asyncio.gather(*(access.renew(first) for _ in range(3)))

    assert [each.authorization for each in renewed] == ["Bearer two"] * 3
    assert (tmp_path / "runs").read_text() == "north-x" * 2


async def test_plugin_runs_again_before_its_credentials_expire(write, tmp_path):
    now = 1_800_000_000.0  # 2027-01-15T08:00:00Z
    status = {"token": "one", "expirationTimestamp": "2027-01-15T08:10:00Z"}
    access = Kubeconfig(write({"exec": plugin(tmp_path, status)}), wall=lambda: now)
    await access.credentials()
    plugin(tmp_path, {"token": "two", "expirationTimestamp": "2027-01-15T08:20:00Z"})
    now += 589
    assert (await access.credentials()).authorization == "Bearer one"
    now += 1
    assert (await access.credentials()).authorization == "Bearer two"


async def test_plugin_may_give_a_certificate(write, tmp_path):
    own = AUTHORITY.issue_cert("kdns@example.org")
    status = {
        "clientCertificateData": own.cert_chain_pems[0].bytes().decode(),
        "clientKeyData": own.private_key_pem.bytes().decode(),
    }
    credentials = await Kubeconfig(write({"exec": plugin(tmp_path, status)})).credentials()

    assert credentials.authorization == ""
    assert credentials.tls is not None


@pytest.mark.parametrize("broken", ["fails", "says nothing"])
async def test_plugin_that_gives_nothing(write, tmp_path, broken, said):
    code = 3 if broken == "fails" else 0
    access = Kubeconfig(write({"exec": plugin(tmp_path, {}, code)}))
    with pytest.raises(AccessError, match="its exec plugin gave no credentials"):
        await access.credentials()
    plugin(tmp_path, {"token": "at last"})
    good = await access.credentials()
    assert good.authorization == "Bearer at last"
    plugin(tmp_path, {}, code)
    assert await access.renew(good) is good
    assert any("are used on" in line for line in said())


def id_token(expiry):
    parts = [{"alg": "none"}, {"exp": expiry}, {"sig": 1}]
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


async def test_oidc_token_that_holds(write):
    token = id_token(4_000_000_000)
    provider = {"name": "oidc", "config": {"id-token": token}}

    credentials = await Kubeconfig(write({"auth-provider": provider})).credentials()

    assert credentials.authorization == f"Bearer {token}"


async def test_oidc_token_is_refreshed_and_the_new_one_kept(write, api, monkeypatch):
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    fresh = id_token(4_000_000_000)
    config = {
        "id-token": id_token(1),
        "refresh-token": "r1",
        "client-id": "kdns",
        "client-secret": "s",
        "idp-issuer-url": f"{api.url}/issuer",
    }
    path = write({"auth-provider": {"name": "oidc", "config": config}})
    loading = asyncio.create_task(Kubeconfig(path).credentials())
    discovery = await api.asked("/issuer/.well-known/openid-configuration")
    await discovery.answer(200, {"token_endpoint": f"{api.url}/token"}, Connection="close")
    answer = {"id_token": fresh, "refresh_token": "r2", "access_token": "a", "token_type": "x"}
    await (await api.asked("/token")).answer(
        200, answer, Content_Type="application/json", Connection="close"
    )

    assert (await loading).authorization == f"Bearer {fresh}"
    kept = yaml.safe_load(path.read_text())["users"][0]["user"]["auth-provider"]["config"]
    assert (kept["id-token"], kept["refresh-token"]) == (fresh, "r2")
