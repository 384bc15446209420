"""One module per page. `render()` draws it; the tested modules beside this folder prepare the data."""
