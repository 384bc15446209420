"""Text tables as people save them: encoding, delimiter, names of columns, numbers."""
