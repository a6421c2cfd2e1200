"""Everything Assay raises on purpose, and the exit code that each kind ends a command with.

AssayError
├── BadInput          exit 2: a config, file, flag or database that the user can mend
├── OverBudget        exit 1: the run has spent the tokens or the money that it may spend
└── Infrastructure    exit 3: the machine let us down; never the agent's doing, never a reward of 0
    ├── SandboxFault  a sandbox child could not be had
    ├── PolicyFault   the policy's service did not answer
    ├── Overdue       an episode outlasted its own wall time
    ├── SinkFault     trajectories could not be made durable
    ├── TimingFault   a measurement was disturbed (services.grader.runtime.faults)
    └── Incomplete    episodes are missing at the end of a run
"""


class AssayError(Exception):
    """Base of the errors that carry one clear line for the user."""

    exit_code = 1


class BadInput(AssayError):
    """What the user gave is wrong; the message says what to change."""

    exit_code = 2


class OverBudget(AssayError):
    """The run's budget is spent: no model is asked any more, and what was not played is named."""


class Infrastructure(AssayError):
    """A broken machine: retried, recorded as a fault, never graded."""

    exit_code = 3


class SandboxFault(Infrastructure):
    """No sandbox child could be had for a statement."""


class PolicyFault(Infrastructure):
    """The policy's service failed to answer. Not `asked`: no model has read the question, so nothing was spent."""

    def __init__(self, message: str, asked: bool = True) -> None:
        super().__init__(message)
        self.asked = asked


class Overdue(Infrastructure):
    """An episode was not over in its wall time: whatever was waited for, it is no doing of the agent's SQL."""


class SinkFault(Infrastructure):
    """A trajectory could not be made durable."""


class Incomplete(Infrastructure):
    """A run ended with fewer episodes than were planned."""
