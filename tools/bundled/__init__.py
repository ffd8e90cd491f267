"""How the bundled model is made: read the weights, build the graph, quantize, describe."""
