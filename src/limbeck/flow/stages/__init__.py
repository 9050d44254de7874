"""The stages of flow distillation, one a file."""
