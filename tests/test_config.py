"""A config is read whole or refused in one line."""

from pathlib import Path

import pytest

from cluster.config import load_config
from services.contracts.errors import BadInput


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def test_defaults_are_the_specs_numbers(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "name: a\npolicies: [random]\n"))
    assert config.limits.budget == 15
    assert config.sandbox.statement_s == 5.0


def test_an_override_changes_one_value_and_the_hash(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a\npolicies: [random]\n")
    changed = load_config(path, ["limits.budget=7", "policies=[heuristic]"])
    assert changed.limits.budget == 7
    assert changed.policies == ("heuristic",)
    assert changed.config_hash() != load_config(path).config_hash()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\npolicies: [random]\nsampels: 3\n", "did you mean samples?"),
        ("name: a\npolicies: [random]\nlimits: {bugdet: 3}\n", "unknown key limits.bugdet; did you mean budget?"),
        ("name: a\npolicies: [random]\nzzzz: 3\n", "known keys: name, tasks"),
        ("name: a\npolicies: []\n", "policies"),
        ("name: a/b\npolicies: [random]\n", "name"),
        ("name: a\npolicies: [random]\nlimits: {budget: many}\n", "limits.budget"),
        ("name: a\npolicies: [random]\nactors: {cpus: 3}\n", "actors.cpus"),
        ("- a\n- b\n", "expected keys and values"),
        ("name: [\n", "run.yaml"),
        ("", "name: Field required"),
    ],
)
def test_a_wrong_config_is_refused_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_config(write(tmp_path, text))
    assert said in str(caught.value)


def test_a_missing_config_and_a_wrong_override_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read the config"):
        load_config(tmp_path / "none.yaml")
    path = write(tmp_path, "name: a\npolicies: [random]\n")
    with pytest.raises(BadInput):
        load_config(path, ["limits.budgett=3"])
    with pytest.raises(BadInput):
        load_config(path, ["no equals sign here"])
