"""What `--dry-run` says: how many episodes there would be, and what the models among the policies would take."""

from pathlib import Path

from cluster.estimating import Estimate, estimates
from cluster.rollout import Prepared
from cluster.run import RunFolder


def expected(prepared: Prepared, like: Path | None) -> dict[str, object]:
    """The plan of a rollout as a tree for the terminal; `like` is an earlier run. Raises BadInput."""
    config = prepared.config
    policies = {name: sum(spec.policy == name for spec in prepared.specs) for name in config.policies}
    told: dict[str, object] = {"planned": len(prepared.specs), "policies": policies}
    measured = None if like is None else RunFolder.open(like)
    found = estimates(config, prepared.task_set, prepared.specs, measured)
    if not found:
        return told
    return told | {"models": [one.model_dump(mode="json") for one in found], **_totals(found)}


def _totals(found: tuple[Estimate, ...]) -> dict[str, object]:
    prices = [one.usd for one in found]
    known = [price for price in prices if price is not None]
    tokens = sum(one.prompt_tokens + one.completion_tokens for one in found)
    return {"tokens": tokens, "dollars": round(sum(known), 4) if len(known) == len(prices) else None}


def plain(told: dict[str, object]) -> dict[str, object]:
    """The same for people: a line for each model."""
    models = told.get("models")
    if not isinstance(models, list):
        return told
    lines = {f"{one['policy']}, by {one['basis']}": _line(one) for one in models}
    return {key: value for key, value in told.items() if key != "models"} | lines


def _line(one: dict[str, object]) -> str:
    cost = "no price" if one["usd"] is None else f"${one['usd']:.2f}"
    return f"{one['prompt_tokens']} tokens read, {one['completion_tokens']} written, {cost}"
