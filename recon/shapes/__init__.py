"""One table over all methods that predict shapes: methods, scores, files."""
