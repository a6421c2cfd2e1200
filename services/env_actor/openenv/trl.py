"""For TRL's GRPOTrainer: tools over the explore client, a rollout function, and the three rewards apart.

Source: sqlenv-v1-spec §3.5. A rollout that a broken machine kept from ending is paid None by every function, which TRL
leaves out; never 0. torch and trl are not imported here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from openenv.core.client_types import StepResult

from services.contracts.actions import argument_of, parse_action
from services.env_actor.openenv.client import ExploreEnv
from services.env_actor.openenv.explore import SQLAction, SQLObservation

RULES = (
    "Explore the database, one action a turn: DESCRIBE table, SAMPLE table, QUERY select statement, "
    "and at the end ANSWER value."
)
OPERATIONAL = ("exec_ok", "new_info", "repeat", "cost")
Messages = list[dict[str, str]]
Token = int


@dataclass
class Paid:
    """What one episode was paid so far, by component; None once a fault ended it."""

    correctness: float | None = 0.0
    progress: float | None = 0.0
    operational: float | None = 0.0

    def add(self, components: Mapping[str, float]) -> None:
        """Add one step's components."""
        if self.correctness is None or self.progress is None or self.operational is None:
            return
        self.correctness += components["correctness"]
        self.progress += components["progress"]
        self.operational += sum(components[name] for name in OPERATIONAL)

    def void(self) -> None:
        """Pay nothing at all: the machine broke down."""
        self.correctness = self.progress = self.operational = None


class _Episode:
    """One episode at a time over one connection."""

    def __init__(self, base_url: str) -> None:
        self._client = ExploreEnv(base_url).sync()
        self.paid = Paid()
        self.over = True

    def reset(self, task_id: str | None, seed: int | None) -> SQLObservation:
        """Begin an episode. Raises RuntimeError, ConnectionError if the server cannot."""
        asked = {"task_id": task_id, "seed": seed}
        result = self._client.reset(**{name: value for name, value in asked.items() if value is not None})
        self.paid, self.over = Paid(), False
        seen: SQLObservation = result.observation
        return seen

    def step(self, action: SQLAction) -> str:
        """What the action shows; after a fault the episode is over and void."""
        if self.over:
            return "the episode is over"
        try:
            result: StepResult[SQLObservation] = self._client.step(action)
        except (RuntimeError, OSError, TimeoutError) as error:
            self.over = True
            self.paid.void()
            return f"fault: {error}"
        self.over = result.done
        self.paid.add(result.observation.metadata["components"])
        seen: SQLObservation = result.observation
        return seen.error or seen.result


class ExploreTools:
    """An environment for `GRPOTrainer(environment_factory=...)`: its public methods are the model's tools.

    Give `functools.partial(ExploreTools, base_url)`. The data set's columns `task_id` and `seed` choose the episode.
    """

    def __init__(self, base_url: str) -> None:
        self._episode = _Episode(base_url)

    @property
    def paid(self) -> Paid:
        """What the episode was paid so far."""
        return self._episode.paid

    def reset(self, task_id: str | None = None, seed: int | None = None, **_: Any) -> str:
        """Begin an episode; the text goes behind the prompt."""
        return opening(self._episode.reset(task_id, seed))

    def describe(self, table: str) -> str:
        """Show columns, types and row count of a table.

        Args:
            table: The name of the table.
        """
        return self._take("DESCRIBE", table)

    def sample(self, table: str) -> str:
        """Show five rows of a table.

        Args:
            table: The name of the table.
        """
        return self._take("SAMPLE", table)

    def query(self, sql: str) -> str:
        """Run one SELECT statement and show at most 20 rows of its result.

        Args:
            sql: The statement.
        """
        return self._take("QUERY", sql)

    def answer(self, value: str) -> str:
        """Submit the final answer; this ends the episode.

        Args:
            value: The answer.
        """
        return self._take("ANSWER", value)

    def _take(self, kind: str, argument: str) -> str:
        return self._episode.step(SQLAction(action_type=kind, argument=str(argument)))


def reward_correctness(completions: Sequence[Any], **given: Any) -> list[float | None]:
    """1.0 for a right answer, 0.0 without one (§3.3)."""
    return _paid("correctness", given)


def reward_progress(completions: Sequence[Any], **given: Any) -> list[float | None]:
    """The sum of the progress made, 0 to 0.15 (§3.2)."""
    return _paid("progress", given)


def reward_operational(completions: Sequence[Any], **given: Any) -> list[float | None]:
    """The sum of exec_ok, new_info, repeat and cost (§3.1)."""
    return _paid("operational", given)


REWARDS = (reward_correctness, reward_progress, reward_operational)


def _paid(component: str, given: Mapping[str, Any]) -> list[float | None]:
    """From the environments, or from what `Rollout` handed over."""
    environments: Sequence[ExploreTools] | None = given.get("environments")
    if environments is not None:
        return [getattr(environment.paid, component) for environment in environments]
    handed: list[float | None] = given[component]
    return handed


class Tokenizer(Protocol):
    """What a rollout needs of a Hugging Face tokenizer."""

    def apply_chat_template(self, conversation: Messages, **options: Any) -> str:
        """The conversation as text."""
        ...

    def encode(self, text: str, **options: Any) -> list[Token]:
        """The text as tokens."""
        ...

    def decode(self, tokens: Sequence[Token], **options: Any) -> str:
        """The tokens as text."""
        ...


Generate = Callable[[Any, list[list[Token]]], list[list[Token]]]


def generate_with_trainer(trainer: Any, prompts: list[list[Token]]) -> list[list[Token]]:
    """One completion a prompt, by whatever the trainer generates with (TRL 1.16 has no public call for it)."""
    completions: list[list[Token]] = trainer._generate_single_turn(prompts, None, {}, 1)[0]
    return completions


@dataclass
class _Line:
    """One rollout on its way: the tokens so far, and which of its completion the model wrote."""

    episode: _Episode
    prompt: list[Token]
    completion: list[Token]
    written: list[int]


class Rollout:
    """A `rollout_func`: plays an episode a prompt, all of a batch turn by turn together.

    The content of a prompt's last message is its task id. What the environment says is in the completion with
    env_mask 0, so that nothing is learnt from it.
    """

    def __init__(self, base_url: str, max_turns: int = 16, generate: Generate = generate_with_trainer) -> None:
        self._base_url = base_url
        self._max_turns = max_turns
        self._generate = generate
        self._episodes: list[_Episode] = []

    def __call__(self, prompts: Sequence[Messages], trainer: Any) -> dict[str, list[Any]]:
        """Token ids, the mask, and the rewards apart, in the order of the prompts."""
        while len(self._episodes) < len(prompts):
            self._episodes.append(_Episode(self._base_url))
        tokenizer: Tokenizer = trainer.processing_class
        lines = [self._begin(*each, tokenizer) for each in zip(self._episodes, prompts, strict=False)]
        longest = trainer.max_completion_length
        for _ in range(self._max_turns):
            open_lines = [line for line in lines if not line.episode.over and len(line.completion) < longest]
            if not open_lines:
                break
            texts = self._generate(trainer, [line.prompt + line.completion for line in open_lines])
            for line, tokens in zip(open_lines, texts, strict=True):
                _turn(line, tokens, tokenizer, longest)
        return {
            "prompt_ids": [line.prompt for line in lines],
            "completion_ids": [line.completion for line in lines],
            "logprobs": None,  # type: ignore[dict-item]  # TRL: not known, to be worked out by the trainer
            "env_mask": [line.written for line in lines],
            **{name: [getattr(line.episode.paid, name) for line in lines] for name in vars(Paid())},
        }

    def _begin(self, episode: _Episode, prompt: Messages, tokenizer: Tokenizer) -> _Line:
        first = episode.reset(prompt[-1]["content"].strip(), None)
        messages = [*prompt[:-1], {"role": "user", "content": opening(first)}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return _Line(episode, tokenizer.encode(text, add_special_tokens=False), [], [])


def opening(first: SQLObservation) -> str:
    """The first message of an episode."""
    return f"{RULES}\n{first.schema_info}\n{first.question}"


def _turn(line: _Line, tokens: list[Token], tokenizer: Tokenizer, longest: int) -> None:
    """Take the action that the model wrote, and let it read what came of it if there is room for it."""
    kept = tokens[: longest - len(line.completion)]
    line.completion += kept
    line.written += [1] * len(kept)
    action = parse_action(tokenizer.decode(kept, skip_special_tokens=True))
    shown = line.episode.step(SQLAction(action_type=action.kind, argument=argument_of(action)))
    heard = tokenizer.encode(_heard(shown, tokenizer), add_special_tokens=False)
    if not line.episode.over and len(line.completion) + len(heard) < longest:
        line.completion += heard
        line.written += [0] * len(heard)
    else:
        line.episode.over = True


def _heard(text: str, tokenizer: Tokenizer) -> str:
    """The environment's message as the chat template has it between two of the model's."""
    before: Messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    head = tokenizer.apply_chat_template(before, tokenize=False)
    after = [*before, {"role": "user", "content": text}]
    whole = tokenizer.apply_chat_template(after, tokenize=False, add_generation_prompt=True)
    return "\n" + whole.removeprefix(head).lstrip("\n")
