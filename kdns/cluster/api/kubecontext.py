"""A context of a kubeconfig file, as far as the file alone says who asks which API server.

kubectl's rules hold: what is given as data comes before the file of the same purpose, but a token's
file before the token, paths begin at the kubeconfig's folder, and null is nothing at all. Names
with dashes are the file's.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct, field

from kdns.cluster.api.access import AccessError, Credentials, bearer, reason, tls_context
from kdns.cluster.api.failures import UNDECODABLE

T = TypeVar("T")


class _Cluster(Struct, rename="kebab"):
    server: str | None = ""
    certificate_authority: str | None = ""
    certificate_authority_data: str | None = ""
    insecure_skip_tls_verify: bool | None = False
    tls_server_name: str | None = None
    proxy_url: str | None = None


class _User(Struct, rename="kebab"):
    client_certificate: str | None = ""
    client_certificate_data: str | None = ""
    client_key: str | None = ""
    client_key_data: str | None = ""
    token: str | None = ""
    token_file: str | None = field(default="", name="tokenFile")
    username: str | None = ""
    password: str | None = ""
    exec: Any = None
    auth_provider: Any = None


class _Context(Struct):
    cluster: str | None = ""
    user: str | None = ""


class _NamedCluster(Struct):
    name: str
    cluster: _Cluster


class _NamedUser(Struct):
    name: str
    user: _User | None = None


class _NamedContext(Struct):
    name: str
    context: _Context


class _File(Struct, rename="kebab"):
    clusters: list[_NamedCluster] | None
    contexts: list[_NamedContext] | None
    users: list[_NamedUser] | None = None
    current_context: str | None = ""


class Context:
    """What a kubeconfig file says of a context, the current one where `name` is "".

    Blocking. Raises AccessError where it says nothing that can be used.
    """

    def __init__(self, file: Path, name: str) -> None:
        self._folder = file.parent
        try:
            said = msgspec.yaml.decode(file.read_bytes(), type=_File)
        except (OSError, *UNDECODABLE) as error:
            raise AccessError(reason(error)) from error
        contexts = {each.name: each.context for each in said.contexts or ()}
        clusters = {each.name: each.cluster for each in said.clusters or ()}
        users = {each.name: each.user for each in said.users or ()}
        context = _named("context", name or said.current_context, contexts)
        self._cluster = _named("cluster", context.cluster, clusters)
        user = _named("user", context.user, users) if context.user else None
        self._user = user or _User()

    @property
    def has_plugin(self) -> bool:
        """Whether an exec plugin has a say in who asks."""
        return self._user.exec is not None

    @property
    def has_provider(self) -> bool:
        """Whether an identity provider has a say in who asks."""
        return self._user.auth_provider is not None

    @property
    def files(self) -> list[Path]:
        """Those that it names, which may change while it stays."""
        cluster, user = self._cluster, self._user
        named = (
            user.token_file,
            *(() if cluster.certificate_authority_data else (cluster.certificate_authority,)),
            *(() if user.client_certificate_data else (user.client_certificate,)),
            *(() if user.client_key_data else (user.client_key,)),
        )
        return [self._folder / file for file in named if file]

    def credentials(self) -> Credentials:
        """As its files have them now; blocking. Raises AccessError."""
        cluster, user = self._cluster, self._user
        try:
            with ExitStack() as written:
                ca, certificate, key = (
                    self._pem(file, data, written)
                    for file, data in (
                        (cluster.certificate_authority, cluster.certificate_authority_data),
                        (user.client_certificate, user.client_certificate_data),
                        (user.client_key, user.client_key_data),
                    )
                )
                return credentials(
                    cluster.server or "",
                    Tls(ca, certificate, key, verify=not cluster.insecure_skip_tls_verify),
                    self._authorization(),
                    cluster.tls_server_name,
                    cluster.proxy_url,
                )
        except AccessError:
            raise
        except (OSError, ValueError) as error:
            raise AccessError(reason(error)) from error

    def _authorization(self) -> str:
        user = self._user
        if user.token_file:
            path = self._folder / user.token_file
            return bearer(path.read_bytes(), str(path))
        if user.token:
            return bearer(user.token.encode(), "`token`")
        if user.username and user.password:
            return f"Basic {b64encode(f'{user.username}:{user.password}'.encode()).decode()}"
        return ""

    def _pem(self, file: str | None, data: str | None, written: ExitStack) -> Path | None:
        """Where PEM is to be read, for TLS reads files alone; data is `written` for the while."""
        if data:
            with NamedTemporaryFile(prefix="kdns-", delete=False) as made:
                written.callback(os.unlink, made.name)
                made.write(b64decode("".join(data.split()), validate=True))
            return Path(made.name)
        if not file:
            return None
        path = self._folder / file
        path.stat()  # OpenSSL does not say which file is missing
        return path


class Tls(NamedTuple):
    """PEM files, None for what is not used, and whether the server is to prove itself."""

    ca: Path | None
    certificate: Path | None
    key: Path | None
    verify: bool


def credentials(
    server: str, tls: Tls, authorization: str, server_name: str | None, proxy: str | None
) -> Credentials:
    """As a kubeconfig gives them. Raises AccessError, and OSError over PEM that is none."""
    if proxy and not proxy.startswith(("http://", "https://")):
        raise AccessError(f"proxy-url {proxy!r} is not supported: use an http or https proxy")
    if not server.startswith(("http://", "https://")):
        raise AccessError(f"server {server!r} is no URL: it must begin with https://")
    context = None
    if server.startswith("https://"):
        context = tls_context(tls.ca, tls.certificate, tls.key, verify=tls.verify)
    return Credentials(server.rstrip("/"), context, authorization, server_name, proxy)


def _named(kind: str, name: str | None, known: Mapping[str, T]) -> T:
    if not name:
        raise AccessError(f"no {kind} is named: set current-context, or name one in the Corefile")
    if name not in known:
        raise AccessError(f"there is no {kind} {name!r}, but {', '.join(known) or 'none at all'}")
    return known[name]
