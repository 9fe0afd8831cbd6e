"""Runs: what to train and where it is trained."""
