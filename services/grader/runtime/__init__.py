"""How long a job takes against its original: measured by CPU time in fresh processes, judged with a stated error."""
