"""Trajectories on their way from an env actor to the disk: Arrow streams, one after the other.

An actor makes the rows, so that a sink only copies bytes and writes Parquet; a stream that is cut short is no stream.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from cluster.schema import to_table
from services.contracts.trajectory import Trajectory


def pack(trajectories: Sequence[Trajectory]) -> bytes:
    """The trajectories as one stream."""
    return pack_table(to_table(trajectories))


def pack_table(table: pa.Table) -> bytes:
    """Rows of SCHEMA as one stream."""
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, table.schema) as stream:
        stream.write_table(table)
    parcel: bytes = buffer.getvalue().to_pybytes()
    return parcel


def unpack(parcels: bytes) -> Iterator[pa.Table]:
    """The rows of each whole stream; what follows the last whole one was never acknowledged and is passed over."""
    source = pa.BufferReader(parcels)
    while source.tell() < len(parcels):
        try:
            with pa.ipc.open_stream(source) as stream:
                table = stream.read_all()
        except (pa.ArrowException, OSError):
            return
        yield table
