"""The Corefile of a node, kept in step with its template and the kube-dns ConfigMap."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from kdns.node.configmap import BadConfigMap, ConfigMap, load, stub_domains, upstreams
from kdns.node.flags import KUBE_DNS_FOLDER, Flags
from kdns.node.journal import Journal
from kdns.node.template import BadTemplate, NoService, Values, render, service_address

POLL: Final = 10.0
"""Seconds between two looks at template and ConfigMap, as node-cache has it."""

_LARGEST: Final = 4 << 20  # bytes of a template

_T = TypeVar("_T")


class Configuration:
    """Writes the Corefile whenever what it is made of has changed.

    Of a ConfigMap that cannot be used the last good one stays, and so does the Corefile that a
    template made before it was spoilt. Each fault is told and counted once.
    """

    def __init__(self, flags: Flags, environ: Mapping[str, str], journal: Journal) -> None:
        self._flags = flags
        self._journal = journal
        self._kube_dns = flags.kube_dns or KUBE_DNS_FOLDER
        service = flags.upstream_service
        self._values = Values(
            flags.settings.addresses,
            flags.settings.port,
            service_address(service, environ),
            flags.endpoint,
            service,
        )
        self.lacks_service = False
        """Whether the environment does not tell the address that the template needs."""
        self._configmap = ConfigMap()
        self._seen: object = None

    def refresh(self) -> bool:
        """Look again; whether the Corefile is another one now."""
        template, found = self._template(), self._mounted()
        seen = template, found
        if seen == self._seen:
            return False
        self._seen = seen
        if isinstance(found, str):
            self._journal.error("configmap", found)
        else:
            self._take(found)
        if isinstance(template, str):
            self._journal.error("configmap", template)
            return False
        return self._write(template)

    def served(self) -> bool:
        """Whether there is a Corefile to serve."""
        return os.path.isfile(self._flags.corefile)  # noqa: PTH113 - without pathlib's megabyte

    def _template(self) -> bytes | str:
        """The template, or what is wrong with it."""
        path = self._flags.template
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - as above
                return file.read(_LARGEST)
        except OSError as error:
            return f"the template {path} cannot be read ({error.strerror}): mend its mount"

    def _mounted(self) -> dict[str, bytes] | str:
        try:
            return load(self._kube_dns)
        except BadConfigMap as error:
            return f"ConfigMap kube-dns: {error}"

    def _take(self, found: dict[str, bytes]) -> None:
        """Each key by itself: one that is spoilt leaves the other in force."""
        kept = self._configmap
        self._configmap = ConfigMap(
            self._read(stub_domains, found.get("stubDomains", b""), kept.stub_domains),
            self._read(upstreams, found.get("upstreamNameservers", b""), kept.upstreams),
        )

    def _read(self, read: Callable[[bytes], _T], text: bytes, before: _T) -> _T:
        try:
            return read(text)
        except BadConfigMap as error:
            self._journal.error(
                "configmap", f"ConfigMap kube-dns: {error}; what was in force before stays so"
            )
            return before

    def _write(self, template: bytes) -> bool:
        flags = self._flags
        try:
            text = render(
                template.decode("utf-8", "surrogateescape"),
                flags.template,
                self._values,
                self._configmap,
            )
        except BadTemplate as error:
            self.lacks_service = isinstance(error, NoService)
            self._journal.error("configmap", str(error))
            return False
        content = text.encode("utf-8", "surrogateescape")
        try:
            changed = _replace(flags.corefile, content)
        except OSError as error:
            self._seen = None  # a full disk may be emptied
            self._journal.error(
                "configmap",
                f"the Corefile {flags.corefile} cannot be written ({error.strerror}):"
                " give it a place that can be, with -conf",
            )
            return False
        if changed:
            domains, servers = self._configmap
            self._journal.say(
                f"wrote {flags.corefile}: {len(domains)} stub domains, other names by"
                f" {' '.join(servers) or 'what the template says'}"
            )
        return changed


def _replace(path: str, content: bytes) -> bool:
    """Have a file hold this; False where it did. Raises OSError.

    Whoever reads it meanwhile reads the one or the other, whole; where a file is a mount of its
    own it cannot be replaced, and is written over.
    """
    with suppress(OSError), open(path, "rb") as file:  # noqa: PTH123 - without pathlib's megabyte
        if file.read() == content:
            return False
    beside = f"{path}.{os.getpid()}"
    try:
        _write(beside, content)
        os.replace(beside, path)  # noqa: PTH105 - as above
    except OSError:
        with suppress(OSError):
            os.unlink(beside)  # noqa: PTH108 - as above
        _write(path, content)
    return True


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:  # noqa: PTH123 - as above
        file.write(content)
