"""Where a figure comes from: formula, parameters, and the stored data behind it. Reads only."""
