"""The services that play, sandbox, grade and act; wired together in `cluster`, never in here."""
