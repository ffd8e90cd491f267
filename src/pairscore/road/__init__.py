"""The way of a pair, one file a step: tokenization, planning, backends, ranking; `road` joins them."""
