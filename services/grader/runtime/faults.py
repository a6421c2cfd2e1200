"""What goes wrong with a measurement without being anybody's doing: it is taken again, never turned into a verdict."""

from services.contracts.errors import Infrastructure


class TimingFault(Infrastructure):
    """A measuring process was killed, paused or could not be started."""


class CanaryFired(TimingFault):
    """The original differs from itself: nothing that this slot measures can be trusted."""
