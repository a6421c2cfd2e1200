"""Gold answers and what is judged by them. Nothing in here is ever shown to a policy or a sandbox child."""
