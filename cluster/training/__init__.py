"""Training: from the trajectories of a run to a policy that scores the candidates of any schema."""
