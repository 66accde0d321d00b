"""The registry of formulas, one module a topic. Pure."""
