from __future__ import annotations

import pytest
import trustme

from kdns.cluster.api.access import AccessError, FileAccess, Files, in_cluster


@pytest.fixture
def account(tmp_path):
    """A service account's folder."""
    (tmp_path / "token").write_text("first")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    return tmp_path


HERE = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.mark.parametrize(
    ("host", "url"),
    [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")],
)
async def test_in_cluster(account, host, url):
    access = in_cluster({**HERE, "KUBERNETES_SERVICE_HOST": host}, account)
    credentials = await access.credentials()

    assert credentials.url == url
    assert credentials.authorization == "Bearer first"
    assert credentials.tls.verify_mode.name == "CERT_REQUIRED"


async def test_token_is_read_again_every_minute(account, time):
    access = in_cluster(HERE, account, time.timing.clock)
    (account / "token").write_text("second")
    time.now += 59
    assert (await access.credentials()).authorization == "Bearer first"
    time.now += 1
    assert (await access.credentials()).authorization == "Bearer second"


async def test_what_has_not_changed_stays_the_same(account, time):
    """A new TLS context would mean a new connection for every request."""
    access = in_cluster(HERE, account, time.timing.clock)
    before = await access.credentials()
    time.now += 61

    assert await access.credentials() is before
    assert await access.renew(before) is before


async def test_renewal_reads_at_once_and_once_for_all(account, time):
    access = in_cluster(HERE, account, time.timing.clock)
    refused = await access.credentials()
    (account / "token").write_text("second")
    renewed = await access.renew(refused)
    (account / "token").write_text("third")

    assert renewed.authorization == "Bearer second"
    assert await access.renew(refused) is renewed


async def test_new_ca_makes_a_new_context(account, time):
    access = in_cluster(HERE, account, time.timing.clock)
    before = (await access.credentials()).tls
    trustme.CA().cert_pem.write_to_path(str(account / "ca.crt"))
    time.now += 61

    assert (await access.credentials()).tls is not before


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("token", "", "holds no token"),
        ("token", "two\nlines", "holds no token"),
        ("token", "n\u00f6", "ascii"),
        ("token", None, "No such file"),
        ("ca.crt", "", "not usable PEM"),
        ("ca.crt", "junk", "not usable PEM"),
        ("ca.crt", None, "No such file"),
    ],
)
async def test_files_that_go_bad_do_not_take_access_away(
    account, time, said, name, content, problem
):
    access = in_cluster(HERE, account, time.timing.clock)
    before = await access.credentials()
    if content is None:
        (account / name).unlink()
    else:
        (account / name).write_text(content)
    for _ in range(3):
        time.now += 61
        assert await access.credentials() is before

    assert len(said()) == 1
    assert problem in said()[0]
    with pytest.raises(AccessError, match=problem):
        in_cluster(HERE, account)


@pytest.mark.parametrize("missing", list(HERE))
def test_outside_of_a_cluster(account, missing):
    with pytest.raises(AccessError, match="say where the API server is with `kubeconfig`"):
        in_cluster({**HERE, missing: ""}, account)


@pytest.mark.parametrize("url", ["", "10.0.0.1:6443", "ftp://x"])
def test_url_that_is_none(url):
    with pytest.raises(AccessError, match="must begin with https://"):
        FileAccess(url, Files())


async def test_endpoint_over_plain_http():
    credentials = await FileAccess("http://127.0.0.1:8001/", Files()).credentials()

    assert credentials.url == "http://127.0.0.1:8001"
    assert credentials.tls is None
    assert credentials.authorization == ""


async def test_endpoint_trusts_the_system_without_a_ca():
    credentials = await FileAccess("https://api.example.org", Files()).credentials()

    assert credentials.tls.check_hostname


def test_key_that_does_not_fit(tmp_path):
    authority = trustme.CA()
    authority.issue_cert("a.example").cert_chain_pems[0].write_to_path(str(tmp_path / "cert"))
    authority.issue_cert("b.example").private_key_pem.write_to_path(str(tmp_path / "key"))
    files = Files(certificate=tmp_path / "cert", key=tmp_path / "key")

    with pytest.raises(AccessError, match="no access to https://x: a certificate or key file"):
        FileAccess("https://x", files)
