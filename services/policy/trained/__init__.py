"""The trained policy: a checkpoint scores operations, a beam finds the likeliest queries, their results decide.

Invariant: it plays from what an agent may see, with ONNX Runtime alone; the same turn gives the same action.
"""
