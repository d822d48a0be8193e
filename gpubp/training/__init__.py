"""Training: one step, the epochs of a fit, callbacks, checkpoints, evaluation."""
