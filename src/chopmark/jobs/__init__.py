"""Work that is done after a request was answered: jobs that are safe to repeat, and the loop in which they run."""
