"""The commands of `assay` that have a module of their own; cluster.cli registers them."""
