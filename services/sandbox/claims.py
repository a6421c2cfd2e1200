"""Names of things on this machine that one process holds at a time, such as a core."""

import socket


def claim(name: str) -> socket.socket | None:
    """The claim, to be closed when it is given up; None if another holds the name.

    It is a bound abstract socket: the kernel frees the name when its last holder ends, however that ends. Processes of
    one network namespace see each other's claims.
    """
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0assay-{name}")
    except OSError:
        held.close()
        return None
    return held
