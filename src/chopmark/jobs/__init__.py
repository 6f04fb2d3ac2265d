"""Work that is done after the answer: idempotent plain functions and the worker loop."""
