"""Tables, migrations and rollups."""
