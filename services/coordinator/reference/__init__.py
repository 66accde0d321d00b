"""What users write that is not a portfolio: closures, benchmarks, symbol choices, price decisions."""
