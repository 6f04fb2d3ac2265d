"""What pages show and how they become HTML: one value per template; they decide nothing."""
