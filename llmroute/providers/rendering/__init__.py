"""Parts of requests that several providers share."""
