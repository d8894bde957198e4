"""Apps that make other packages work with this one. Install only those that you need."""
