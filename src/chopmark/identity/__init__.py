"""Who is at the door: the directory of customers, sign-in, launch tickets, sessions."""
