"""SQL text of names and literals."""


def name(identifier: str) -> str:
    """The identifier in double quotes."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text in single quotes."""
    return "'" + text.replace("'", "''") + "'"
