"""The HTTP interface described: ``/openapi.json`` and ``/docs``, from one description of each operation."""
