"""Files that are copied into exports as they stand; they import torch and torchvision, and nothing of Limbeck."""
