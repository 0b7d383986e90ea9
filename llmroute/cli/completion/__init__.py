"""Shell completion: the scripts, and the candidates that they ask for."""
