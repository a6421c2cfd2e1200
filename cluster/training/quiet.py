"""Quiet: what RLlib and Ray Data say while they work is for their own developers; what we measure is said by us."""

import logging
import warnings


def be_quiet() -> None:
    """Only errors from now on; no progress of datasets."""
    from ray.data import DataContext

    for name in ("ray.rllib", "ray.data", "ray.tune", "ray._common.deprecation"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.issue_detectors_config.detectors = []
