"""What calls teach, as pure functions of a state and an observation."""
