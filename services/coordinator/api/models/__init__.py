"""What every operation answers, as declared in OpenAPI. Answers are not built from these: tests check that each fits its model."""
