"""Files that are copied into exports as they stand; they import torch and Diffusers, and nothing of Limbeck."""
