"""From answers of providers to rows, and what to ask for. Pure."""
