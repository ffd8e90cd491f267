"""The engine: one model, many callers at once, on an event loop; it knows no HTTP.

The doors are `engine.core.Engine` and the records of `engine.records`.
"""
