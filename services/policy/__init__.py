"""What acts: policies that choose the next action from the episode so far."""
