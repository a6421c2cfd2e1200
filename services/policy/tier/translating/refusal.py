"""Why a statement cannot be said in operations."""


class Untranslatable(ValueError):
    """The statement says what operations cannot; the message is the reason, which can be counted."""
