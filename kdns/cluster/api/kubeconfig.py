"""Access by a kubeconfig file, with all the ways of proving oneself that such a file can name."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Final, NamedTuple

from kdns.cluster.api.access import AccessError, Credentials
from kdns.cluster.api.kubecontext import Context, Tls
from kdns.cluster.api.kubecontext import credentials as credentials_of

_log: Final = logging.getLogger("plugin/kubernetes")

EXPIRY_MARGIN: Final = 10.0
"""Seconds before their end at which credentials are not used any more."""


PATIENCE: Final = 60.0
"""Seconds until an exec plugin or an identity provider is taken to say nothing."""


class _Read(NamedTuple):
    """What a kubeconfig says, until which Unix time that holds, and when its files were changed.

    `plain`: it says the same again as long as the files stay.
    """

    credentials: Credentials
    expiry: float
    modified: dict[Path, int]
    plain: bool


class Kubeconfig:
    """Credentials from a context of a kubeconfig file; of its current one where `context` is "".

    Read at the first use, in a thread, for exec plugins and OIDC may take their time, but no more
    than `patience` seconds before they are waited for no longer; again when they expire, when the
    server refuses them, and when the file or one that it names has changed. Raises AccessError
    where the file is not there. `wall` is the Unix time in seconds.
    """

    def __init__(
        self,
        file: Path,
        context: str = "",
        *,
        wall: Callable[[], float] = time.time,
        patience: float = PATIENCE,
    ) -> None:
        self._file = file
        self._context = context
        self._wall = wall
        self._patience = patience
        self._reading: asyncio.Future[_Read] | None = None
        self._credentials: Credentials | None = None
        self._expiry = float("inf")
        self._complaint = ""
        try:
            self._modified = {file: file.stat().st_mtime_ns}
            self._plain = False
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
        if self._credentials is refused and self._plain and not self._changed():
            return refused
        return await self._load(refused)

    async def _load(self, unwanted: Credentials | None) -> Credentials:
        """Load once for all who found `unwanted` to be of no use."""
        if self._credentials is not None and self._credentials is not unwanted:
            return self._credentials
        if self._reading is None:
            self._changed()
            self._reading = _in_thread(self._read)
        reading = self._reading
        try:
            read = await self._patiently(reading)
        except Exception as error:  # whatever plugins and identity providers raise
            problem = f"kubeconfig {self._file}: {error or type(error).__name__}"
            if self._credentials is None:
                raise AccessError(problem) from error
            if problem != self._complaint:
                self._complaint = problem
                _log.warning("%s: the credentials it gave before are used on", problem)
            return self._credentials
        finally:
            # One that is not done may be yet: a second one is not begun beside it.
            if self._reading is reading and reading.done():
                self._reading = None
        if read.credentials is not self._credentials:
            self._credentials, self._expiry, self._modified, self._plain = read
            self._complaint = ""
        return read.credentials

    async def _patiently(self, reading: asyncio.Future[_Read]) -> _Read:
        await asyncio.wait([reading], timeout=self._patience)
        if not reading.done():
            raise AccessError(
                f"its exec plugin or identity provider has said nothing for {self._patience:g}s;"
                " run it by hand to see why"
            )
        return reading.result()

    def _changed(self) -> bool:
        """Whether a file is another than when this was last asked; one that is gone is not."""
        before = self._modified
        self._modified = {file: _modified(file, then) for file, then in before.items()}
        return before != self._modified

    def _read(self) -> _Read:
        """What the file says now; blocking. Raises anything."""
        # Before they are read: what changes meanwhile is read again.
        modified = {self._file: _modified(self._file)}
        context = Context(self._file, self._context)
        modified |= {file: _modified(file) for file in context.files}
        if context.has_provider:
            found = self._ask(context)
            # It may have written down a token of its own.
            modified[self._file] = _modified(self._file)
        elif context.has_plugin:
            found = self._ask(context)
        else:
            found = context.credentials(), float("inf")
        return _Read(*found, modified, plain=not (context.has_provider or context.has_plugin))

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
        return credentials_of(
            settings.host,
            Tls(ca, certificate, key, settings.verify_ssl),
            # What a plugin prints may end in a newline, which no header may contain.
            authorization.strip(),
            settings.tls_server_name,
            settings.proxy,
        ), (expiry.timestamp() - EXPIRY_MARGIN if expiry is not None else float("inf"))


def _modified(file: Path, otherwise: int = 0) -> int:
    """When it was, in nanoseconds; `otherwise` where that cannot be told."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return otherwise


def _in_thread(read: Callable[[], _Read]) -> asyncio.Future[_Read]:
    """What `read` returns or raises, from a thread that the process does not wait for at its end.

    A plugin may hang for ever, and would hold up whoever shares a pool of threads with it.
    """
    loop = asyncio.get_running_loop()
    reading: asyncio.Future[_Read] = loop.create_future()

    def settle(read: _Read | None, error: Exception | None) -> None:
        if read is not None:
            reading.set_result(read)
        else:
            reading.set_exception(error or RuntimeError("nothing was read"))
            reading.exception()  # whoever began it may be gone

    def run() -> None:
        found, problem = None, None
        try:
            found = read()
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            problem = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, found, problem)

    threading.Thread(target=run, name="kubeconfig", daemon=True).start()
    return reading
