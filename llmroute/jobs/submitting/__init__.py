"""From lines to jobs at the providers: drafted, reserved, uploaded and created once."""
