"""The web: portal pages, JSON API, publication. The only package that knows the framework."""
