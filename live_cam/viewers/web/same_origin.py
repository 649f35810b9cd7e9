"""Whether a request was meant for this server, and not caused by a page of another site."""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers

from live_cam.viewers.web.access import joined_header
from live_cam.viewers.web.refusal import Refusal

_HOST_PATTERN = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def check_host(headers: Headers, local_address: tuple[str, int | None] | None, allowed_hosts: set[str]) -> None:
    """Checks that a request is for this server by an address of this machine, or by an allowed name.

    A foreign page can have its own name point at this machine (DNS rebinding), but cannot send another name or address.

    Args:
        headers: The request's headers.
        local_address: Address and port of this end of the connection; None if it has none.
        allowed_hosts: Further names and addresses, in lower case.

    Raises:
        Refusal: It is for another host, or does not say for which.
    """
    match = _HOST_PATTERN.fullmatch(joined_header(headers, "host").lower())
    if match is None:
        raise Refusal(400, "The header Host is missing or damaged: send the address of this server in it.")
    host = match[1].strip("[]")
    address = _ip_address(host)
    local = _ip_address(local_address[0]) if local_address else None
    is_loopback = host == "localhost" if address is None else address.is_loopback
    if host in allowed_hosts or (local is not None and (address == local or (local.is_loopback and is_loopback))):
        return
    raise Refusal(
        403, f"{host[:80]} is not a name of this server: start it with --allow-host {host[:80]} if it should be."
    )


def check_same_origin(headers: Headers, *, is_tls: bool) -> None:
    """Checks that no page of another origin has caused a request, by all that the browser says about it.

    An <img> of a foreign page has no Origin, only Sec-Fetch-Site. Programs send neither.

    Raises:
        Refusal: A page of another origin has caused it.
    """
    site = joined_header(headers, "sec-fetch-site")
    origin = joined_header(headers, "origin").lower()
    own_origin = f"{'https' if is_tls else 'http'}://{joined_header(headers, 'host').lower()}"
    if ("sec-fetch-site" in headers and site not in ("same-origin", "none")) or (
        "origin" in headers and origin != own_origin
    ):
        raise Refusal(
            403, "Pages of other sites may not use this server: type or paste its address into the address bar."
        )


def _ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # Link-local addresses of this machine carry the name of the interface.
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket for both IPv4 and IPv6 writes 192.0.2.1 as ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address
