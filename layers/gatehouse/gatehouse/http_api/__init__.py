"""How the functions behind /api speak HTTP. Only they import this: it needs the second layer, with FastAPI."""
