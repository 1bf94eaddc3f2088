"""Descriptions of operations for the OpenAPI document."""
