"""Schemas of requests and replies for the OpenAPI document."""
