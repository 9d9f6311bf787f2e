"""Recipes: where the verbs meet. Each reads from top to bottom."""
