"""`bind ADDRESS|INTERFACE... { except ADDRESS|INTERFACE... }`: where a block listens."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from kdns.corefile.arguments import Properties, arguments
from kdns.corefile.parser import Directive
from kdns.corefile.tokens import CorefileError, Token
from kdns.plugins.site import Site


def setup(directives: Sequence[Directive], site: Site) -> None:
    """May be written several times; an interface stands for all of its addresses.

    A link-local address has its interface behind it, as in `fe80::1%eth0`; `except` takes it out
    without that too.
    """
    for directive in directives:
        wanted = [
            host for token in arguments(directive, "ADDRESS...") for host in _hosts(token, site)
        ]
        with Properties(directive) as properties:
            unwanted = {
                host
                for tokens in properties.each("except", "ADDRESS...")
                for token in tokens
                for host in _hosts(token, site)
            }
        left = [
            host
            for host in dict.fromkeys(wanted)
            if unwanted.isdisjoint((host, host.partition("%")[0]))
        ]
        if not left:
            raise CorefileError(
                "nothing is left to listen on: take out some of except", directive.position
            )
        site.hosts += [host for host in left if host not in site.hosts]


def _hosts(token: Token, site: Site) -> list[str]:
    interfaces = site.facilities.interfaces()
    addresses = [at.address for at in interfaces if at.name == token.text]
    if addresses:
        return addresses
    try:
        address = ipaddress.ip_address(token.text)
    except ValueError:
        known = ", ".join(dict.fromkeys(at.name for at in interfaces))
        raise CorefileError(
            f"{token.text!r} is neither an address nor an interface with one: write an address,"
            f" or one of {known}",
            token.position,
        ) from None
    # Elsewhere a scope says nothing, and one address would have two names.
    return [str(address) if address.is_link_local else str(address).partition("%")[0]]
