"""One file a third party, on one base."""
