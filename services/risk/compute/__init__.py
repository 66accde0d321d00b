"""Portfolio risk: pure functions over arrays. `report.build_reports` is the whole of it, the other modules are its parts."""
