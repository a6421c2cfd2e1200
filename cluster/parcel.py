"""Trajectories in a sink's log: Arrow streams, one after the other; one that is cut short is no stream."""

from collections.abc import Iterator

import pyarrow as pa


def pack(rows: pa.Table) -> bytes:
    """Rows of SCHEMA as one stream."""
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, rows.schema) as stream:
        stream.write_table(rows)
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
