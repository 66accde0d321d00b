"""Portfolio risk: pure functions over arrays. `picture.pictures` is the whole of it, the other modules are its parts."""
