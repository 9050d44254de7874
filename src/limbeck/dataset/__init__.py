"""Data-set distillation: small sets that train good models, and whether their images or their labels did it."""
