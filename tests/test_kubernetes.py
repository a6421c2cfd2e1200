"""Manifests are what Kubernetes, KubeRay and the Prometheus operator take, and what our rules for pods ask for."""

import copy
import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema
from typer.testing import CliRunner

from cluster.cli import app
from cluster.config import load_config
from services.grader.runtime.slots import SLOT
from tests.kuberay import REFUSALS, check, read_all

pytestmark = pytest.mark.k8s
ROOT = Path(__file__).resolve().parents[1]
KUBECTL = str(Path(sys.executable).parent / "kubectl")
OVERLAYS = ("dev", "prod", "gpu")
GIB = 2**30
Manifest = dict[str, Any]


@cache
def rendered(overlay: str) -> str:
    command = [KUBECTL, "kustomize", f"k8s/overlays/{overlay}"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def manifests(overlay: str) -> list[Manifest]:
    return read_all(rendered(overlay))


def find(overlay: str, kind: str, name: str) -> Manifest:
    (found,) = [m for m in manifests(overlay) if m["kind"] == kind and m["metadata"]["name"] == name]
    return found


def pods(overlay: str) -> list[tuple[str, Manifest]]:
    """Every pod template, by where it is."""
    found = []
    for manifest in manifests(overlay):
        spec, name = manifest.get("spec", {}), f"{manifest['kind']}/{manifest['metadata']['name']}"
        cluster = spec.get("rayClusterConfig", spec)
        if "headGroupSpec" in cluster:
            found.append((f"{name}/head", cluster["headGroupSpec"]["template"]))
            found += [(f"{name}/{group['groupName']}", group["template"]) for group in cluster["workerGroupSpecs"]]
        if "submitterPodTemplate" in spec:
            found.append((f"{name}/submitter", spec["submitterPodTemplate"]))
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_of_an_overlay_is_taken(overlay: str) -> None:
    for manifest in manifests(overlay):
        check(manifest)
        assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "assay"


def test_every_file_of_k8s_is_part_of_an_overlay() -> None:
    named = {path for file in (ROOT / "k8s").rglob("kustomization.yaml") for path in resources(file)}
    assert {path for path in (ROOT / "k8s").rglob("*.yaml") if path.name != "kustomization.yaml"} == named


def resources(file: Path) -> list[Path]:
    listed = [(file.parent / name).resolve() for name in yaml.safe_load(file.read_text())["resources"]]
    return [path for path in listed if path.is_file()]


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every key of a tree, outside the maps whose keys are free."""
    free = {"labels", "annotations", "matchLabels", "nodeSelector", "limits", "requests", "rayStartParams",
            "clusterSelector"}  # fmt: skip
    if isinstance(tree, dict):
        inner = [way for key, value in tree.items() if key not in free for way in leaves(value, (*path, key))]
        return [*((*path, key) for key in tree), *inner]
    if isinstance(tree, list):
        return [way for place, value in enumerate(tree) for way in leaves(value, (*path, place))]
    return []


def parent(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        tree = tree[key]
    return tree


@pytest.mark.parametrize("overlay", ["gpu"])
def test_a_misspelt_key_anywhere_in_any_manifest_is_refused(overlay: str) -> None:
    taken = []
    for manifest in manifests(overlay):
        for path in leaves(manifest):
            broken = copy.deepcopy(manifest)
            holder = parent(broken, path)
            holder[f"{path[-1]}x"] = holder.pop(path[-1])
            if is_taken(broken):
                taken.append((manifest["kind"], path))
    assert taken == []


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("RayCluster", "assay", "spec/autoscalerOptions/version", "v3"),
        ("RayCluster", "assay", "spec/enableInTreeAutoscaling", "yes"),
        ("RayCluster", "assay", "spec/workerGroupSpecs/0/maxReplicas", "64"),
        ("RayCluster", "assay", "spec/workerGroupSpecs/0/maxReplicas", -1),
        ("RayCluster", "assay", "spec/workerGroupSpecs/0/rayStartParams/num-cpus", 2),
        ("RayCluster", "assay", "spec/headGroupSpec/template/spec/containers/0/ports/0/containerPort", "6379"),
        ("RayCluster", "assay", "spec/headGroupSpec/template/spec/containers/0/env", {"HOME": "/tmp"}),
        ("RayJob", "rollout", "spec/submissionMode", "Job"),
        ("RayJob", "rollout", "spec/entrypoint", ["python"]),
        ("RayService", "policies", "spec/serveConfigV2", {"applications": []}),
        ("NetworkPolicy", "closed", "spec/policyTypes", "Egress"),
        ("PersistentVolumeClaim", "runs", "spec/accessModes", "ReadWriteMany"),
        ("PodMonitor", "assay", "spec/podMetricsEndpoints/0/interval", "15 seconds"),
        ("PrometheusRule", "assay", "spec/groups/0/rules/0/alert", "both"),
    ],
)
def test_a_value_that_cannot_be_is_refused(kind: str, name: str, path: str, value: object) -> None:
    broken = copy.deepcopy(find("prod", kind, name))
    way = tuple(int(part) if part.isdigit() else part for part in path.split("/"))
    parent(broken, way)[way[-1]] = value
    assert not is_taken(broken)


def is_taken(manifest: Manifest) -> bool:
    try:
        check(manifest)
    except REFUSALS:
        return False
    return True


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_limits_no_root_and_nothing_to_write_but_their_volumes(overlay: str) -> None:
    for where, template in pods(overlay):
        spec = template["spec"]
        assert template["metadata"]["labels"]["app.kubernetes.io/part-of"] == "assay", where
        assert spec["securityContext"]["runAsNonRoot"] is True, where
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert where == "RayCluster/assay/head" or spec["automountServiceAccountToken"] is False, where
        assert "hostNetwork" not in spec, where
        assert "hostPID" not in spec, where
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume], where
        for container in spec["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"] is True, where
            assert rights["allowPrivilegeEscalation"] is False, where
            assert rights["capabilities"] == {"drop": ["ALL"]}, where
            assert {"cpu", "memory"} <= set(container["resources"]["limits"]), where


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_actor_fills_one_worker_pod_of_two_cpus_and_8_gb(overlay: str) -> None:
    spec = find(overlay, "RayCluster", "assay")["spec"]
    assert spec["autoscalerOptions"]["version"] == "v2"
    (group,) = spec["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert (limits["cpu"], limits["memory"]) == ("2", "8Gi")
    offered = int(group["rayStartParams"]["memory"])
    assert json.loads(json.loads(group["rayStartParams"]["resources"])) == {SLOT: 1}
    config = load_config(ROOT / "configs" / "large.yaml", overrides(find("prod", "RayJob", "rollout")))
    asked = config.actors.memory_mb * 2**20
    assert (config.actors.cpus, int(group["rayStartParams"]["num-cpus"])) == (2, 2)
    assert offered / 2 < asked <= offered < 8 * GIB


def overrides(job: Manifest) -> list[str]:
    words = shlex.split(shlex.split(job["spec"]["entrypoint"])[2])
    return [words[place + 1] for place, word in enumerate(words) if word == "--set"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_entrypoint_of_the_job_is_a_command_that_we_have(overlay: str) -> None:
    shell, option, script, name = shlex.split(find(overlay, "RayJob", "rollout")["spec"]["entrypoint"])
    assert (shell, option, name) == ("sh", "-c", "assay")
    subprocess.run(["sh", "-n", "-c", script], check=True)
    command = script[script.index("cluster.cli ") + len("cluster.cli ") :].replace('"$@"', "--dry-run")
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, done.output
    assert re.search(r"planned: [1-9]", done.output)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_leaves_an_actors_pod_but_to_our_own_and_the_name_server(overlay: str) -> None:
    policies = [m["spec"] for m in manifests(overlay) if m["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    actor = {"app.kubernetes.io/part-of": "assay", "app.kubernetes.io/component": "actor"}
    for policy in policies:
        wanted = policy["podSelector"].get("matchLabels", {})
        if not wanted.items() <= actor.items():
            continue
        for rule in policy.get("egress", ()):
            (peer,) = rule["to"]
            assert "ipBlock" not in peer
            ours = peer.get("podSelector", {}).get("matchLabels") == {"app.kubernetes.io/part-of": "assay"}
            assert ours or {port["port"] for port in rule["ports"]} == {53}


@pytest.mark.parametrize(("overlay", "name"), [("prod", "policies"), ("gpu", "policies"), ("gpu", "vllm")])
def test_what_a_service_serves_is_what_ray_serve_takes(overlay: str, name: str) -> None:
    config = yaml.safe_load(find(overlay, "RayService", name)["spec"]["serveConfigV2"])
    (application,) = ServeDeploySchema.model_validate(config).applications
    assert application.import_path
    if name == "policies":
        from cluster.serving import policy_app

        built = policy_app(application.args)
        (deployment,) = application.deployments
        assert built._bound_deployment.name == deployment.name
