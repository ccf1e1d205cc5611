"""How a checkpoint comes to be: corpora, folds, training loops, tables."""
