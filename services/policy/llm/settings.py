"""How a model is asked: the part of a config that stands under `models`, by the policy's name."""

from typing import Literal

from pydantic import Field

from services.contracts.errors import BadInput
from services.contracts.record import Record

MODEL = "openai:"
"""How the name of a policy begins that is a model behind an OpenAI-compatible server: openai:MODEL@URL."""
Style = Literal["exact", "text", "tools"]


class ModelSettings(Record):
    """How one model is told its turns, and how patiently. Limits of requests are those of one env actor."""

    style: Style = Field(
        default="text",
        description="text: prompts, an action in words; tools: prompts, tool calls; exact: what Assay's servers read",
    )
    prompts: str | None = Field(default=None, description="a folder whose templates go before the packaged ones")
    history_tokens: int = Field(
        default=16_000, ge=200, description="tokens of messages a request, about; the oldest steps are left out first"
    )
    reply_tokens: int = Field(default=2_048, ge=1, description="tokens that a reply may have: max_tokens")
    temperature: float | None = Field(default=None, ge=0, description="the server's own if left out")
    requests_at_once: int = Field(default=64, ge=1, description="more of them wait in the actor")
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="of the whole run to this endpoint; shared out evenly among the actors"
    )
    timeout_s: float = Field(default=60.0, gt=0, description="seconds without a byte after which a request is given up")
    patience_s: float = Field(default=300.0, gt=0, description="seconds for one answer, retries and pauses included")
    retries: int = Field(default=4, ge=0, description="of one question, after a failure that may pass")
    key: str = Field(default="OPENAI_API_KEY", description="the environment variable that holds the key")


def is_model(name: str) -> bool:
    """Whether the policy of that name is a language model that is asked over HTTP."""
    return name.startswith(MODEL)


def model_and_url(name: str) -> tuple[str, str]:
    """The parts of `openai:MODEL@URL`. Raises BadInput."""
    model, _, url = name.removeprefix(MODEL).rpartition("@")
    if not url.startswith(("http://", "https://")) or not model:
        raise BadInput(f"policy {name}: expected openai:MODEL@URL with an http:// or https:// URL")
    return model, url
