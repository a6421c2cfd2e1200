"""What this machine has for Assay and what it lacks: the rows behind `assay doctor`."""
