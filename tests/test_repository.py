"""The repository keeps its own promises: layout, lock, configs, documents."""

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from cluster.config import load_config

ROOT = Path(__file__).resolve().parents[1]
SERVERS = {"serve-policies", "serve-llm"}  # tests/test_serve_configs.py reads them
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.yaml") if path.stem not in SERVERS)


@pytest.mark.parametrize("name", ["cluster", "services"])
def test_both_packages_resolve_inside_the_repository(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT)


def test_the_distribution_cannot_be_uploaded_by_accident() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "assay"
    assert "Private :: Do Not Upload" in project["classifiers"]


def test_the_lock_names_the_public_index_only() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    registries = {p["source"]["registry"] for p in lock["package"] if "registry" in p["source"]}
    assert registries == {"https://pypi.org/simple"}
    hosts = set(re.findall(r'url = "(https?://[^/"]+)', (ROOT / "uv.lock").read_text()))
    assert hosts == {"https://files.pythonhosted.org"}


def test_torch_is_no_default_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [d for d in project["dependencies"] if d.startswith("torch")]
    assert "torch==" in (ROOT / "requirements" / "torch.txt").read_text()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads_and_says_how_it_is_run(path: Path) -> None:
    assert load_config(path).name == path.stem
    first = path.read_text().splitlines()[0]
    assert first.startswith("# assay ")
    assert f"configs/{path.name}" in shlex.split(first.removeprefix("# "))


def test_modules_and_functions_stay_short() -> None:
    too_long = [
        str(path.relative_to(ROOT))
        for folder in ("cluster", "services")
        for path in (ROOT / folder).rglob("*.py")
        if len(path.read_text().splitlines()) > 400
    ]
    assert too_long == []
