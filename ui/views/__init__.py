"""One module per page; each has a `render()` that lays out what the tested modules beside this folder prepare."""
