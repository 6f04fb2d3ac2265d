"""Step-up: one-time codes and further factors, which prove more than the login did."""
