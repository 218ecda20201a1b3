"""What the product promises, one sentence a test."""
