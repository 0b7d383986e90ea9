"""The HTML page of a cost report, `costs --html FILE`."""
