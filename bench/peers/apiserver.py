"""A small Kubernetes API server for list and watch, and a handle to run one as a child process.

It serves what a DNS server reads (namespaces, services, pods, endpointslices, serviceimports) as
JSON: lists, watches from a version, WatchList (`sendInitialEvents`), label and field selectors by
equality and existence, `timeoutSeconds`, and 410 for versions that are gone. Objects change by PUT
and DELETE on their own paths; there are no controllers, no validation, no authentication and no
paging.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import msgspec
from aiohttp import web

from bench.peers.storage import (
    BY_KIND,
    RESOURCES,
    Event,
    Expired,
    Manifest,
    Resource,
    Selected,
    Storage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

STORAGE = web.AppKey("storage", Storage)
WATCH_LIST = web.AppKey("watch_list", bool)

DEFAULT_WATCH_SECONDS = 1800.0
CHUNK = 256  # initial events written at once
START_SECONDS = 60.0

_REASONS = {404: "NotFound", 406: "NotAcceptable", 410: "Expired", 422: "Invalid"}


def application(storage: Storage, *, watch_list: bool = True) -> web.Application:
    """The API over `storage`; without `watch_list` it refuses `sendInitialEvents`, as once."""
    app = web.Application(client_max_size=1 << 26)
    app[STORAGE] = storage
    app[WATCH_LIST] = watch_list
    for resource in RESOURCES:
        served = _Served(resource)
        app.router.add_get(f"{resource.root}/{resource.plural}", served.collection)
        one = resource.path("{namespace}", "{name}")
        app.router.add_get(one, served.get)
        app.router.add_put(one, served.put)
        app.router.add_delete(one, served.delete)
        if resource.namespaced:
            app.router.add_get(one.rpartition("/")[0], served.collection)
    return app


class _Served:
    """The verbs of one resource."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource

    async def collection(self, request: web.Request) -> web.StreamResponse:
        accepted = request.headers.get("Accept", "*/*")
        if "*/*" not in accepted and "application/json" not in accepted:
            return _status(406, "only application/json is served")
        try:
            selected = _selection(request)
        except ValueError as error:
            return _status(400, str(error))
        if request.query.get("watch", "") in ("true", "1"):
            return await self._watch(request, selected)
        storage = request.app[STORAGE]
        return _json(
            {
                "kind": f"{self.resource.kind}List",
                "apiVersion": self.resource.group_version,
                "metadata": {"resourceVersion": str(storage.version)},
                "items": [o for o in storage.objects(self.resource.plural) if selected(o)],
            }
        )

    async def get(self, request: web.Request) -> web.Response:
        found = request.app[STORAGE].get(self.resource.plural, *_key(request))
        return _json(found) if found else _status(404, f"{request.path} not found")

    async def put(self, request: web.Request) -> web.Response:
        manifest = msgspec.json.decode(await request.read())
        return _json(request.app[STORAGE].put(manifest))

    async def delete(self, request: web.Request) -> web.Response:
        last = request.app[STORAGE].delete(self.resource.plural, *_key(request))
        return _json(last) if last else _status(404, f"{request.path} not found")

    async def _watch(self, request: web.Request, selected: Selected) -> web.StreamResponse:
        storage, plural = request.app[STORAGE], self.resource.plural
        version = request.query.get("resourceVersion", "")
        initial = request.query.get("sendInitialEvents") == "true"
        if initial and not request.app[WATCH_LIST]:
            return _status(422, "sendInitialEvents is forbidden for watch unless WatchList is on")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        # From here to the first await nothing can change, so no event is lost or told twice.
        queue = storage.subscribe(plural)
        try:
            if initial or version in ("", "0"):
                lines = [_line("ADDED", o) for o in storage.objects(plural) if selected(o)]
                if initial:
                    lines.append(self._bookmark(storage.version, ends_initial_events=True))
            else:
                lines = list(_seen(storage.since(plural, int(version)), selected))
            for start in range(0, len(lines), CHUNK):
                await response.write(b"".join(lines[start : start + CHUNK]))
            seconds = float(request.query.get("timeoutSeconds", DEFAULT_WATCH_SECONDS))
            await self._follow(response, queue, selected, seconds)
            await response.write(self._bookmark(storage.version))
        except Expired as expired:
            await response.write(_line("ERROR", _failure(410, str(expired))))
        except ConnectionError:
            pass  # the watcher hung up, which is how most watches end
        finally:
            storage.unsubscribe(plural, queue)
        return response

    async def _follow(
        self,
        response: web.StreamResponse,
        queue: asyncio.Queue[Event],
        selected: Selected,
        seconds: float,
    ) -> None:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for line in _seen([await queue.get()], selected):
                        await response.write(line)
        except TimeoutError:
            pass

    def _bookmark(self, version: int, *, ends_initial_events: bool = False) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if ends_initial_events:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        return _line(
            "BOOKMARK",
            {
                "kind": self.resource.kind,
                "apiVersion": self.resource.group_version,
                "metadata": metadata,
            },
        )


def _key(request: web.Request) -> tuple[str, str]:
    return request.match_info.get("namespace", ""), request.match_info["name"]


def _seen(events: Iterable[Event], selected: Selected) -> Iterable[bytes]:
    for event in events:
        if kind := event.seen_through(selected):
            yield _line(kind, event.object)


def _line(event: str, manifest: Manifest) -> bytes:
    return msgspec.json.encode({"type": event, "object": manifest}) + b"\n"


def _json(body: Manifest, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )


def _failure(code: int, message: str) -> Manifest:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": _REASONS.get(code, "BadRequest"),
        "message": message,
        "code": code,
    }


def _status(code: int, message: str) -> web.Response:
    return _json(_failure(code, message), code)


def _selection(request: web.Request) -> Selected:
    """The request's namespace and selectors as one; ValueError for one not understood."""
    namespace = request.match_info.get("namespace", "")
    labels = _requirements(request.query.get("labelSelector", ""))
    fields = _requirements(request.query.get("fieldSelector", ""))

    def selected(manifest: Manifest) -> bool:
        metadata = manifest["metadata"]
        if namespace and metadata.get("namespace") != namespace:
            return False
        has = metadata.get("labels") or {}
        return all((has.get(key) == value) is equal for key, value, equal in labels) and all(
            (_field(manifest, path) == value) is equal for path, value, equal in fields
        )

    return selected


def _requirements(selector: str) -> list[tuple[str, str | None, bool]]:
    """`a=b,c!=d,e` as (key, value, whether equal is wanted); None is the value of no label."""
    wanted: list[tuple[str, str | None, bool]] = []
    for term in filter(None, selector.split(",")):
        key, operator, value = term.partition("=")
        if "(" in term or key.startswith("!"):
            raise ValueError(f"selector {term!r}: only key, key=value and key!=value are served")
        if operator:
            equal = key[-1:] != "!"
            wanted.append((key.removesuffix("!").strip(), value.lstrip("=").strip(), equal))
        else:
            wanted.append((key.strip(), None, False))
    return wanted


def _field(manifest: Manifest, path: str) -> str:
    value: Any = manifest
    for part in path.split("."):
        value = value.get(part, {})
    return value if isinstance(value, str) else ""


class ApiServer:
    """An API server in a process of its own, apart from whatever measures or tests.

    `with ApiServer(objects) as api:` gives `api.url`; `put` and `delete` return when the change is
    committed and on its way to the watchers. `cores` is where it may run, `nice` its niceness.
    """

    def __init__(
        self,
        objects: Iterable[Manifest] = (),
        *,
        watch_list: bool = True,
        cores: Iterable[int] | None = None,
        nice: int = 0,
    ) -> None:
        options = [] if watch_list else ["--no-watch-list"]
        if cores is not None:
            options += ["--cores", ",".join(map(str, cores))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.peers.apiserver", "--nice", str(nice), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdin as stdin:
            stdin.writelines(msgspec.json.encode(manifest) + b"\n" for manifest in objects)
        port = self._process.stdout.readline()
        if not port:
            self.stop()
            raise RuntimeError("the API server did not start; its error is on stderr")
        self._address = ("127.0.0.1", int(port))
        self.url = f"http://127.0.0.1:{int(port)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def put(self, manifest: Manifest) -> None:
        """Creates or replaces an object."""
        metadata = manifest["metadata"]
        resource = BY_KIND[manifest["kind"]]
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        self._ask("PUT", path, msgspec.json.encode(manifest))

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Removes an object; `namespace` is "" for a Namespace. KeyError if there is none."""
        self._ask("DELETE", BY_KIND[kind].path(namespace, name), None)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> None:
        # A connection a request: the handle may be used in a child process too.
        with closing(http.client.HTTPConnection(*self._address, timeout=30)) as connection:
            connection.request(method, path, body)
            response = connection.getresponse()
            answer = response.read()
        if response.status == 404:
            raise KeyError(path)
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {answer[:200]!r}")


async def _serve(storage: Storage, *, watch_list: bool) -> None:
    runner = web.AppRunner(application(storage, watch_list=watch_list), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - a parent that is killed tells nobody
        await asyncio.sleep(1)


def main() -> None:
    """Serves objects read as JSON lines from standard input; prints its port."""
    parser = argparse.ArgumentParser(prog="bench.peers.apiserver", description=main.__doc__)
    parser.add_argument("--no-watch-list", dest="watch_list", action="store_false")
    parser.add_argument("--cores", help="cores to run on, separated by commas")
    parser.add_argument("--nice", type=int, default=0)
    options = parser.parse_args()
    if options.cores:
        os.sched_setaffinity(0, [int(core) for core in options.cores.split(",")])
    os.nice(options.nice)
    storage = Storage(msgspec.json.decode(line) for line in sys.stdin.buffer)
    asyncio.run(_serve(storage, watch_list=options.watch_list))


if __name__ == "__main__":
    main()
