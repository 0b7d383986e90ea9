"""Requests at the batch APIs of providers: reserved, submitted as jobs, polled, settled line by line and delivered."""
