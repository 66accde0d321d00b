"""What funds hold, as the user says it: what is looked through."""
