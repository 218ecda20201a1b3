"""What answers over HTTP: the gate in front of everything, the pages to sign in, and the API."""
