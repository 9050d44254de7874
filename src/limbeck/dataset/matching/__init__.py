"""What synthetic images are matched on: gradients, features, trajectories."""
