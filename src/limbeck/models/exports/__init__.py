"""Take a model out of Limbeck, for programs that know nothing of it: one file a format.

Whatever is written is read back, as a stranger would read it, and its logits are compared before it counts.
"""
