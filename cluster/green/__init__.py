"""The Green Agent, in both meanings: a class that evaluates a policy, and an A2A server that assesses remote agents."""
