"""What policies are worth on the same episodes: figures, intervals, paired differences, gates, published results."""
