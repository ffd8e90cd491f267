"""Many files of pairs, scored block by block: what is done is kept, and what is done is never done again.

A job is cut into blocks, each a range of rows of one file. A block is read, scored and written as one file; then a
marker says so. Whoever runs the blocks, threads here or a cluster, does nothing else.
"""
