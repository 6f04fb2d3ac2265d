"""One-time codes and wrong answers."""
