"""Page `/docs`, made from the OpenAPI document."""
