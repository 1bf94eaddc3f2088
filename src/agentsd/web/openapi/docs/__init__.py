"""The page `/docs`, made of the OpenAPI document."""
