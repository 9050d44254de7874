"""The detection stages, a file each."""
