"""The recipes that ship with Limbeck."""
