"""The cluster's own DNS: from the ConfigMap coredns, or kube-dns, to blocks that kdns serves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from kdns.corefile import parser
from kdns.corefile.parser import Corefile, Directive, ServerBlock
from kdns.corefile.tokens import CorefileError, Position, Token
from kdns.migrate.adapting import Note, adapt
from kdns.migrate.configmaps import COREDNS, CUSTOM, KUBE_DNS, ConfigMaps, Unusable
from kdns.migrate.writing import corefile, servers
from kdns.node import configmap
from kdns.node.configmap import BadConfigMap

_KEY: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MOUNTED: Final = "/etc/coredns/"
_MOUNT: Final = "/etc/kdns/coredns"
_VOLUME: Final = "coredns-files"
# Where k3s, AKS and Gardener mount it.
_CUSTOM_IMPORT: Final = re.compile(r"^(\s*import\s+)(?:/etc/coredns/)?custom/", re.MULTILINE)
_OWN_IMPORT: Final = re.compile(r"^(\s*import\s+)/etc/coredns/", re.MULTILINE)
_NOTHING: Final = "no file matches"

_KUBE_DNS: Final = """\
.:53 {{
    errors
    health {{
        lameduck 5s
    }}
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus :9153
    forward . {upstreams}
    cache 30
    loop
    reload
    loadbalance
}}
{stubs}"""
_STUB: Final = """\
{domain}:53 {{
    errors
    cache 30
    forward . {servers}
}}
"""


class Central(NamedTuple):
    """A Corefile that kdns serves where CoreDNS did, and values that say the same.

    `notes` are about the Corefile, `placing` about what else the values have.
    """

    corefile: str
    values: dict[str, Any]
    notes: tuple[Note, ...]
    placing: tuple[Note, ...] = ()


def central(configmaps: ConfigMaps, scratch: Path, environ: Mapping[str, str]) -> Central | None:
    """None where neither ConfigMap is there. `scratch` is an empty folder for what is imported.

    `environ` is what `{$NAME}` in the Corefile reads. Raises Unusable.
    """
    kube_dns = configmaps.get(KUBE_DNS, {})
    if COREDNS in configmaps:
        found = _of_coredns(configmaps, scratch, environ)
        if any(kube_dns.get(key, "").strip() for key in ("stubDomains", "upstreamNameservers")):
            text = (
                "ConfigMap kube-dns: its stubDomains and upstreamNameservers are for caches on"
                " nodes alone, as CoreDNS does not read them either"
            )
            return found._replace(notes=(*found.notes, Note(text)))
        return found
    if KUBE_DNS in configmaps:
        return _of_kube_dns(kube_dns)
    return None


def _of_coredns(configmaps: ConfigMaps, scratch: Path, environ: Mapping[str, str]) -> Central:
    own = configmaps[COREDNS]
    if not own.get("Corefile", "").strip():
        raise Unusable("ConfigMap coredns has no key Corefile: is it the one that CoreDNS serves?")
    for name in (COREDNS, CUSTOM):
        _write(scratch / name, configmaps.get(name, {}))
    text = _CUSTOM_IMPORT.sub(rf"\g<1>{scratch / CUSTOM}/", own["Corefile"])
    text = _OWN_IMPORT.sub(rf"\g<1>{scratch / COREDNS}/", text)
    try:
        parsed = _named(parser.parse(text, str(scratch / COREDNS / "Corefile"), environ), scratch)
        adapted = adapt(parsed)
    except CorefileError as error:
        raise Unusable(str(error).replace(f"{scratch}/", "")) from None
    notes = [each for each in adapted.notes if not each.text.startswith(_NOTHING)]
    if any(CUSTOM in each.path for each in parsed.files):
        notes.append(
            Note(
                "ConfigMap coredns-custom: what it says now is put in where it is imported; what it"
                " says later is not seen, so change the values then"
            )
        )
    blocks, files = _with_files(adapted.blocks, own)
    placing = list(_elsewhere(blocks))
    values: dict[str, Any] = {"servers": servers(blocks)}
    names = {each.name.text for block in blocks for each in block.directives}
    for plugin, probe in (("health", "livenessProbe"), ("ready", "readinessProbe")):
        if plugin not in names:
            values[probe] = {"enabled": False}
            placing.append(Note(f"{probe} is off: no server block has the plugin {plugin}"))
    if files:
        items = [{"key": key, "path": key} for key in files]
        source = {"name": COREDNS, "items": items, "optional": True}
        values["extraVolumes"] = [{"name": _VOLUME, "configMap": source}]
        values["extraVolumeMounts"] = [{"name": _VOLUME, "mountPath": _MOUNT, "readOnly": True}]
        placing.append(
            Note(
                f"{', '.join(files)} of ConfigMap coredns stays where it is, and is mounted at"
                f" {_MOUNT}: whoever writes it now goes on doing so"
            )
        )
    return Central(corefile(adapted.blocks), values, tuple(notes), tuple(placing))


def _of_kube_dns(data: Mapping[str, str]) -> Central:
    try:
        stubs = configmap.stub_domains(data.get("stubDomains", "").encode())
        upstreams = configmap.upstreams(data.get("upstreamNameservers", "").encode())
    except BadConfigMap as error:
        raise Unusable(f"ConfigMap kube-dns: {error}") from None
    text = _KUBE_DNS.format(
        upstreams=" ".join(upstreams) or "/etc/resolv.conf",
        stubs="".join(_STUB.format(domain=name, servers=" ".join(to)) for name, to in stubs),
    )
    try:
        adapted = adapt(parser.parse(text, "kube-dns", {}))
    except CorefileError as error:
        raise Unusable(f"ConfigMap kube-dns: {error}") from None
    note = Note(
        "there is no ConfigMap coredns: this is kubeadm's Corefile with the stubDomains and"
        " upstreamNameservers of kube-dns; write the cluster's own domain where it is another one"
    )
    return Central(
        corefile(adapted.blocks), {"servers": servers(adapted.blocks)}, (note, *adapted.notes)
    )


def _write(folder: Path, data: Mapping[str, str]) -> None:
    folder.mkdir()
    for key, text in data.items():
        if _KEY.fullmatch(key):
            (folder / key).write_text(text)


def _named(corefile: Corefile, scratch: Path) -> Corefile:
    """The same with places as people know them: ConfigMap, key, line."""

    def place(where: Position) -> Position:
        return where._replace(file=where.file.removeprefix(f"{scratch}/"))

    def token(each: Token) -> Token:
        return replace(each, position=place(each.position))

    def directive(each: Directive) -> Directive:
        block = None if each.block is None else tuple(map(directive, each.block))
        return Directive(token(each.name), tuple(map(token, each.args)), block)

    blocks = tuple(
        ServerBlock(
            tuple(replace(key, position=place(key.position)) for key in block.keys),
            tuple(map(directive, block.directives)),
        )
        for block in corefile.blocks
    )
    notices = tuple(each._replace(position=place(each.position)) for each in corefile.notices)
    return Corefile(blocks, corefile.files, notices)


def _with_files(
    blocks: tuple[ServerBlock, ...], data: Mapping[str, str]
) -> tuple[tuple[ServerBlock, ...], list[str]]:
    """The blocks with the paths of the ConfigMap's files where they will be, and their keys."""
    keys: dict[str, None] = {}

    def moved(arg: Token) -> Token:
        key = arg.text.removeprefix(_MOUNTED)
        if key == arg.text or key not in data:
            return arg
        keys[key] = None
        return replace(arg, text=f"{_MOUNT}/{key}")

    changed = tuple(
        replace(
            block,
            directives=tuple(
                replace(each, args=tuple(map(moved, each.args))) for each in block.directives
            ),
        )
        for block in blocks
    )
    return changed, list(keys)


def _elsewhere(blocks: tuple[ServerBlock, ...]) -> Iterator[Note]:
    """Files that CoreDNS's pods have from elsewhere."""
    for block in blocks:
        for directive in block.directives:
            for arg in directive.args[:1] if directive.name.text == "hosts" else ():
                if arg.text.startswith("/") and not arg.text.startswith((_MOUNT, "/etc/hosts")):
                    yield Note(
                        f"hosts {arg.text}: mount that file as CoreDNS's Deployment does, by"
                        " `extraVolumes` and `extraVolumeMounts`",
                        arg.position,
                    )
