"""Access by a kubeconfig file, with all the ways of proving oneself that such a file can name."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Final

from kdns.cluster.api.access import AccessError, Credentials
from kdns.cluster.api.kubecontext import Context, Tls, credentials

_log: Final = logging.getLogger("plugin/kubernetes")

EXPIRY_MARGIN: Final = 10.0
"""Seconds before their end at which credentials are not used any more."""


class Kubeconfig:
    """Credentials from a context of a kubeconfig file; of its current one where `context` is "".

    Read at the first use, in a thread, for exec plugins and OIDC may take their time; again when
    they expire, when the server refuses them, and when the file has changed. Raises AccessError
    where the file is not there. `wall` is the Unix time in seconds.
    """

    def __init__(
        self, file: Path, context: str = "", *, wall: Callable[[], float] = time.time
    ) -> None:
        self._file = file
        self._context = context
        self._wall = wall
        self._loading = asyncio.Lock()
        self._credentials: Credentials | None = None
        self._expiry = float("inf")
        self._complaint = ""
        try:
            self._modified = file.stat().st_mtime_ns
        except OSError as error:
            raise AccessError(f"kubeconfig {file}: {error.strerror}") from error

    async def credentials(self) -> Credentials:
        """As `Access.credentials`."""
        current = self._credentials
        if current is None or self._wall() >= self._expiry or self._changed():
            return await self._load(current)
        return current

    async def renew(self, refused: Credentials) -> Credentials:
        """As `Access.renew`."""
        return await self._load(refused)

    async def _load(self, unwanted: Credentials | None) -> Credentials:
        """Load once for all who found `unwanted` to be of no use."""
        async with self._loading:
            if self._credentials is not None and self._credentials is not unwanted:
                return self._credentials
            self._changed()
            try:
                loaded, self._expiry = await asyncio.to_thread(self._read)
            except Exception as error:  # whatever plugins and identity providers raise
                problem = f"kubeconfig {self._file}: {error or type(error).__name__}"
                if self._credentials is None:
                    raise AccessError(problem) from error
                if problem != self._complaint:
                    self._complaint = problem
                    _log.warning("%s: the credentials it gave before are used on", problem)
                return self._credentials
            self._credentials = loaded
            self._complaint = ""
            return loaded

    def _changed(self) -> bool:
        """Whether the file is another than when this was last asked."""
        try:
            modified = self._file.stat().st_mtime_ns
        except OSError:
            return False
        changed, self._modified = modified != self._modified, modified
        return changed

    def _read(self) -> tuple[Credentials, float]:
        """What the file says now, and until when it holds; blocking. Raises anything."""
        context = Context(self._file, self._context)
        if context.has_plugin or context.has_provider:
            return self._ask(context)
        return context.credentials(), float("inf")

    def _ask(self, context: Context) -> tuple[Credentials, float]:
        """What an exec plugin or an identity provider says; blocking. Raises anything."""
        # Imported here: tens of megabytes and a tenth of a second for what few files name.
        from kubernetes.config import kube_config  # noqa: PLC0415

        merged = kube_config.KubeConfigMerger(str(self._file))
        loader = kube_config.KubeConfigLoader(
            config_dict=merged.config,
            active_context=self._context or None,
            config_base_path=None,
            # Refresh tokens of OIDC are good for one use: the next one must be written down.
            config_persister=merged.save_changes if os.access(self._file, os.W_OK) else None,
        )
        settings = SimpleNamespace(api_key={}, host="", ssl_ca_cert=None, cert_file=None)
        settings.verify_ssl, settings.key_file = True, None
        settings.tls_server_name = settings.proxy = None
        loader.load_and_set(settings)
        expiry = getattr(loader, "expiry", None)
        authorization = next(iter(settings.api_key.values()), "")
        if not authorization and settings.cert_file is None and context.has_plugin:
            raise AccessError("its exec plugin gave no credentials; run it by hand to see why")
        ca, certificate, key = (
            Path(name) if name else None
            for name in (settings.ssl_ca_cert, settings.cert_file, settings.key_file)
        )
        return credentials(
            settings.host,
            Tls(ca, certificate, key, settings.verify_ssl),
            # What a plugin prints may end in a newline, which no header may contain.
            authorization.strip(),
            settings.tls_server_name,
            settings.proxy,
        ), (expiry.timestamp() - EXPIRY_MARGIN if expiry is not None else float("inf"))
