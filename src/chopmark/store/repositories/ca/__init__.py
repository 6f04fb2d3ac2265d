"""Certificates, requests to other CAs, and what the checkers read."""
