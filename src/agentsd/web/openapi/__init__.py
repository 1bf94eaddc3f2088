"""Description of the HTTP API: ``/openapi.json`` and ``/docs``, from one description per operation."""
