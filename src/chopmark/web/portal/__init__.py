"""The handlers of the portal: plain pages, order pages, reminders, the stop page, the CA's repository, the demo."""
