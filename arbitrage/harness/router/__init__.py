"""A router for any pair of models: step pairs, training, evaluation, calibration (arXiv:2512.05033, section 5)."""
