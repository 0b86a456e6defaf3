"""What a deployment needs besides code."""
