"""The properties of `kubernetes` that say where a cluster's objects are and which are wanted."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final

from kdns.cluster.source import ApiServer, Selection, Source
from kdns.corefile.arguments import Properties, duration, integer, text
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token

_PATIENCE: Final = 5.0
_KEY: Final = r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?"
_VALUE: Final = r"([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?"
_REQUIREMENT: Final = re.compile(
    rf"!?{_KEY}|{_KEY}\s*(=|==|!=)\s*{_VALUE}|{_KEY}\s+(in|notin)\s*\(\s*{_VALUE}(\s*,\s*{_VALUE})*\s*\)"
)
_COMMA: Final = re.compile(r",(?![^(]*\))")


def read_source(directive: Directive, properties: Properties, folder: Path) -> Source:
    """The source that the properties name; paths are relative to `folder`.

    Without `manifests`, `endpoint` and `kubeconfig` it is the API server of the cluster that this
    runs in. Raises CorefileError.
    """
    manifests = properties.value("manifests", text, "")
    api = _api_server(properties, folder)
    selection = Selection(
        endpoints=not properties.flag("noendpoints"),
        pods=properties.value("pods", text, "disabled") == "verified",
        service_imports=any(properties.each("multicluster", "[ZONE...]")),
        labels=_selector(properties, "labels"),
        namespace_labels=_selector(properties, "namespace_labels"),
    )
    snapshot = properties.value("snapshot", text, "")
    source = Source(
        manifests=folder / manifests if manifests else None,
        service_ranges=_service_ranges(properties),
        api=api,
        selection=selection,
        endpoint_pod_names=properties.flag("endpoint_pod_names"),
        zonal=properties.flag("zonal"),
        snapshot=folder / snapshot if snapshot else None,
        patience=properties.value("startup_timeout", duration(), _PATIENCE),
    )
    _refuse_contradictions(directive, source)
    return source


def _api_server(properties: Properties, folder: Path) -> ApiServer:
    certificate = key = ca = kubeconfig = None
    endpoint = context = ""
    for cert_token, key_token, ca_token in properties.each("tls", "CERT KEY CACERT"):
        certificate, key, ca = (
            folder / cert_token.text,
            folder / key_token.text,
            folder / ca_token.text,
        )
    for first, *_ in properties.each("endpoint", "URL..."):
        endpoint = _url(first, tls=ca is not None)
    for file, *named in properties.each("kubeconfig", "FILE [CONTEXT]"):
        kubeconfig = folder / file.text
        context = named[0].text if named else ""
    return ApiServer(
        endpoint=endpoint,
        certificate=certificate,
        key=key,
        ca=ca,
        kubeconfig=kubeconfig,
        context=context,
        qps=properties.value("apiserver_qps", _rate, 0.0),
        burst=properties.value("apiserver_burst", integer(low=0), 0),
        max_inflight=properties.value("apiserver_max_inflight", integer(low=0), 0),
    )


def _refuse_contradictions(directive: Directive, source: Source) -> None:
    api = source.api
    remote = api != ApiServer() or source.selection.labels or source.selection.namespace_labels
    if source.manifests is not None and (remote or source.snapshot is not None):
        raise CorefileError(
            "kubernetes takes its objects from manifests, to which properties of an API server mean"
            " nothing: take manifests or the others out",
            directive.position,
        )
    if source.manifests is None and source.service_ranges:
        raise CorefileError(
            "service_range is for manifests, an API server gives addresses itself: take it out",
            directive.position,
        )
    if source.zonal and not source.selection.endpoints:
        raise CorefileError(
            "zonal answers from endpoints and noendpoints keeps none: take one of the two out",
            directive.position,
        )


def _selector(properties: Properties, name: str) -> str:
    """A label selector, which may be written in several words; "" where there is none."""
    written = ""
    for tokens in properties.each(name, "EXPRESSION..."):
        written = " ".join(token.text for token in tokens)
        for requirement in _COMMA.split(written):
            if not _REQUIREMENT.fullmatch(requirement.strip()):
                raise CorefileError(
                    f"{written!r} is no label selector: write one such as app=web,tier in (a, b)",
                    tokens[0].position,
                )
    return written


def _url(token: Token, *, tls: bool) -> str:
    """A URL; without a scheme it is https where there are certificates, else http (client-go)."""
    written = token.text.rstrip("/")
    if "://" not in token.text:
        written = f"{'https' if tls else 'http'}://{written}"
    if re.fullmatch(r"https?://[^/\s]+(/\S*)?", written):
        return written
    raise CorefileError(
        f"{token.text!r} is no URL: write one such as https://10.0.0.1:6443", token.position
    )


def _rate(token: Token) -> float:
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", token.text):
        return float(token.text)
    raise CorefileError(
        f"{token.text!r} cannot be read: write a number of requests a second, such as 20",
        token.position,
    )


def _service_ranges(properties: Properties) -> tuple[str, ...]:
    written = [token for tokens in properties.each("service_range", "VALUE...") for token in tokens]
    ranges = tuple(map(_cidr, written))
    if not ranges:
        return ()
    from kdns.cluster.manifests import Settings  # noqa: PLC0415 - brings in PyYAML

    for count, token in enumerate(written, 1):
        try:
            Settings.of(ranges[:count])
        except ValueError as error:
            raise CorefileError(str(error), token.position) from None
    return ranges


def _cidr(token: Token) -> str:
    try:
        return str(ipaddress.ip_network(token.text))
    except ValueError:
        raise CorefileError(
            f"{token.text!r} is no range of addresses: write one such as 10.96.0.0/16",
            token.position,
        ) from None
