"""From the results of jobs to outcomes: downloaded, settled once, delivered."""
