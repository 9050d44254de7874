"""Recipes: YAML as pure data, checked whole, run stage by stage. A leaf: nothing is imported here."""
