"""End-to-end tests: a package, so that the stack that they share ends with the last of them."""
