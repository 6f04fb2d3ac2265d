"""The firm's sheet of customers: read, compared with what is on record, and written as a whole or not at all."""
