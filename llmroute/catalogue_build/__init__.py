"""Builds the catalogue of models that ships with llmroute; part of the source tree, left out of the wheel."""
