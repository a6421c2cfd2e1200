"""What an AgentBeats request asks for: who is assessed, on how many tasks, and for how long.

Source: AgentBeats' Green Agent template; a request is `{"participants": {role: URL}, "config": {…}}`.
"""

import difflib
from typing import Annotated, Self

from pydantic import Field, HttpUrl, ValidationError, model_validator

from services.contracts.errors import BadInput
from services.contracts.record import Record

Role = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
PARTICIPANTS_MOST = 8


class AssessmentConfig(Record):
    """How the participants are assessed. All of them play the same tasks, seeds and samples."""

    tasks: int | None = Field(default=None, ge=1, description="draw that many tasks by the seed; all if left out")
    samples: int = Field(default=1, ge=1, le=64)
    seed: int = Field(default=0, ge=0)
    models: dict[Role, Annotated[str, Field(min_length=1)]] = Field(
        default_factory=dict, description="roles behind an OpenAI-compatible URL, with the model; the rest speak A2A"
    )
    turn_timeout_s: float = Field(default=60.0, gt=0, le=3600, description="seconds for one action")
    timeout_s: float = Field(default=1800.0, gt=0, le=86_400, description="seconds for the whole assessment")
    at_once: int = Field(default=8, ge=1, le=64, description="episodes of one participant under way")


class AssessmentRequest(Record):
    """The participants by role, and the config."""

    participants: dict[Role, HttpUrl] = Field(min_length=1, max_length=PARTICIPANTS_MOST)
    config: AssessmentConfig = AssessmentConfig()

    @model_validator(mode="after")
    def _models_are_of_participants(self) -> Self:
        strange = sorted(self.config.models.keys() - self.participants.keys())
        if strange:
            raise ValueError(f"config.models names {', '.join(strange)}, which is no participant")
        return self


def read_request(text: str) -> AssessmentRequest:
    """The request of a JSON text. Raises BadInput with the first thing that is wrong."""
    try:
        return AssessmentRequest.model_validate_json(text)
    except ValidationError as error:
        detail = error.errors()[0]
    where = ".".join(map(str, detail["loc"])) or "request"
    if detail["type"] != "extra_forbidden":
        raise BadInput(f"{where}: {detail['msg']}")
    model = AssessmentConfig if detail["loc"][0] == "config" and len(detail["loc"]) > 1 else AssessmentRequest
    near = difflib.get_close_matches(str(detail["loc"][-1]), model.model_fields, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(model.model_fields)}"
    raise BadInput(f"unknown key {where}; {hint}")
