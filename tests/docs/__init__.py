"""What the documents say is true: their code runs, their commands exist, their names and links lead somewhere."""
