"""What people at the firm change and look up."""
