"""A Prometheus of one's own beside a running Ray cluster: on 127.0.0.1 only, with Assay's rules."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import yaml
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from cluster.listening import check_port
from services.contracts.errors import BadInput, Infrastructure
from services.contracts.record import Record

RULES = Path(__file__).resolve().parents[1] / "k8s" / "monitoring" / "rules.yaml"
TARGETS = "prom_metrics_service_discovery.json"
START_S = 30.0


class Watching(Record):
    """A Prometheus that was started."""

    url: str
    pid: int
    folder: Path


def start_prometheus(ray_folder: Path, folder: Path, port: int, every_s: int) -> Watching:
    """Start one that outlives this command. Raises BadInput, Infrastructure."""
    targets = ray_folder / TARGETS
    if not targets.exists():
        raise BadInput(
            f"no Ray cluster names its metrics in {targets}: start one with `ray start --head`, "
            "or name its --temp-dir with --ray-folder"
        )
    program = _program()
    port = check_port("127.0.0.1", port)
    config = _write_config(folder, targets.resolve(), every_s)
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    _await_ready(process, url, folder)
    return Watching(url=url, pid=process.pid, folder=folder)


def rule_groups() -> dict[str, list[object]]:
    """Assay's rules as a rule file of Prometheus has them."""
    spec: dict[str, list[object]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]
    return spec


def _program() -> str:
    """Beside this Python, or on the PATH."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("prometheus", path=places)
    if found is None:
        raise BadInput("prometheus is not installed: `make .venv/bin/promtool` puts it into .venv")
    return found


def _write_config(folder: Path, targets: Path, every_s: int) -> Path:
    config = {
        "global": {"scrape_interval": f"{every_s}s", "evaluation_interval": f"{every_s}s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "ray", "file_sd_configs": [{"files": [str(targets)]}]}],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rules.yml").write_text(yaml.safe_dump(rule_groups(), sort_keys=False), encoding="utf-8")
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write to {folder}: {error.strerror}") from error
    return path.resolve()


def _await_ready(process: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    def ask() -> None:
        if process.poll() is not None:
            tail = (folder / "prometheus.log").read_text(encoding="utf-8", errors="replace").strip()[-300:]
            raise Infrastructure(f"prometheus ended at once: {tail}")
        httpx.get(f"{url}/-/ready", timeout=2).raise_for_status()

    tries = Retrying(
        stop=stop_after_delay(START_S),
        wait=wait_fixed(0.1),
        retry=retry_if_exception_type(httpx.HTTPError),
        reraise=True,
    )
    try:
        tries(ask)
    except httpx.HTTPError as error:
        process.kill()
        raise Infrastructure(f"prometheus was not ready within {START_S:.0f} s: see {folder}/prometheus.log") from error


def query(url: str, promql: str) -> list[tuple[dict[str, str], float]]:
    """What an instant query gives: labels and value of each series. Raises BadInput for one that Prometheus refuses."""
    answer = httpx.post(f"{url}/api/v1/query", data={"query": promql}, timeout=30)
    if answer.is_error:
        raise BadInput(f"{promql}: {answer.json().get('error', answer.reason_phrase)}")
    return [(series["metric"], float(series["value"][1])) for series in answer.json()["data"]["result"]]
