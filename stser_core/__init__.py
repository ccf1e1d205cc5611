"""What STSER is, with no idea of time or networks: features, models, ensemble, checkpoints."""
