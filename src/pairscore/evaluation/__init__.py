"""Measuring and fitting on labelled pairs; its libraries come with the extra `evaluate`."""
