"""From a user's file to checked positions. Pure: no database, no clock; the caller passes today's exchange date."""
