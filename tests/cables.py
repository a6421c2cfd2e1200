"""A bridge of this machine with network namespaces on it, made and removed by a process of its own.

pyroute2 forks to enter a namespace, and the fork of a process that has talked gRPC, as every Ray driver, may hang.

    python -m tests.cables plug ID PREFIX NODES
    python -m tests.cables remove ID NODES
    python -m tests.cables up|down CABLE
"""

import subprocess
import sys
from contextlib import suppress

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError


def plug(name: str, prefix: str, nodes: int) -> None:
    """This machine is PREFIX.1, the nodes are PREFIX.2 and so on."""
    with IPRoute() as ip:
        ip.link("add", ifname=bridge_of(name), kind="bridge")
        bridge = ip.link_lookup(ifname=bridge_of(name))[0]
        ip.addr("add", index=bridge, address=f"{prefix}.1", prefixlen=24)
        ip.link("set", index=bridge, state="up")
        for number in range(2, 2 + nodes):
            space, cable = space_of(name, number), cable_of(name, number)
            netns.create(space)
            ip.link("add", ifname=cable, kind="veth", peer={"ifname": "eth0", "net_ns_fd": space})
            ip.link("set", index=ip.link_lookup(ifname=cable)[0], master=bridge, state="up")
            with IPRoute(netns=space) as inside:
                for each in ("lo", "eth0"):
                    inside.link("set", index=inside.link_lookup(ifname=each)[0], state="up")
                inside.addr(
                    "add", index=inside.link_lookup(ifname="eth0")[0], address=f"{prefix}.{number}", prefixlen=24
                )


def remove(name: str, nodes: int) -> None:
    """All of it that is there."""
    for number in range(2, 2 + nodes):
        with suppress(OSError):
            netns.remove(space_of(name, number))
    with IPRoute() as ip, suppress(NetlinkError, IndexError):
        ip.link("del", index=ip.link_lookup(ifname=bridge_of(name))[0])


def switch(cable: str, state: str) -> None:
    """Nothing passes a cable that is down."""
    with IPRoute() as ip:
        ip.link("set", index=ip.link_lookup(ifname=cable)[0], state=state)


def bridge_of(name: str) -> str:
    return f"br{name}"


def space_of(name: str, number: int) -> str:
    return f"assay-{name}-{number}"


def cable_of(name: str, number: int) -> str:
    return f"v{name}{number}"


def cables(*words: str) -> None:
    """One of the commands above, in a process of its own."""
    subprocess.run([sys.executable, "-m", "tests.cables", *words], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["plug", name, prefix, nodes]:
            plug(name, prefix, int(nodes))
        case ["remove", name, nodes]:
            remove(name, int(nodes))
        case ["up" | "down" as state, cable]:
            switch(cable, state)
        case _:
            sys.exit(__doc__)
