"""The base of every wire type: frozen, and an unknown field is an error."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable value that crosses a seam."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")
