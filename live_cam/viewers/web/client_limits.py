"""How often each client may do something: a token bucket per address, in bounded memory."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable


class ClientLimits:
    """Token buckets: each client may do something ``burst`` times at once, and ``per_second`` times in the long run.

    Used from one thread.

    Args:
        per_second: Long-run rate of a client.
        burst: How much it may do at once after a pause.
        most_clients: Clients that are remembered; beyond that the one that was seen longest ago is forgotten.
        clock: Returns seconds that never go back.
    """

    def __init__(
        self, per_second: float, burst: int, *, most_clients: int = 4096, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._most_clients = most_clients
        self._clock = clock
        # When each client's bucket is full again, in seconds of the clock; the client seen longest ago comes first.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Returns how many clients are remembered."""
        return len(self._full_at)

    def wait_seconds(self, client: str) -> float:
        """Returns how long a client must wait before it may do it once more; 0 if it may now."""
        missing_seconds = self._full_at.get(client, 0.0) - self._clock()
        # Rounded: after nine of ten the sum may be off by a rounding error, which is no reason to wait.
        return max(0.0, round(missing_seconds - (self._burst - 1) / self._per_second, 6))

    def count(self, client: str) -> None:
        """Notes that a client did it once."""
        now = self._clock()
        self._full_at[client] = max(now, self._full_at.get(client, now)) + 1 / self._per_second
        self._full_at.move_to_end(client)
        # A full bucket is the same as none.
        while len(self._full_at) > self._most_clients or next(iter(self._full_at.values())) <= now:
            self._full_at.popitem(last=False)


def client_name(address: str) -> str:
    """Returns the name under which an address is counted: itself, or its /64 network if it is IPv6.

    One IPv6 host may use every address of its /64.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 4 or ip.ipv4_mapped:
        return str(ip)
    return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
