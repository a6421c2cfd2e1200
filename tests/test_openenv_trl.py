"""One GRPO step over the server, by tools and by a rollout function, on a tiny model made on the spot."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import qwen2_5_chat_template

from services.env_actor.openenv.trl import REWARDS, ExploreTools, Rollout
from services.env_actor.taskset import TaskSet
from services.grader.answers import submission
from services.grader.gold import GoldAnswer
from tests.openenv_server import Served, serving

TASK = "retail-000"
CALL = '<tool_call>\n{"name": "answer", "arguments": {"value": "VALUE"}}\n</tool_call>'


@pytest.fixture(scope="module")
def served(builtin: TaskSet, named_analyst_set: TaskSet) -> Iterator[Served]:
    with serving(builtin, named_analyst_set) as server:
        yield server


def tokenizer_of(texts: list[str]) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=qwen2_5_chat_template
    )


def taught(tokenizer: PreTrainedTokenizerFast, sayings: list[str]) -> Qwen2ForCausalLM:
    """A model of some thousand weights that sees eight tokens back, and has learnt to say these things."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=2048, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, use_sliding_window=True, sliding_window=8, max_window_layers=0,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    start = "How many orders are there?<|im_end|>\n<|im_start|>assistant\n"
    lines = [tokenizer.encode(f"{start}{saying}<|im_end|>", add_special_tokens=False) for saying in sayings]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        losses = [model(input_ids=torch.tensor([line]), labels=torch.tensor([line])).loss for line in lines]
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
    return model


def grpo(tmp_path: Path, model: Any, tokenizer: Any, rows: list[dict[str, Any]], **how: Any) -> list[dict[str, float]]:
    """The logs of one step with four rollouts of one task."""
    settings = GRPOConfig(
        output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=4, num_generations=4, use_cpu=True,
        max_completion_length=400, logging_steps=1, report_to=[], save_strategy="no", temperature=0.7, seed=0,
        generation_kwargs={"max_new_tokens": 48},
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=model, args=settings, reward_funcs=list(REWARDS), processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows), **how,
    )  # fmt: skip
    trainer.train()
    return [entry for entry in trainer.state.log_history if "reward" in entry]


@pytest.mark.soak
def test_a_grpo_step_with_the_tools_is_paid_what_the_server_paid(
    served: Served, golds: dict[str, GoldAnswer], tmp_path: Path
) -> None:
    says = CALL.replace("VALUE", submission(golds[TASK].gold_answer))
    tokenizer = tokenizer_of([says, qwen2_5_chat_template])
    rows = [{"prompt": [{"role": "user", "content": ""}], "task_id": TASK, "seed": 1}] * 4
    made = partial(ExploreTools, served.url)
    [logged] = grpo(tmp_path, taught(tokenizer, [says]), tokenizer, rows, environment_factory=made)
    assert logged["rewards/reward_correctness/mean"] > 0
    assert logged["tools/call_frequency"] > 0


def test_a_grpo_step_with_the_rollout_function_is_paid_what_the_server_paid(
    served: Served, golds: dict[str, GoldAnswer], tmp_path: Path
) -> None:
    says = ["QUERY SELECT count(*) FROM orders", f"ANSWER {submission(golds[TASK].gold_answer)}", "DESCRIBE orders"]
    tokenizer = tokenizer_of([*says, qwen2_5_chat_template])
    rows = [{"prompt": [{"role": "user", "content": TASK}]}] * 4
    rollout = Rollout(served.url, max_turns=4)
    [logged] = grpo(tmp_path, taught(tokenizer, says), tokenizer, rows, rollout_func=rollout)
    assert logged["rewards/reward_correctness/mean"] > 0
    assert logged["rewards/reward_operational/mean"] != 0
    assert logged["reward_std"] > 0


def test_a_rollout_that_a_fault_ended_is_paid_nothing_at_all(builtin: TaskSet, named_analyst_set: TaskSet) -> None:
    with serving(builtin, named_analyst_set) as server:
        tools = ExploreTools(server.url)
        tools.reset(task_id=TASK)
        tools.describe("orders")
    assert tools.query("SELECT 1").startswith("fault")
    assert [reward([None], environments=[tools]) for reward in REWARDS] == [[None]] * 3
