"""Who a request comes from: the directory of customers, sign-in, launch tickets, sessions."""
