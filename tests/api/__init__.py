"""The web layers, called as a server calls them."""
