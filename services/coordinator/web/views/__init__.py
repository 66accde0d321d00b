"""View models: from the documents of the API to what a template writes down. Pure; every number carries its explanation."""
