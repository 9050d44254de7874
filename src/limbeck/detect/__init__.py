"""Detectors taught by classifiers and by detectors."""
