"""What people would use instead, each as a script or command of its own."""
