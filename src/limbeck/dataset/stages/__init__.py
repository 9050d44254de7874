"""The stages of data-set distillation, each from its configuration to its product: one a file."""
