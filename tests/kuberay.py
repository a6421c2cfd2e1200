"""What KubeRay and the Prometheus operator take, as JSON Schemas for the tests, and nothing besides.

The fields are those of KubeRay's API reference (ray.io/v1, 1.7) and of the part of the Prometheus operator's
(monitoring.coreos.com/v1) that we use, written down by hand: the CRDs themselves are in no package registry. Pods,
services, selectors and labels in them are held against Kubernetes' own strict schemas.
"""

import importlib.resources
import json
from functools import cache
from typing import Any

import jsonschema
import yaml
from kubernetes_validate import SchemaNotFoundError, ValidationError
from kubernetes_validate import validate as validate_core
from referencing import Registry, Resource

KUBERNETES = "1.37"
CORE = "io.k8s.api.core.v1."
Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}


def core(name: str) -> Schema:
    return {"$ref": f"/api/_definitions.json#/$defs/{name}"}


def record(required: tuple[str, ...] = (), **fields: Schema) -> Schema:
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


def listing(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def one_of(*words: str) -> Schema:
    return {"enum": list(words)}


POD = core(f"{CORE}PodTemplateSpec")
START_PARAMS: Schema = {
    "type": "object",
    "additionalProperties": TEXT,
    "propertyNames": {"pattern": "^[a-z][a-z0-9-]*$"},
}
MANAGED_BY = one_of("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue")
UPSCALING = one_of("Default", "Aggressive", "Conservative")
CREDENTIAL = record(value=TEXT, valueFrom=core(f"{CORE}EnvVarSource"))
AUTOSCALER = record(
    version=one_of("v1", "v2"), upscalingMode=UPSCALING, idleTimeoutSeconds=COUNT, image=TEXT,
    imagePullPolicy=one_of("Always", "IfNotPresent", "Never"), resources=core(f"{CORE}ResourceRequirements"),
    securityContext=core(f"{CORE}SecurityContext"), env=listing(core(f"{CORE}EnvVar")),
    envFrom=listing(core(f"{CORE}EnvFromSource")), volumeMounts=listing(core(f"{CORE}VolumeMount")),
)  # fmt: skip
HEAD = record(
    ("template",), template=POD, rayStartParams=START_PARAMS, resources=TEXTS, labels=TEXTS, enableIngress=FLAG,
    headService=core(f"{CORE}Service"), serviceType=one_of("ClusterIP", "NodePort", "LoadBalancer"),
)  # fmt: skip
WORKERS = record(
    ("groupName", "template", "minReplicas", "maxReplicas"), groupName=TEXT, template=POD, replicas=COUNT,
    minReplicas=COUNT, maxReplicas=COUNT, idleTimeoutSeconds=COUNT, numOfHosts=COUNT, suspend=FLAG,
    rayStartParams=START_PARAMS, resources=TEXTS, labels=TEXTS,
    scaleStrategy=record(workersToDelete=listing(TEXT)),
)  # fmt: skip
CLUSTER = record(
    ("headGroupSpec",), rayVersion=TEXT, suspend=FLAG, managedBy=MANAGED_BY, enableInTreeAutoscaling=FLAG,
    autoscalerOptions=AUTOSCALER, headServiceAnnotations=TEXTS, headGroupSpec=HEAD, workerGroupSpecs=listing(WORKERS),
    authOptions=record(mode=one_of("disabled", "token"), secretName=TEXT, enableK8sTokenAuth=FLAG),
    gcsFaultToleranceOptions=record(
        ("redisAddress",), redisAddress=TEXT, redisUsername=CREDENTIAL, redisPassword=CREDENTIAL,
        externalStorageNamespace=TEXT,
    ),
)  # fmt: skip
JOB = record(
    entrypoint=TEXT, runtimeEnvYAML=TEXT, jobId=TEXT, rayClusterSpec=CLUSTER, clusterSelector=TEXTS, metadata=TEXTS,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"), submitterPodTemplate=POD,
    submitterConfig=record(backoffLimit=COUNT), backoffLimit=COUNT, activeDeadlineSeconds=COUNT, managedBy=MANAGED_BY,
    entrypointNumCpus={"type": "number"}, entrypointNumGpus={"type": "number"}, entrypointResources=TEXT,
    shutdownAfterJobFinishes=FLAG, ttlSecondsAfterFinished=COUNT, suspend=FLAG,
)  # fmt: skip
SERVICE = record(
    serveConfigV2=TEXT, rayClusterConfig=CLUSTER, serveService=core(f"{CORE}Service"), excludeHeadPodFromServeSvc=FLAG,
    upgradeStrategy=record(type=one_of("NewCluster", "None", "NewClusterWithIncrementalUpgrade")),
    suspend=FLAG, managedBy=MANAGED_BY, rayClusterDeletionDelaySeconds=COUNT,
)  # fmt: skip
SELECTOR = core("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector")
RELABELING = record(
    action=TEXT, sourceLabels=listing(TEXT), targetLabel=TEXT, regex=TEXT, replacement=TEXT, separator=TEXT,
    modulus=COUNT,
)  # fmt: skip
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(ms|s|m|h|d|w|y))+$"}
ENDPOINT = record(
    port=TEXT, portNumber=COUNT, path=TEXT, scheme=TEXT, interval=DURATION, scrapeTimeout=DURATION, honorLabels=FLAG,
    relabelings=listing(RELABELING), metricRelabelings=listing(RELABELING),
)  # fmt: skip
PODMONITOR = record(
    ("selector", "podMetricsEndpoints"), selector=SELECTOR, podMetricsEndpoints=listing(ENDPOINT), jobLabel=TEXT,
    podTargetLabels=listing(TEXT), namespaceSelector=record(any=FLAG, matchNames=listing(TEXT)), sampleLimit=COUNT,
)  # fmt: skip
RULE = {
    **record(("expr",), record=TEXT, alert=TEXT, expr=TEXT, labels=TEXTS, annotations=TEXTS, keep_firing_for=DURATION),
    "oneOf": [{"required": ["record"]}, {"required": ["alert"]}],
}
RULE["properties"]["for"] = DURATION
GROUP = record(("name",), name=TEXT, interval=DURATION, limit=COUNT, rules=listing(RULE))
SPECS = {
    ("ray.io/v1", "RayCluster"): CLUSTER,
    ("ray.io/v1", "RayJob"): JOB,
    ("ray.io/v1", "RayService"): SERVICE,
    ("monitoring.coreos.com/v1", "PodMonitor"): PODMONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): record(groups=listing(GROUP)),
}


def check(manifest: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError, or kubernetes_validate's, for what the API server would refuse or drop."""
    if not isinstance(manifest.get("apiVersion"), str) or not isinstance(manifest.get("kind"), str):
        raise jsonschema.ValidationError("a manifest has an apiVersion and a kind")
    known = manifest["apiVersion"], manifest["kind"]
    if known not in SPECS:
        validate_core(manifest, KUBERNETES, strict=True)
        return
    meta = core("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    whole = record(
        ("apiVersion", "kind", "metadata", "spec"), apiVersion=TEXT, kind=TEXT, metadata=meta, spec=SPECS[known]
    )
    jsonschema.Draft202012Validator(whole, registry=_definitions()).validate(manifest)


REFUSALS = (jsonschema.ValidationError, ValidationError, SchemaNotFoundError)


def read_all(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


@cache
def _definitions() -> Any:
    place = f"kubernetes-json-schema/v{KUBERNETES}.0-local-strict/_definitions.json"
    contents = json.loads(importlib.resources.files("kubernetes_validate").joinpath(place).read_text())
    return Registry().with_resource("/api/_definitions.json", Resource.from_contents(contents))
