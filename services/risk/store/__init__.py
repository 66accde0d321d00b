"""SQL of the risk service: what it reads of the others' tables (`inputs`), and the results it owns (`results`)."""
