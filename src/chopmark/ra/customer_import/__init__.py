"""Importing the firm's sheet of customers: checked against the directory, then written as a whole or not at all."""
