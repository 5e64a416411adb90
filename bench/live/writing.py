"""Objects written to an API server: many at once to fill it, one at a time to change it."""

from __future__ import annotations

import asyncio
import http.client
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec

from bench.peers.storage import BY_KIND
from kdns.cluster.api.kubeconfig import Kubeconfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bench.peers.storage import Manifest
    from kdns.cluster.api.access import Credentials

WRITERS = 50
_PATIENCE = 30.0
_CREATED, _EXISTS = 201, 409


class Refused(RuntimeError):
    """An API server did not take an object; the message has its words."""


def fill(kubeconfig: Path, manifests: Iterable[Manifest]) -> None:
    """Create the objects; those that are there already stay as they are. Raises Refused."""
    asyncio.run(_fill(Kubeconfig(kubeconfig), list(manifests)))


async def _fill(access: Kubeconfig, manifests: list[Manifest]) -> None:
    credentials = await access.credentials()
    connections = aiohttp.TCPConnector(limit=WRITERS, ssl=credentials.tls or True)
    async with aiohttp.ClientSession(headers=_headers(credentials), connector=connections) as api:

        async def write(pending: Iterator[Manifest]) -> None:
            for manifest in pending:
                path = _path(manifest).rpartition("/")[0]
                body = msgspec.json.encode(stored(manifest))
                async with api.post(credentials.url + path, data=body) as answer:
                    said = await answer.text()
                    if answer.status not in {_CREATED, _EXISTS}:
                        raise Refused(f"POST {path}: {said}")

        for kinds in ({"Namespace"}, BY_KIND.keys() - {"Namespace"}):
            some = iter([manifest for manifest in manifests if manifest["kind"] in kinds])
            await asyncio.gather(*(write(some) for _ in range(WRITERS)))


def stored(manifest: Manifest) -> Manifest:
    """Without a selector, for which controllers would make slices of their own."""
    spec = manifest.get("spec")
    if not spec or "selector" not in spec:
        return manifest
    return {**manifest, "spec": {key: spec[key] for key in spec if key != "selector"}}


class Writer:
    """One kept connection to an API server, for one thread."""

    def __init__(self, kubeconfig: Path) -> None:
        credentials = asyncio.run(Kubeconfig(kubeconfig).credentials())
        url = urlsplit(credentials.url)
        self._headers = _headers(credentials)
        self._prefix = url.path
        self._connection: http.client.HTTPConnection
        if credentials.tls is not None:
            self._connection = http.client.HTTPSConnection(
                url.netloc, timeout=_PATIENCE, context=credentials.tls
            )
        else:
            self._connection = http.client.HTTPConnection(url.netloc, timeout=_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def put(self, manifest: Manifest) -> None:
        """Replace an object; returns once it is committed. Raises Refused."""
        self._ask("PUT", _path(manifest), msgspec.json.encode(stored(manifest)))

    def get(self, manifest: Manifest) -> Manifest:
        """The object of that kind and name as the API server has it. Raises Refused."""
        found: Manifest = msgspec.json.decode(self._ask("GET", _path(manifest)))
        return found

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        try:
            self._connection.request(method, self._prefix + path, body, self._headers)
            answer = self._connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"{method} {path}: {error}") from error
        if answer.status != http.client.OK:
            raise Refused(f"{method} {path}: {said.decode(errors='replace')}")
        return said


def _headers(credentials: Credentials) -> dict[str, str]:
    headers: dict[str, Any] = {"Content-Type": "application/json"}
    if credentials.authorization:
        headers["Authorization"] = credentials.authorization
    return headers


def _path(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    return BY_KIND[manifest["kind"]].path(metadata.get("namespace", ""), metadata["name"])
