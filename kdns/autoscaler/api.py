"""The API server, as far as the autoscaler asks it. Blocking, with a deadline for each request."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import urllib3
import yaml
from kubernetes import config
from kubernetes.client import (
    ApiClient,
    ApiException,
    AppsV1Api,
    Configuration,
    CoreV1Api,
    V1ConfigMap,
    V1ObjectMeta,
)
from kubernetes.config.incluster_config import InClusterConfigLoader
from msgspec import Raw, Struct, field

from kdns.autoscaler.census import Node, cpu

_log: Final = logging.getLogger(__name__)

_CONNECT: Final = 5.0
_READ: Final = 10.0
_PAGE: Final = 500
"""Nodes a list: an API server says some 10 kB of each."""

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has the token and the CA of its service account."""


class ApiError(Exception):
    """The API server did not do what it was asked for: one line that says what and why."""


class TooOld(ApiError):
    """It does not know any more what came after a resource version: list again."""


class Target(NamedTuple):
    """What is scaled. `kind` is deployment, replicaset or replicationcontroller."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Settings(NamedTuple):
    """A ConfigMap: its data, and the version of its content."""

    data: Mapping[str, str]
    version: str


class Scale(NamedTuple):
    """How many replicas a target is to have; `found` is what the API server said, as it said it."""

    replicas: int
    found: Any = None


class NodeEvent(NamedTuple):
    """A change of a node, None where it is gone; the name is "" where nothing but time went by."""

    name: str
    node: Node | None
    version: str


class Api(Protocol):
    """What the autoscaler asks for. Everything raises ApiError."""

    def nodes(self, selector: str) -> tuple[dict[str, Node], str]:
        """Nodes by name that have these labels, and the version of the list."""

    def changes(self, selector: str, version: str, seconds: int) -> Iterator[NodeEvent]:
        """What happens to them after a version, for so long. Raises TooOld, too."""

    def settings(self, name: str) -> Settings | None:
        """A ConfigMap, None where there is none."""

    def create_settings(self, name: str, data: Mapping[str, str]) -> Settings:
        """Make a ConfigMap."""

    def scale(self, target: Target) -> Scale:
        """How many replicas a target is to have."""

    def rescale(self, target: Target, scale: Scale, replicas: int) -> None:
        """Have so many, unless somebody changed the scale after it was read."""


class _Metadata(Struct, rename="camel"):
    name: str = ""
    resource_version: str = ""
    continue_: str = field(default="", name="continue")


class _Spec(Struct):
    unschedulable: bool = False


class _Allocatable(Struct):
    cpu: str = "0"


class _Condition(Struct):
    type: str = ""
    status: str = ""


class _Status(Struct):
    allocatable: _Allocatable | None = None
    conditions: list[_Condition] | None = None


class _Node(Struct):
    metadata: _Metadata
    spec: _Spec = field(default_factory=_Spec)
    status: _Status = field(default_factory=_Status)


class _NodeList(Struct):
    metadata: _Metadata
    items: list[_Node] | None = None


class _Event(Struct):
    type: str
    object: Raw


class _Failure(Struct):
    code: int = 0
    message: str = ""


class KubernetesApi:
    """The API server of a configuration, for the objects of one namespace."""

    def __init__(self, access: Configuration, namespace: str) -> None:
        client = ApiClient(access)
        self._core = CoreV1Api(client)
        self._apps = AppsV1Api(client)
        self._namespace = namespace

    def nodes(self, selector: str) -> tuple[dict[str, Node], str]:
        """As in Api; page by page, so that a large cluster takes little memory."""
        found: dict[str, Node] = {}
        options: dict[str, Any] = {"limit": _PAGE}
        while True:
            with _asking("list nodes"), self._list_nodes(selector, _READ, options) as response:
                page = msgspec.json.decode(response.data, type=_NodeList)
            found |= {each.metadata.name: _node(each) for each in page.items or ()}
            if not page.metadata.continue_:
                return found, page.metadata.resource_version
            options["_continue"] = page.metadata.continue_

    def changes(self, selector: str, version: str, seconds: int) -> Iterator[NodeEvent]:
        """As in Api. Bookmarks keep the version young where nothing happens to the nodes."""
        options = {
            "watch": True,
            "allow_watch_bookmarks": True,
            "resource_version": version,
            "timeout_seconds": seconds,
        }
        with (
            _asking("watch nodes"),
            self._list_nodes(selector, seconds + _READ, options) as response,
        ):
            rest = b""
            for chunk in response.stream():
                *lines, rest = (rest + chunk).split(b"\n")
                yield from map(_event, filter(None, lines))

    def settings(self, name: str) -> Settings | None:
        """As in Api."""
        with _asking(f"get ConfigMap {self._namespace}/{name}"):
            try:
                found = self._core.read_namespaced_config_map(
                    name, self._namespace, _request_timeout=(_CONNECT, _READ)
                )
            except ApiException as error:
                if error.status == 404:
                    return None
                raise
            return _settings(found)

    def create_settings(self, name: str, data: Mapping[str, str]) -> Settings:
        """As in Api."""
        body = V1ConfigMap(metadata=V1ObjectMeta(name=name), data=dict(data))
        with _asking(f"create ConfigMap {self._namespace}/{name}"):
            return _settings(
                self._core.create_namespaced_config_map(
                    self._namespace, body, _request_timeout=(_CONNECT, _READ)
                )
            )

    def scale(self, target: Target) -> Scale:
        """As in Api."""
        api, noun = self._kind(target)
        read = getattr(api, f"read_namespaced_{noun}_scale")
        with _asking(f"get the scale of {target} in {self._namespace}"):
            found = read(target.name, self._namespace, _request_timeout=(_CONNECT, _READ))
            return Scale(found.spec.replicas or 0, found)

    def rescale(self, target: Target, scale: Scale, replicas: int) -> None:
        """As in Api."""
        api, noun = self._kind(target)
        replace = getattr(api, f"replace_namespaced_{noun}_scale")
        # With the resource version it was read with, which makes the API server compare.
        scale.found.spec.replicas = replicas
        with _asking(f"update the scale of {target} in {self._namespace}"):
            replace(target.name, self._namespace, scale.found, _request_timeout=(_CONNECT, _READ))

    def _kind(self, target: Target) -> tuple[Any, str]:
        return {
            "deployment": (self._apps, "deployment"),
            "replicaset": (self._apps, "replica_set"),
            "replicationcontroller": (self._core, "replication_controller"),
        }[target.kind]

    @contextmanager
    def _list_nodes(
        self, selector: str, patience: float, options: Mapping[str, Any]
    ) -> Iterator[urllib3.HTTPResponse]:
        """The answer as it comes: models of whole nodes would take many times the memory."""
        if selector:
            options = {**options, "label_selector": selector}
        response = self._core.list_node(
            **options, _preload_content=False, _request_timeout=(_CONNECT, patience)
        )
        try:
            if response.status != 200:
                raise ApiException(http_resp=_Refusal(response))
            yield response
        finally:
            # What is not read to its end cannot carry another request.
            response.close()
            response.release_conn()


class _Refusal:
    """An answer as ApiException wants it."""

    def __init__(self, response: urllib3.HTTPResponse) -> None:
        self.status = response.status
        self.reason = response.reason
        self.data = response.data
        self.headers = response.headers

    def getheaders(self) -> Any:
        return self.headers


def access(
    kubeconfig: str, environment: Mapping[str, str], account: Path = ACCOUNT
) -> Configuration:
    """Who asks which API server: by a kubeconfig, else $KUBECONFIG, else as the pod it runs in.

    Raises ApiError.
    """
    made = Configuration()
    made.retries = False  # the next poll tries again
    if path := kubeconfig or environment.get("KUBECONFIG", ""):
        try:
            config.load_kube_config(path, client_configuration=made, persist_config=False)
        except (*_FAILURES, yaml.YAMLError) as error:
            raise ApiError(f"cannot use the kubeconfig {path}: {_why(error)}") from error
        except (AttributeError, LookupError, TypeError) as error:  # of another shape
            raise ApiError(f"cannot use {path}: it is no kubeconfig ({_why(error)})") from error
        return made
    if "KUBERNETES_SERVICE_HOST" not in environment:
        raise ApiError("no API server: not in a pod, so give --kubeconfig FILE or set KUBECONFIG")
    try:
        InClusterConfigLoader(
            token_filename=account / "token",
            cert_filename=str(account / "ca.crt"),
            environ=environment,
        ).load_and_set(made)
    except _FAILURES as error:
        raise ApiError(f"cannot use the service account in {account}: {_why(error)}") from error
    return made


_FAILURES: Final = (
    ApiException,
    config.ConfigException,
    urllib3.exceptions.HTTPError,
    msgspec.MsgspecError,
    OSError,
    ValueError,  # what is not as the API has it
)


@contextmanager
def _asking(what: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        kind = TooOld if getattr(error, "status", 0) == 410 else ApiError
        raise kind(f"cannot {what}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """The one line of an error that says why, in the API server's words where it has some."""
    if isinstance(error, ApiException):
        try:
            said = json.loads(error.body)["message"]
        except (KeyError, TypeError, ValueError):
            said = error.reason
        text = f"{said} ({error.status})" if error.status else str(said)
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def _settings(found: V1ConfigMap) -> Settings:
    return Settings(found.data or {}, found.metadata.resource_version)


def _event(line: bytes) -> NodeEvent:
    event = msgspec.json.decode(line, type=_Event)
    if event.type == "ERROR":
        failure = msgspec.json.decode(event.object, type=_Failure)
        raise TooOld(f"cannot watch nodes: {failure.message} ({failure.code})")
    found = msgspec.json.decode(event.object, type=_Node)
    version = found.metadata.resource_version
    if event.type == "BOOKMARK":
        return NodeEvent("", None, version)
    node = None if event.type == "DELETED" else _node(found)
    return NodeEvent(found.metadata.name, node, version)


def _node(found: _Node) -> Node:
    ready = any(
        each.type == "Ready" and each.status == "True" for each in found.status.conditions or ()
    )
    return Node(ready and not found.spec.unschedulable, _cpu(found))


def _cpu(found: _Node) -> int:
    if found.status.allocatable is None:
        return 0
    try:
        return cpu(found.status.allocatable.cpu)
    except ValueError as error:
        _log.warning("node %s counts as none of cores: cpu: %s", found.metadata.name, error)
        return 0
