"""Backends: one micro-batch in, its logits out, behind one small protocol."""
