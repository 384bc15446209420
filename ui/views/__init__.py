"""One module per page; `render()` draws it. The modules beside this folder prepare the data."""
