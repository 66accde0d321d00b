"""The page: routes read what the API reads, `views` turn its documents into what is shown, templates write it down."""
