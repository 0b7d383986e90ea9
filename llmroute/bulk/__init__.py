"""Many requests at once: worker pool, limits per provider, shared plans."""
