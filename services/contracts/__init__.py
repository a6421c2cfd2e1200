"""Wire types and protocols: the only thing that the services share. Standard library and pydantic only."""
