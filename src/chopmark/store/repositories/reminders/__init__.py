"""Reminders: the living certificates, the plan, the queue, and what customers asked for."""
