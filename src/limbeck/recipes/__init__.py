"""Recipes: YAML to typed stages, the runner, plugins, and the library of recipes that ship with Limbeck."""
