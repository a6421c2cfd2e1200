"""OpenAI's error JSON, {"error": {message, type, param, code}}; light, since every proxy of Serve loads it."""

from services.contracts.record import Record


class ErrorDetail(Record):
    """What went wrong."""

    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None


class ErrorBody(Record):
    """OpenAI's error JSON."""

    error: ErrorDetail
