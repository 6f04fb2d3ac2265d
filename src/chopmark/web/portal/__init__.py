"""The portal's handlers: plain pages, the pages of an order, the stop page, the CA's repository."""
