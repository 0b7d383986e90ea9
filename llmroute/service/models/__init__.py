"""The models that can be called, and the chains of them."""
