"""Answers from the tables of the other services: part of their contract, read-only here."""
