"""The small networks that the distillation literature reports on."""
