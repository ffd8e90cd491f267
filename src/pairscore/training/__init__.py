"""Training cross-encoders: data, recipe, run, evaluation, and the way to a served model."""
