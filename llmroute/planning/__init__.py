"""From a request to a plan: which models, in which order, at which cost."""
