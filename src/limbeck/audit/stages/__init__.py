"""The stages of an audit, each from its configuration to its product."""
