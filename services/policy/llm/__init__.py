"""Language models as agents: how a turn is told, how an answer is read, and what happens if there is none."""
