"""Files of earlier stages: read, checked, and refused where they cannot be compared."""
