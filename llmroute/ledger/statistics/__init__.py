"""Statistics of calls, as pure functions of a state and an observation."""
