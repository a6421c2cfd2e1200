"""The configs of servers: ours is refused beyond a replica's ceiling, the GPU one is what ray.serve.llm takes."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.llm._internal.serve.core.configs.llm_config import LLMConfig  # all of ray.serve.llm that needs no vLLM
from ray.serve.config import AutoscalingConfig as RayAutoscalingConfig
from ray.serve.schema import DeploymentSchema, HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema

from cluster.config import read_config
from cluster.service import AutoscalingConfig, ServiceConfig, admission_of
from services.contracts.errors import BadInput
from tests.test_cli import ROOT

OURS = ROOT / "configs" / "serve-policies.yaml"
GPUS = ROOT / "configs" / "serve-llm.yaml"
SECRET = "s" * 16


def gpus() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(GPUS.read_text())
    return tree


def check_gpus(tree: dict[str, Any]) -> list[LLMConfig]:
    """Everything in the file that can be checked without a GPU and vLLM; Serve's own schemas pass over unknown keys."""
    schema = ServeDeploySchema.model_validate(tree)
    assert set(tree) <= set(ServeDeploySchema.model_fields)
    assert set(tree["http_options"]) <= set(HTTPOptionsSchema.model_fields)
    (app,) = schema.applications
    assert set(tree["applications"][0]) <= set(ServeApplicationSchema.model_fields)
    assert app.import_path == "ray.serve.llm:build_openai_app"
    assert set(app.args) == {"llm_configs"}
    configs = [LLMConfig.model_validate(config) for config in app.args["llm_configs"]]
    for config in configs:
        DeploymentSchema.model_validate({"name": "llm", **config.deployment_config})
        assert set(config.deployment_config) <= set(DeploymentSchema.model_fields)
        assert set(config.deployment_config["autoscaling_config"]) <= set(RayAutoscalingConfig.model_fields)
    return configs


def test_the_gpu_config_is_one_that_serve_and_its_llm_package_take() -> None:
    (config,) = check_gpus(gpus())
    assert (config.model_id, config.llm_engine) == ("qwen2.5-coder-7b", "vLLM")
    assert config.deployment_config["max_queued_requests"] > 0
    assert config.deployment_config["backpressure_config"]["status_code"] == 429


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("accelerator_type",), "L5"),
        (("llm_engine",), "vllm"),
        (("engine_kwarg",), {}),
        (("model_loading_config", "model_name"), "x"),
        (("deployment_config", "max_queued"), 5),
        (("deployment_config", "autoscaling_config", "max_replica"), 5),
        (("deployment_config", "autoscaling_config", "min_replicas"), 9),
        (("deployment_config", "backpressure_config", "retry_after"), 1),
    ],
)
def test_a_slip_in_the_gpu_config_is_found(path: tuple[str, ...], value: object) -> None:
    tree = copy.deepcopy(gpus())
    place = tree["applications"][0]["args"]["llm_configs"][0]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises((ValidationError, AssertionError, ValueError)):
        check_gpus(tree)


def test_the_keys_of_autoscaling_are_serves_own() -> None:
    assert set(AutoscalingConfig.model_fields) <= set(RayAutoscalingConfig.model_fields)
    RayAutoscalingConfig.model_validate(read_config(OURS, ServiceConfig).autoscaling_config.model_dump())


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("replica: {cpus: 2.5}", "replica.cpus"),
        ("replica: {memory_mb: 8193}", "replica.memory_mb"),
        ("autoscaling_config: {min_replicas: 3, max_replicas: 2}", "max_replicas: 2 is less than min_replicas, 3"),
        ("autoscaling_config: {min_replicas: 0}", "autoscaling_config.min_replicas"),
        ("autoscaling_config: {max_replica: 2}", "did you mean max_replicas?"),
        ("autoscaling_config: {look_back_period_s: 5}", "longer than metrics_interval_s"),
        ("policys: [random]", "did you mean policies?"),
        ("request_bytes: 1000000000", "request_bytes"),
    ],
)
def test_a_config_beyond_the_ceilings_is_refused_in_one_line(said: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(said)
    with pytest.raises(BadInput, match=why.replace("?", r"\?")):
        read_config(path, ServiceConfig)


def test_a_server_that_others_reach_needs_a_token_that_cannot_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    here, everywhere = ServiceConfig(), ServiceConfig(host="0.0.0.0")
    monkeypatch.delenv("ASSAY_SERVE_TOKEN", raising=False)
    assert admission_of(here).token_sha256 == ""
    with pytest.raises(BadInput, match="set ASSAY_SERVE_TOKEN"):
        admission_of(everywhere)
    for guessable in ("short", f" {SECRET}"):
        monkeypatch.setenv("ASSAY_SERVE_TOKEN", guessable)
        with pytest.raises(BadInput, match="16 characters"):
            admission_of(here)
    monkeypatch.setenv("ASSAY_SERVE_TOKEN", SECRET)
    assert SECRET not in admission_of(everywhere).model_dump_json()
